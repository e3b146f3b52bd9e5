"""What tests of the command line share: a folder, its shards, and a way to run a command."""

from pathlib import Path

import pytest

from fastdata.commands import cli
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.packing.workers import context
from fastdata.sources.folder import scan_classes
from support.commands import Command, Result
from support.pictures import encoded, jpeg, photo


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 5 and 7 images, JPEG and PNG, of three sizes."""
    root = tmp_path_factory.mktemp("folder")
    for name, count in (("cat", 5), ("dog", 7)):
        (root / name).mkdir()
        for i in range(count):
            width, height = ((300, 200), (320, 240), (64, 48))[i % 3]
            if i == 2:
                (root / name / f"{i}.PNG").write_bytes(encoded(photo(width, height, i), "PNG"))
            else:
                (root / name / f"{i}.jpg").write_bytes(jpeg(width, height, i))
    return root


@pytest.fixture(scope="module")
def dataset(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That folder in three shards."""
    directory = tmp_path_factory.mktemp("packed")
    pack(scan_classes(folder), directory, division=ShardCount(3), jobs=1)
    return directory


@pytest.fixture
def fastdata(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command line in this process."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(
        context, "_is_ready", False
    )  # what a command begins has its environment, not that of later tests

    def run(*arguments: object) -> Result:
        with pytest.raises(SystemExit) as exit:
            cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Result(int(exit.value.code or 0), out, err)

    return run
