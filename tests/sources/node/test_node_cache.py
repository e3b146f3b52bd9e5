"""Each process has a cache open once, and a forked child its own."""

from multiprocessing import get_context
from pathlib import Path

import pytest

from fastdata.sources.node.node_cache import Cache, range_cache
from support.processes import PATIENCE, open_files


def test_a_limit_below_0_is_an_error() -> None:
    with pytest.raises(ValueError, match="limit must be at least 0 bytes, got -1"):
        Cache(limit=-1)


def test_it_is_opened_once_whatever_its_folder_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert range_cache(Cache("here", 5)) is range_cache(Cache(tmp_path / "here", 5))
    assert range_cache(Cache("here", 5)) is not range_cache(Cache("here", 6))
    assert (tmp_path / "here").stat().st_mode & 0o777 == 0o700


def test_a_folder_into_which_anyone_may_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(PermissionError, match="everyone may write into the cache"):
        range_cache(Cache(tmp_path / "open"))


def test_a_forked_child_has_its_own_and_nothing_of_its_parents(tmp_path: Path) -> None:
    before = range_cache(Cache(tmp_path))
    inherited = [name for name in open_files() if name.startswith(str(tmp_path))]
    assert inherited

    def child() -> None:
        assert not [name for name in open_files() if name.startswith(str(tmp_path))]
        assert range_cache(Cache(tmp_path)) is not before

    forked = get_context("fork").Process(target=child)
    forked.start()
    forked.join(PATIENCE)
    assert forked.exitcode == 0
    assert [name for name in open_files() if name.startswith(str(tmp_path))] == inherited
