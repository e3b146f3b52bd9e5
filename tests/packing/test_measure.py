"""What packing asks of the files that it packs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.pictures import jpeg

_WITHOUT_PRIVILEGES = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


@pytest.mark.skipif(not hasattr(os, "O_PATH"), reason="only Linux opens a folder that may not be read")
def test_a_folder_that_may_only_be_passed_through_is_packed_by_a_table(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "cat").mkdir(parents=True)
    (photos / "cat/1.jpg").write_bytes(jpeg(40, 30))
    (tmp_path / "table.csv").write_text("file\ncat/1.jpg\n")
    program = [*_WITHOUT_PRIVILEGES, sys.executable, "-m", "fastdata", "shard"]
    arguments = [tmp_path / "table.csv", tmp_path / "out", "--root", photos, "--jobs", "1"]
    photos.chmod(0o311)
    done = subprocess.run([*program, *map(str, arguments)], capture_output=True, text=True)
    photos.chmod(0o755)
    assert (done.returncode, done.stderr) == (0, "")
