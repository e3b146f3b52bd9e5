import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fastdata.sources.cache import local
from fastdata.sources.urls import expand

CONTENT = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six shards, in the current directory."""
    for name in ("a-0.tar", "a-1.tar", "a-2.tar", "b-0.tar", "odd{1,2}.tar", "odd[1].tar"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


# What a URL stands for


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("a-1.tar", ["a-1.tar"]),
        (Path("a-1.tar"), ["a-1.tar"]),
        (["b-0.tar", Path("a-0.tar")], ["b-0.tar", "a-0.tar"]),
        ("a-{0..2}.tar", ["a-0.tar", "a-1.tar", "a-2.tar"]),
        ("a-{2..0}.tar", ["a-2.tar", "a-1.tar", "a-0.tar"]),
        ("{b,a}-0.tar", ["b-0.tar", "a-0.tar"]),
        ("a-*.tar", ["a-0.tar", "a-1.tar", "a-2.tar"]),
        ("?-0.tar", ["a-0.tar", "b-0.tar"]),
        ("a-[01].tar", ["a-0.tar", "a-1.tar"]),
        ("{b,a}-*.tar", ["b-0.tar", "a-0.tar", "a-1.tar", "a-2.tar"]),
        (["b-*.tar", "a-{0,2}.tar"], ["b-0.tar", "a-0.tar", "a-2.tar"]),
        ("odd{1,2}.tar", ["odd{1,2}.tar"]),
        ("odd[1].tar", ["odd[1].tar"]),
        ("./a-1.tar", ["./a-1.tar"]),
    ],
)
@pytest.mark.usefixtures("shards")
def test_a_url_stands_for_shards_in_order(url: str | Path | list[str | Path], found: list[str]) -> None:
    assert expand(url) == found


def test_any_iterable_of_urls_will_do(shards: Path) -> None:
    assert expand(iter(["a-0.tar", str(shards / "a-1.tar")])) == ["a-0.tar", f"{shards}/a-1.tar"]


def test_file_urls_are_paths(shards: Path) -> None:
    (shards / "with space.tar").touch()
    assert expand((shards / "with space.tar").as_uri()) == [f"{shards}/with space.tar"]
    assert expand(f"file://{shards}/a-{{0..1}}.tar") == [f"{shards}/a-0.tar", f"{shards}/a-1.tar"]
    assert expand(f"file://{shards}/b-*.tar") == [f"{shards}/b-0.tar"]


def test_braces_in_remote_urls_are_expanded_without_asking_the_remote() -> None:
    assert expand("s3://bucket/x-{08..10}.tar?versionId=[1]") == [
        f"s3://bucket/x-{i}.tar?versionId=[1]" for i in ("08", "09", "10")
    ]


def test_brace_notation_may_be_longer_than_a_file_name(shards: Path) -> None:
    endings = ",".join(f"{i:03}" for i in range(300))
    for i in range(300):
        (shards / f"many-{i:03}.tar").touch()
    assert len(expand(f"many-{{{endings}}}.tar")) == 300


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("c-0.tar", r"no shard c-0\.tar"),
        ("c-*.tar", r"no shard matches c-\*\.tar"),
        ("a-{1..3}.tar", r"no shard a-3\.tar \(from 'a-\{1\.\.3\}\.tar'\)"),
        ("{a,c}-*.tar", r"c-\*\.tar \(from '\{a,c\}-\*\.tar'\)"),
    ],
)
@pytest.mark.usefixtures("shards")
def test_what_names_no_file_is_an_error_that_names_it(url: str, message: str) -> None:
    with pytest.raises(FileNotFoundError, match=message):
        expand(url)


@pytest.mark.parametrize(
    "urls",
    [["a-0.tar", "a-0.tar"], ["a-*.tar", "{a,b}-0.tar"], ["a-0.tar", "./a-0.tar"], ["a-0.tar", "HERE/a-0.tar"]],
)
def test_a_shard_named_twice_is_an_error_that_names_it(shards: Path, urls: list[str]) -> None:
    with pytest.raises(ValueError, match=r"a-0\.tar is named 2 times"):
        expand([url.replace("HERE", str(shards)) for url in urls])


@pytest.mark.parametrize("function", [expand, local])
def test_pipe_urls_are_refused(function: object) -> None:
    with pytest.raises(ValueError, match=r"'pipe:cat x\.tar' would run a command"):
        function("pipe:cat x.tar")  # type: ignore[operator]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ([], "at least one"),
        ("a-{0..1.tar", r"unbalanced braces in 'a-\{0\.\.1\.tar'"),
        ("s3://bucket/*.tar", "remote glob"),
    ],
)
def test_urls_that_stand_for_nothing_are_refused(url: str | list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        expand(url)


def test_a_folder_is_an_error_that_says_how_to_name_its_shards(shards: Path) -> None:
    with pytest.raises(IsADirectoryError, match=rf"{shards}/\*\.tar"):
        expand(f"{shards}/")


# Where its bytes are


class Remote(ThreadingHTTPServer):
    """Serves CONTENT at any path that ends in .tar on loopback; `cut` of its bytes never come."""

    daemon_threads = False  # closing waits for the last answer
    cut = 0
    silent_about_size = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.downloads = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class _Answer(BaseHTTPRequestHandler):
    server: Remote

    def _head(self) -> bool:
        found = self.path.partition("?")[0].endswith(".tar")
        self.send_response(200 if found else 404)
        if not (found and self.server.silent_about_size):
            self.send_header("Content-Length", str(len(CONTENT) if found else 0))
        self.end_headers()
        return found

    def do_HEAD(self) -> None:
        self._head()

    def do_GET(self) -> None:
        if self._head():
            self.server.downloads += 1
            self.wfile.write(CONTENT[: len(CONTENT) - self.server.cut])

    def log_message(self, *_: object) -> None:
        """Tests' output stays their own."""


