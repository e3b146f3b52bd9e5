"""Files that are replaced, overwritten or cut short under a running Loader or DataLoader, in processes of their own."""

from pathlib import Path

import pytest

from support.processes import run_python
from support.replaced import FILES, WAYS


@pytest.mark.parametrize(
    "loader", ["cpu", pytest.param("dali", marks=pytest.mark.slow), pytest.param("workers", marks=pytest.mark.slow)]
)
def test_whatever_becomes_of_a_file_no_label_is_anothers_and_the_error_names_it(loader: str, tmp_path: Path) -> None:
    if loader == "dali":
        pytest.importorskip("nvidia.dali")
    said = run_python("import sys; from support.replaced import main; main(*sys.argv[1:])", loader, tmp_path)
    ended = dict(line.split(": ", 1) for line in said.splitlines())
    assert list(ended) == [f"{name} {way.__name__}" for name in FILES for way in WAYS]
    assert set(ended.values()) == {"whole", "named"}, ended
    assert ended["train-000000.tar copied"] == ended["train-000001.tar cut"] == "named"  # while or before it is read
    assert ended["train-000000.tar renamed"] == "whole"  # the file that is open stays what it was
