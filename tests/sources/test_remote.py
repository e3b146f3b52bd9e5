"""A copy is its source's bytes, all of them, or an error that names the URL."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastdata.sources.cache import local
from support.remote import CONTENT, Remote, serving


@pytest.fixture
def remote() -> Iterator[Remote]:
    with serving() as server:
        yield server


def test_an_interrupted_copy_is_an_error_that_names_the_url_and_leaves_nothing(remote: Remote, tmp_path: Path) -> None:
    remote.cut = 1000
    with pytest.raises(OSError, match=remote.url("1.tar")):
        local(remote.url("1.tar"), tmp_path)
    assert os.listdir(tmp_path) == []
    remote.cut = 0
    assert Path(local(remote.url("1.tar"), tmp_path)).read_bytes() == CONTENT


def test_a_copy_shorter_than_its_source_said_is_an_error_with_both_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setattr(MemoryFileSystem, "store", {})
    MemoryFileSystem().pipe_file("/shards/1.tar", CONTENT)
    assert Path(local("memory://shards/1.tar", tmp_path / "whole")).read_bytes() == CONTENT
    info = MemoryFileSystem.info
    monkeypatch.setattr(MemoryFileSystem, "info", lambda self, path: info(self, path) | {"size": len(CONTENT) + 1})
    with pytest.raises(OSError, match=rf"memory://shards/1\.tar .* {len(CONTENT)} bytes came of {len(CONTENT) + 1}"):
        local("memory://shards/1.tar", tmp_path / "short")
    assert os.listdir(tmp_path / "short") == []


def test_a_source_that_does_not_say_its_size_is_copied(remote: Remote, tmp_path: Path) -> None:
    remote.silent_about_size = True
    assert Path(local(remote.url("1.tar"), tmp_path)).read_bytes() == CONTENT


def test_a_missing_remote_shard_is_an_error_that_names_the_url(remote: Remote, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"no shard {remote.url('nothing')}"):
        local(remote.url("nothing"), tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_server_that_does_not_answer_is_an_error_that_names_the_url(tmp_path: Path) -> None:
    with Remote() as closed:
        url = closed.url("1.tar")
    with pytest.raises(OSError, match=url):
        local(url, tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_missing_package_is_an_error_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.registry import known_implementations

    unknown = {"class": "package_that_is_not_there.Files", "err": "Install package_that_is_not_there"}
    monkeypatch.setitem(known_implementations, "elsewhere", unknown)
    with pytest.raises(ImportError, match=r"elsewhere://x/1\.tar: .*Install package_that_is_not_there"):
        local("elsewhere://x/1.tar", tmp_path)


def test_an_unknown_protocol_is_an_error_that_names_the_url(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nonsense://x/1\.tar"):
        local("nonsense://x/1.tar", tmp_path)