@pytest.fixture
def remote() -> Iterator[Remote]:
    with Remote() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


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
    monkeypatch.delenv("FASTDATA_CACHE", raising=False)
    assert Path(local(remote.url("1.tar"))).parent == tmp_path / "home" / ".cache" / "fastdata"
    monkeypatch.setenv("FASTDATA_CACHE", str(tmp_path / "elsewhere"))
    assert Path(local(remote.url("1.tar"))).parent == tmp_path / "elsewhere"


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


def test_processes_that_copy_at_once_all_end_up_with_the_whole_shard(remote: Remote, tmp_path: Path) -> None:
    arguments = [(remote.url("1.tar"), str(tmp_path))] * 4
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        copies = pool.starmap(local, arguments)
        pool.close()
        pool.join()
    assert len(set(copies)) == 1
    assert Path(copies[0]).read_bytes() == CONTENT
    assert os.listdir(tmp_path) == [Path(copies[0]).name]


def test_a_missing_package_is_an_error_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.registry import known_implementations

    unknown = {"class": "package_that_is_not_there.Files", "err": "Install package_that_is_not_there"}
    monkeypatch.setitem(known_implementations, "elsewhere", unknown)
    with pytest.raises(ImportError, match=r"elsewhere://x/1\.tar: .*Install package_that_is_not_there"):
        local("elsewhere://x/1.tar", tmp_path)


def test_an_unknown_protocol_is_an_error_that_names_the_url(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nonsense://x/1\.tar"):
        local("nonsense://x/1.tar", tmp_path)


def test_local_shards_need_no_fsspec_and_copying_leaves_no_session_open(remote: Remote, tmp_path: Path) -> None:
    program = """
import sys
from fastdata.sources.urls import expand
from fastdata.sources.cache import local
local(expand(sys.argv[1])[0])
assert "fsspec" not in sys.modules
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
