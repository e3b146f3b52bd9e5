"""What can go wrong between an object store and us: tried again, or said."""

import errno
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastdata.errors import ReplacedError
from fastdata.sources.stores import obstore_storage, retry
from fastdata.sources.stores.obstore_storage import GROUP, PART, ObstoreStorage
from fastdata.sources.stores.stored import Range
from support.http_server import Fault, Files, Server, forward, serving_faults_of
from support.remote import CONTENT as RANGELESS
from support.remote import serving
from support.servers import S3

CONTENT = random.Random(0).randbytes(300_000)
RANGES: list[Range] = [(number * 9000, 5000) for number in range(33)]
STORAGE = ObstoreStorage()

PASSING = [
    Fault(status=500),
    Fault(status=503, retry_after="3600"),
    Fault(status=429),
    Fault(status=408),
    Fault(drop=True),
    Fault(cut=100),
    Fault(short=1),
    Fault(delay=0.01),
]
LASTING = {400: OSError, 401: PermissionError, 403: PermissionError, 404: FileNotFoundError, 416: ReplacedError}


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "policy", retry.Policy(attempts=4, first_delay=0.001))


@pytest.fixture
def url(http_server: Server) -> str:
    return http_server.put("folder/1.tar", CONTENT)


def expected(ranges: list[Range]) -> list[bytes]:
    return [CONTENT[offset : offset + size] for offset, size in ranges]


def test_a_hundred_requests_are_in_flight_at_once(http_server: Server, url: str) -> None:
    ranges = [(number * 2500, 1000) for number in range(110)]
    http_server.together = 100
    assert list(map(bytes, STORAGE.get_ranges(url, ranges))) == expected(ranges)
    http_server.together, http_server.requests = 0, []
    assert list(map(bytes, STORAGE.get_ranges(url, ranges, STORAGE.stat(url).etag))) == expected(ranges)
    assert (http_server.count("HEAD"), http_server.count()) == (2, 110)


@pytest.mark.parametrize("fault", PASSING, ids=str)
@pytest.mark.parametrize("tagged", [False, True])
def test_a_request_that_failed_is_made_again(http_server: Server, url: str, fault: Fault, tagged: bool) -> None:
    etag = STORAGE.stat(url).etag if tagged else None
    http_server.faults = [fault] * 2
    assert list(map(bytes, STORAGE.get_ranges(url, RANGES, etag))) == expected(RANGES)
    http_server.faults = [fault] * 3
    assert list(map(bytes, STORAGE.get_ranges(url, RANGES[:1], etag))) == expected(RANGES[:1])


def test_only_ranges_that_failed_are_asked_for_again(http_server: Server, url: str) -> None:
    http_server.faults = [Fault(), Fault(status=500)]
    assert list(map(bytes, STORAGE.get_ranges(url, RANGES[: 3 * GROUP]))) == expected(RANGES[: 3 * GROUP])
    assert http_server.count() <= 3 * GROUP + GROUP  # one group failed, at most


@pytest.mark.parametrize("fault", [fault for fault in PASSING if not fault.delay], ids=str)
def test_what_goes_on_failing_is_an_error_with_url_place_cause_and_attempts(
    http_server: Server, url: str, fault: Fault
) -> None:
    STORAGE.size(url)  # a connection that was used before may be lost between requests: that is tried by its library
    http_server.always = fault
    with pytest.raises(OSError, match=rf"^{url}, 7 bytes at offset 3: .+ \(tried 4 times in \d+\.\d s\)$") as caught:
        STORAGE.get_ranges(url, [(3, 7)])
    assert fault.status == 0 or str(fault.status) in str(caught.value)
    assert not isinstance(caught.value, retry.TransientError)


@pytest.mark.parametrize("ranges", [RANGES, RANGES[:1]])
def test_a_weak_etag_can_not_be_asked_for_but_is_compared(http_server: Server, url: str, ranges: list[Range]) -> None:
    assert isinstance(http_server.answer, Files)
    http_server.answer.etags["folder/1.tar"] = 'W/"first"'
    etag = STORAGE.stat(url).etag
    assert list(map(bytes, STORAGE.get_ranges(url, ranges, etag))) == expected(ranges)
    assert not any("if-match" in request.headers for request in http_server.requests)
    http_server.put("folder/1.tar", CONTENT[::-1])
    with pytest.raises(ReplacedError, match=f"{url} was replaced"):
        STORAGE.get_ranges(url, ranges, etag)


