"""What every storage keeps, whichever servers and libraries are behind it."""

import os
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fastdata.errors import ReplacedError
from fastdata.sources.stores import obstore_client, retry
from fastdata.sources.stores.obstore_storage import SENT
from fastdata.sources.stores.storage import storage_of
from support.azure import Azure
from support.http_server import Server
from support.memory_store import empty_memory
from support.servers import S3

CONTENT = bytes(range(256)) * 400


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "policy", retry.Policy(first_delay=0.001))


OTHER = CONTENT[::-1] + b"!"  # of another size: nginx's tag is one of seconds and bytes


def azure_container(store: Azure, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    return store.make_container("storage")


def s3_bucket(store: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    return store.make_bucket("storage")


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> str:
    empty_memory(monkeypatch)
    return "memory://folder"


REAL = [pytest.param(name, marks=pytest.mark.slow) for name in ("seaweed", "azurite")]


@pytest.fixture(params=["moto", "memory", *REAL])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a folder in a store that can do everything."""
    if request.param == "memory":
        return str(request.getfixturevalue("memory"))
    if request.param == "azurite":
        return f"{azure_container(request.getfixturevalue('azurite_blobs'), monkeypatch)}/{request.node.originalname}"
    bucket = s3_bucket(request.getfixturevalue(f"{request.param}_s3"), monkeypatch)
    return f"{bucket}/{request.node.originalname}"


@pytest.fixture(params=["moto", "memory", "http", "nginx", *REAL])
def readable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same, or the URL of an HTTP server's folder."""
    if request.param == "memory":
        return str(request.getfixturevalue("memory"))
    if request.param == "http":
        return str(request.getfixturevalue("http_server").url("folder"))
    if request.param == "nginx":
        return f"{request.getfixturevalue('nginx_url')}/{request.node.originalname}"
    if request.param == "azurite":
        return f"{azure_container(request.getfixturevalue('azurite_blobs'), monkeypatch)}/{request.node.originalname}"
    bucket = s3_bucket(request.getfixturevalue(f"{request.param}_s3"), monkeypatch)
    return f"{bucket}/{request.node.originalname}"


def put(url: str, content: bytes, tmp_path: Path) -> str:
    file = tmp_path / "put"
    file.write_bytes(content)
    storage_of(url).put_file(file, url)
    return url


def test_the_size_of_an_object_and_a_tag_that_changes_with_it(readable: str, tmp_path: Path) -> None:
    url = put(f"{readable}/1.tar", CONTENT, tmp_path)
    storage = storage_of(url)
    first = storage.stat(url)
    assert (first.size, storage.size(url)) == (len(CONTENT), len(CONTENT))
    assert storage.stat(url) == first
    put(url, OTHER, tmp_path)
    assert storage.stat(url).size == len(OTHER)
    assert storage.stat(url).etag != first.etag


def test_an_object_comes_whole_if_it_is_still_the_one_that_it_was(readable: str, tmp_path: Path) -> None:
    url = put(f"{readable}/1.tar", CONTENT, tmp_path)
    storage = storage_of(url)
    stat = storage.stat(url)
    assert bytes(storage.get(url, stat)) == CONTENT
    assert bytes(storage.get(url, stat._replace(etag=None))) == CONTENT
    put(url, OTHER, tmp_path)
    for other in (stat, stat._replace(etag=None)):
        with pytest.raises(ReplacedError, match=f"{url} was replaced since it was opened"):
            storage.get(url, other)
    with pytest.raises(FileNotFoundError, match=url):
        storage.get(f"{url}.none", stat)


def test_a_listing_says_what_the_objects_say(store: str, tmp_path: Path) -> None:
    urls = [put(f"{store}/{name}", CONTENT, tmp_path) for name in ("1.tar", "a/2.tar")]
    storage = storage_of(store)
    found = {entry.url: entry for entry in storage.entries(store)}
    assert sorted(found) == urls
    for url, entry in found.items():
        stat = storage.stat(url)
        assert entry.size == stat.size
        assert entry.etag in (None, stat.etag)
        assert (entry.etag is None) == url.startswith("memory://")


def test_ranges_come_whole_and_in_the_order_they_were_asked_for(readable: str, tmp_path: Path) -> None:
    url = put(f"{readable}/1.tar", CONTENT, tmp_path)
    storage = storage_of(url)
    ranges = [(2000, 500), (0, 512), (512, 512), (700, 1), (len(CONTENT) - 5, 5), (9, 0), (300, 900), (0, len(CONTENT))]
    ranges += [(offset * 100, 90) for offset in range(100)]
    expected = [CONTENT[offset : offset + size] for offset, size in ranges]
    assert list(map(bytes, storage.get_ranges(url, ranges))) == expected
    assert list(map(bytes, storage.get_ranges(url, ranges, storage.stat(url).etag))) == expected
    assert storage.get_ranges(url, []) == []


def test_a_range_beyond_the_end_is_an_error_that_says_so(readable: str, tmp_path: Path) -> None:
    url = put(f"{readable}/1.tar", CONTENT, tmp_path)
    for ranges in ([(len(CONTENT) - 5, 6)], [(0, 5), (len(CONTENT) - 5, 6)], [(2 * len(CONTENT), 5)]):
        with pytest.raises(ReplacedError, match=rf"{url}.* (ends|end) before"):
            storage_of(url).get_ranges(url, ranges)
    for negative in ((-1, 5), (0, -1)):
        with pytest.raises(ValueError, match=f"{url}: no range has offset {negative[0]} and {negative[1]} bytes"):
            storage_of(url).get_ranges(url, [negative])


def test_an_object_that_was_replaced_is_an_error_where_its_tag_is_given(readable: str, tmp_path: Path) -> None:
    url = put(f"{readable}/1.tar", CONTENT, tmp_path)
    storage = storage_of(url)
    etag = storage.stat(url).etag
    put(url, OTHER, tmp_path)
    assert bytes(storage.get_ranges(url, [(1, 3)])[0]) == OTHER[1:4]
    with pytest.raises(ReplacedError, match=f"{url} was replaced since it was opened"):
        storage.get_ranges(url, [(1, 3), (70, 9)], etag)


@pytest.mark.parametrize("size", [0, 1, len(CONTENT), SENT + 1])
def test_a_file_comes_and_goes_whole(readable: str, tmp_path: Path, size: int) -> None:
    content = (CONTENT * (size // len(CONTENT) + 1))[:size]
    url = put(f"{readable}/{size}.tar", content, tmp_path)
    storage_of(url).get_file(url, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == content
    put(url, b"other", tmp_path)
    storage_of(url).get_file(url, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == b"other"


def test_what_is_not_there_is_an_error_that_names_the_url_and_leaves_nothing(readable: str, tmp_path: Path) -> None:
    put(f"{readable}/1.tar", CONTENT, tmp_path / ".." / tmp_path.name)
    url = f"{readable}/2.tar"
    storage = storage_of(url)
    (folder := tmp_path / "folder").mkdir()
    for request in (
        lambda: storage.size(url),
        lambda: storage.get_ranges(url, [(0, 1)]),
        lambda: storage.get_ranges(url, [(0, 1)], '"etag"'),
        lambda: storage.get_file(url, folder / "got"),
    ):
        with pytest.raises(FileNotFoundError, match=url):
            request()
    assert os.listdir(folder) == []
    with pytest.raises(FileNotFoundError, match="missing"):
        storage.put_file(tmp_path / "missing", url)


def test_of_those_who_put_if_absent_one_succeeds(store: str, tmp_path: Path) -> None:
    url = f"{store}/lock"
    storage = storage_of(url)
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda number: storage.put_if_absent(url, b"of %d" % number), range(8)))
    assert sorted(made) == [False] * 7 + [True]
    assert bytes(storage.get_ranges(url, [(0, 4)])[0]) == b"of %d" % made.index(True)
    assert not storage.put_if_absent(url, b"of %d" % made.index(True))
    storage.put_file(put_local(tmp_path, b"replaced"), url)
    assert storage.size(url) == len(b"replaced")


def put_local(folder: Path, content: bytes) -> Path:
    (folder / "local").write_bytes(content)
    return folder / "local"


def test_the_objects_below_a_folder_are_listed(store: str, tmp_path: Path) -> None:
    storage = storage_of(store)
    expected = {}
    for number, name in enumerate(["a/1.tar", "a/2.tar", "a/b/c/3.tar", "ab/4.tar", "5.tar"], start=1):
        put(f"{store}/{name}", CONTENT[:number], tmp_path)
        expected[f"{store}/{name}"] = number
    assert dict(storage.list(store)) == expected
    assert dict(storage.list(f"{store}/")) == expected
    assert dict(storage.list(f"{store}/a")) == {url: size for url, size in expected.items() if "/a/" in url}
    assert list(storage.list(f"{store}/none")) == []


@pytest.mark.parametrize("name", ["ü b.tar", "a+b&c=d,e@f.tar", "100%25.tar", "...tar"])
def test_names_are_taken_as_they_are(store: str, tmp_path: Path, name: str) -> None:
    url = put(f"{store}/odd/{name}", CONTENT, tmp_path)
    assert bytes(storage_of(url).get_ranges(url, [(256, 256)])[0]) == CONTENT[:256]
    assert dict(storage_of(url).list(f"{store}/odd"))[url] == len(CONTENT)


def test_a_storage_goes_to_other_processes(memory: str, http_server: Server) -> None:
    url = http_server.put("1.tar", CONTENT)
    assert pickle.loads(pickle.dumps(storage_of(url))).size(url) == len(CONTENT)
    again = pickle.loads(pickle.dumps(storage_of(memory)))
    assert list(again.list(memory)) == []


@pytest.mark.parametrize("url", ["/local/file", "file:///local/file", "pipe:cat s3://bucket/1.tar", "C:/x"])
def test_what_is_no_remote_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is no URL of a remote file"):
        storage_of(url)


def test_an_unknown_protocol_is_an_error_that_names_the_url() -> None:
    with pytest.raises(ValueError, match=r"nonsense://x/1\.tar"):
        storage_of("nonsense://x/1.tar").size("nonsense://x/1.tar")


def test_a_missing_package_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.registry import known_implementations

    unknown = {"class": "package_that_is_not_there.Files", "err": "Install package_that_is_not_there"}
    monkeypatch.setitem(known_implementations, "elsewhere", unknown)
    with pytest.raises(ImportError, match=r"elsewhere://x/1\.tar: .*Install package_that_is_not_there"):
        storage_of("elsewhere://x/1.tar").size("elsewhere://x/1.tar")
    monkeypatch.setattr("fastdata.sources.stores.forked_obstore._own", None)
    monkeypatch.setattr("fastdata.sources.stores.obstore_client._own", obstore_client._Process())
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(ImportError, match=r"pip install 'fastdata-images\[remote\]'"):
        storage_of("s3://bucket/1.tar").size("s3://bucket/1.tar")
