"""Files that appear whole."""

from pathlib import Path

import pytest

from fastdata.files import whole_file


def test_an_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "no folder" / "a.png"
    with pytest.raises(FileNotFoundError) as raised, whole_file(file):
        pass
    assert raised.value.filename == str(file)
