"""Remote shards are copied once, into a folder that is the user's alone."""

import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastdata.sources.node.cache import local, make_once
from support.remote import CONTENT, Remote, serving


@pytest.fixture
def remote() -> Iterator[Remote]:
    with serving() as server:
        yield server


def test_local_paths_and_file_urls_are_where_they_are(tmp_path: Path) -> None:
    shard = tmp_path / "with space.tar"
    assert local(str(shard), tmp_path / "cache") == str(shard)
    assert local(shard.as_uri(), tmp_path / "cache") == str(shard)
    assert not (tmp_path / "cache").exists()


def test_a_remote_shard_is_copied_once(remote: Remote, tmp_path: Path) -> None:
    cache = tmp_path / "deep" / "cache"
    first = local(remote.url("photos/train-0.tar"), cache)
    again = local(remote.url("photos/train-0.tar"), cache)
    assert Path(first).read_bytes() == CONTENT
    assert again == first
    assert remote.downloads == 1
    assert os.listdir(cache) == [Path(first).name]


def test_a_cached_name_ends_in_the_shards_name(remote: Remote, tmp_path: Path) -> None:
    copies = [
        local(remote.url(path), tmp_path) for path in ("a/1.tar", "b/1.tar", "b/1.tar?key=x.tar", "b/%C3%BC 1.tar")
    ]
    assert len(set(copies)) == 4
    assert [copy.rpartition("-")[2] for copy in copies] == ["1.tar", "1.tar", "1.tar", "_C3_BC_1.tar"]
    assert all(Path(copy).read_bytes() == CONTENT for copy in copies)


def test_the_cache_is_where_the_environment_says_else_at_home(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for variable in ("FASTDATA_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    assert Path(local(remote.url("1.tar"))).parent == tmp_path / "home" / ".cache" / "fastdata"
    monkeypatch.setenv("FASTDATA_CACHE", str(tmp_path / "elsewhere"))
    assert Path(local(remote.url("1.tar"))).parent == tmp_path / "elsewhere"


def test_of_processes_that_copy_at_once_one_does_and_all_have_the_whole_shard(remote: Remote, tmp_path: Path) -> None:
    arguments = [(remote.url("1.tar"), str(tmp_path))] * 4
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        copies = pool.starmap(local, arguments)
        pool.close()
        pool.join()
    assert len(set(copies)) == remote.downloads == 1
    assert Path(copies[0]).read_bytes() == CONTENT
    assert os.listdir(tmp_path) == [Path(copies[0]).name]


def test_what_a_killed_copy_left_is_removed_by_the_next(remote: Remote, tmp_path: Path) -> None:
    name = Path(local(remote.url("1.tar"), str(tmp_path / "other"))).name
    (tmp_path / "cache").mkdir(mode=0o700)
    (tmp_path / "cache" / f".{name}.0123456789abcdef.part.tmp").write_bytes(b"a part")
    (tmp_path / "cache" / ".another.0123456789abcdef.part").write_bytes(b"somebody's, who may be at it")
    local(remote.url("1.tar"), str(tmp_path / "cache"))
    assert sorted(os.listdir(tmp_path / "cache")) == [".another.0123456789abcdef.part", name]


def test_where_one_fails_to_copy_those_who_wait_try_themselves(remote: Remote, tmp_path: Path) -> None:
    cached, failed = tmp_path / "cached", threading.Event()

    def fail(part: Path) -> None:
        part.write_bytes(b"a part")
        other.start()
        failed.wait()
        raise OSError("the line is dead")

    other = threading.Thread(target=make_once, args=(cached, lambda part: part.write_bytes(CONTENT)))
    threading.Timer(0.05, failed.set).start()
    with pytest.raises(OSError, match="the line is dead"):
        make_once(cached, fail)
    other.join()
    assert cached.read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["cached"]


def test_local_shards_need_no_remote_packages_and_copying_leaves_no_session_open(
    remote: Remote, tmp_path: Path
) -> None:
    program = """
import sys
from fastdata.sources.urls import expand
from fastdata.sources.node.cache import local
local(expand(sys.argv[1])[0])
assert not {"fsspec", "obstore"} & set(sys.modules)
print(local(sys.argv[2], sys.argv[3]))
"""
    (tmp_path / "1.tar").touch()
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", program]
    done = subprocess.run(
        [*command, str(tmp_path / "1.tar"), remote.url("1.tar"), str(tmp_path / "cache")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(done.stdout.strip()).read_bytes() == CONTENT
    assert done.stderr == ""


def test_the_cache_is_made_for_its_user_alone(remote: Remote, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        local(remote.url("1.tar"), tmp_path / "deep" / "cache")
    finally:
        os.umask(before)
    assert (tmp_path / "deep" / "cache").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702])
def test_a_cache_into_which_anyone_may_plant_a_shard_is_refused(remote: Remote, tmp_path: Path, mode: int) -> None:
    planted = Path(local(remote.url("1.tar"), tmp_path / "cache"))
    planted.write_bytes(b"planted")
    planted.parent.chmod(mode)
    with pytest.raises(PermissionError, match=r"everyone may write into the cache .*chmod o-w, or say another"):
        local(remote.url("1.tar"), tmp_path / "cache")
    planted.parent.chmod(0o755)
    assert local(remote.url("1.tar"), tmp_path / "cache") == str(planted)


def test_a_cache_of_somebody_else_is_refused(remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(PermissionError, match=f"cache {tmp_path}/cache belongs to user {os.getuid()}, who could plant"):
        local(remote.url("1.tar"), tmp_path / "cache")


def test_a_cache_that_cannot_be_made_is_an_error_that_says_what_to_do(remote: Remote, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"making the cache's folder: say another by FASTDATA_CACHE .*/file/cache'"):
        local(remote.url("1.tar"), tmp_path / "file" / "cache")