@pytest.mark.parametrize("status", LASTING)
@pytest.mark.parametrize("tagged", [False, True])
def test_what_will_not_go_better_is_said_at_once(http_server: Server, url: str, status: int, tagged: bool) -> None:
    etag = STORAGE.stat(url).etag if tagged else None
    http_server.always, http_server.requests = Fault(status=status), []
    with pytest.raises(LASTING[status], match=url):
        STORAGE.get_ranges(url, [(3, 7)], etag)
    assert http_server.count() == 1
    with pytest.raises(OSError, match=url):
        STORAGE.get_ranges(url, RANGES, etag)


def test_a_server_that_is_silent_or_not_there_is_an_error_that_says_so(
    http_server: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastdata.sources.stores.obstore_client._TIMEOUTS", {"read_timeout": "50ms"})
    http_server.always = Fault(delay=0.5)
    silent = url.replace("127.0.0.1", "localhost")  # whose client has yet to be made
    with pytest.raises(OSError, match=rf"{silent}: .*no answer in time \(tried 4 times"):
        STORAGE.size(silent)
    with pytest.raises(OSError, match=r"http://127\.0\.0\.1:9/1\.tar: .*Connection refused \(tried 4 times"):
        STORAGE.size("http://127.0.0.1:9/1.tar")


def test_a_file_is_copied_whole_through_faults_or_not_at_all(http_server: Server, tmp_path: Path) -> None:
    content = CONTENT * (3 * PART // len(CONTENT))
    for url, parts in ((http_server.put("small", CONTENT), 1), (http_server.put("large", content), 3)):
        http_server.requests = []
        http_server.faults = [Fault(status=500), Fault(), Fault(cut=1000), Fault(drop=True), Fault(status=503)]
        STORAGE.get_file(url, tmp_path / "got")
        assert (tmp_path / "got").read_bytes() == (content if parts > 1 else CONTENT)
        assert http_server.count() <= parts + 4
        os.unlink(tmp_path / "got")
        http_server.faults = [Fault(), *[Fault(cut=1000)] * 40]
        with pytest.raises(OSError, match=rf"{url}.* \(tried 4 times"):
            STORAGE.get_file(url, tmp_path / "got")
        assert os.listdir(tmp_path) == []
        http_server.faults = []


def test_a_full_disk_is_the_error_that_it_is(http_server: Server) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full")
    url = http_server.put("1.tar", CONTENT * 20)
    stat = STORAGE.stat(url)
    with full.open("r+b", buffering=0) as file, pytest.raises(OSError, match="No space left") as caught:
        obstore_storage._stream(url, stat, file)
    assert caught.value.errno == errno.ENOSPC
    with full.open("r+b", buffering=0) as file, pytest.raises(OSError, match="No space left") as caught:
        obstore_storage._by_parts(STORAGE, url, stat, file)
    assert caught.value.errno == errno.ENOSPC


def test_a_file_that_is_replaced_while_it_is_copied_is_an_error(http_server: Server, tmp_path: Path) -> None:
    class Replaced(ObstoreStorage):
        def stat(self, url: str):  # type: ignore[no-untyped-def]
            stat = super().stat(url)
            http_server.put("1.tar", content[::-1])
            return stat

    for content in (CONTENT, CONTENT * (2 * PART // len(CONTENT))):
        url = http_server.put("1.tar", content)
        with pytest.raises(ReplacedError, match=f"{url} was replaced"):
            Replaced().get_file(url, tmp_path / "got")
    assert os.listdir(tmp_path) == []


def test_a_server_without_ranges_gives_whole_files_and_says_that_it_gives_no_others(tmp_path: Path) -> None:
    with serving() as server:
        url = server.url("1.tar")
        STORAGE.get_file(url, tmp_path / "got")
        assert (tmp_path / "got").read_bytes() == RANGELESS
        with pytest.raises(OSError, match=rf"{url}, 5 bytes at offset 0: .*the server only gives whole files"):
            STORAGE.get_ranges(url, [(0, 5)])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fastdata.sources.stores.obstore_storage.PART", 1000)
            STORAGE.get_file(url, tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == RANGELESS
        server.silent_about_size = True
        with pytest.raises(OSError, match=rf"{url}: Content-Length Header missing"):
            STORAGE.get_file(url, tmp_path / "other")


@pytest.mark.parametrize("path", ["1.tar?signature=a/b%2Fc&x=%20", "%C3%BC%20b.tar", "a%2Fb.tar", "a//b.tar", ""])
def test_http_urls_arrive_as_they_are_written(http_server: Server, path: str) -> None:
    STORAGE.put_file(Path(__file__), http_server.url(path))
    assert STORAGE.size(http_server.url(path)) == Path(__file__).stat().st_size
    assert {request.path for request in http_server.requests} == {f"/{path}"}


def test_an_http_server_that_lists_nothing_and_makes_no_locks_says_so(http_server: Server, url: str) -> None:
    with pytest.raises(OSError, match=rf"{http_server.url('folder')}: HTTP has no listings: name the files one by one"):
        list(STORAGE.list(http_server.url("folder")))
    with pytest.raises(OSError, match=rf"{url}: .*not yet implemented by HttpStore"):
        STORAGE.put_if_absent(url, b"mine")


@pytest.fixture
def faulty_s3(moto_s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that stands before moto; s3://faulty is a bucket of it."""
    moto_s3.make_bucket("faulty")
    with serving_faults_of(moto_s3.endpoint) as server:
        for name, value in S3(server.url().rstrip("/")).environment.items():
            monkeypatch.setenv(name, value)
        yield server


def test_an_upload_goes_on_through_faults_and_is_whole(faulty_s3: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT * 60)
    faulty_s3.faults = [Fault(status=503), Fault(), Fault(drop=True), Fault(), Fault(status=500)]
    STORAGE.put_file(tmp_path / "file", "s3://faulty/upload.tar")
    assert not faulty_s3.faults
    STORAGE.get_file("s3://faulty/upload.tar", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == CONTENT * 60
    faulty_s3.always = Fault(status=503)
    with pytest.raises(OSError, match=r"could not write s3://faulty/upload\.tar: .*after 3 retries.*503"):
        STORAGE.put_file(tmp_path / "file", "s3://faulty/upload.tar")
    assert not os.path.exists(tmp_path / "nothing")


def test_who_made_a_lock_is_known_when_the_answer_was_lost(faulty_s3: Server) -> None:
    faulty_s3.faults = [Fault(lost=True)]
    assert STORAGE.put_if_absent("s3://faulty/lock", b"mine")
    faulty_s3.faults = [Fault(lost=True)]
    assert not STORAGE.put_if_absent("s3://faulty/lock", b"another's")
    assert bytes(STORAGE.get_ranges("s3://faulty/lock", [(0, 4)])[0]) == b"mine"


def test_a_list_goes_on_where_it_failed(moto_s3: S3, faulty_s3: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastdata.sources.stores.obstore_storage.LISTED", 2)
    urls = [f"s3://faulty/list/{number}" for number in range(7)]
    for url in urls:
        assert STORAGE.put_if_absent(url, b"x")
    answer = forward(moto_s3.endpoint)
    faulty_s3.answer = lambda request: answer(request._replace(path=f"{request.path}&max-keys=2"))
    faulty_s3.faults = [Fault(status=503), Fault(), Fault(drop=True), Fault(), Fault(status=500)]
    assert [url for url, _ in STORAGE.list("s3://faulty/list")] == urls
    assert not faulty_s3.faults
    faulty_s3.always = Fault(status=403)
    with pytest.raises(PermissionError, match="s3://faulty/list"):
        list(STORAGE.list("s3://faulty/list"))
    faulty_s3.always = Fault(status=503)
    with pytest.raises(OSError, match=r"s3://faulty/list: .*503.* \(tried 4 times"):
        list(STORAGE.list("s3://faulty/list"))


def test_ranges_through_a_bad_network_are_all_right(faulty_s3: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "policy", retry.Policy(attempts=30, first_delay=0.001, longest_delay=0.01))
    url = "s3://faulty/1.tar"
    assert STORAGE.put_if_absent(url, CONTENT)
    chance = random.Random(1)
    faults = [chance.choice([Fault()] * 6 + PASSING) for _ in range(200)]
    faulty_s3.faults = faults
    assert list(map(bytes, STORAGE.get_ranges(url, RANGES))) == expected(RANGES)
    assert list(map(bytes, STORAGE.get_ranges(url, RANGES, STORAGE.stat(url).etag))) == expected(RANGES)


def test_requests_are_unsigned_where_the_environment_says_so(
    faulty_s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert STORAGE.put_if_absent("s3://faulty/private", b"x")
    assert all("authorization" in request.headers for request in faulty_s3.requests)
    faulty_s3.requests = []
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    with pytest.raises(PermissionError, match=r"s3://faulty/private: .*check the credentials"):
        STORAGE.size("s3://faulty/private")
    assert not any("authorization" in request.headers for request in faulty_s3.requests)


def test_a_wrong_region_and_an_endpoint_without_https_are_errors_that_say_what_to_do(
    faulty_s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty_s3.always = Fault(status=301)
    with pytest.raises(OSError, match=r"s3://faulty/1\.tar: .*region: say the bucket's by AWS_REGION"):
        ObstoreStorage().size("s3://faulty/1.tar")
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(OSError, match=r"s3://faulty/1\.tar: the endpoint does not speak HTTPS: AWS_ALLOW_HTTP=true"):
        ObstoreStorage().size("s3://faulty/1.tar")
