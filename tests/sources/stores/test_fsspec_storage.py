"""Protocols that only fsspec knows: the same promises, whatever its packages do."""

import os
from pathlib import Path
from typing import Any

import pytest

from fastdata.errors import ReplacedError
from fastdata.sources.stores import retry
from fastdata.sources.stores.fsspec_storage import FsspecStorage
from fastdata.sources.stores.stored import Range
from support.http_server import Fault, Server
from support.memory_store import empty_memory
from support.processes import run_python

CONTENT = bytes(range(256)) * 400
RANGES: list[Range] = [(number * 3000, 2000) for number in range(25)]
STORAGE = FsspecStorage()


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "policy", retry.Policy(attempts=4, first_delay=0.001))


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Any:
    """fsspec's memory, and a file in it: memory://folder/1.tar."""
    filesystem = empty_memory(monkeypatch)
    filesystem().pipe_file("/folder/1.tar", CONTENT)
    return filesystem


MEMORY_URL = "memory://folder/1.tar"


def failing(method: Any, times: int, error: Exception) -> Any:
    """A method of a filesystem that fails so many times at first."""
    left = [error] * times

    def called(*arguments: Any, **options: Any) -> Any:
        if left:
            raise left.pop()
        return method(*arguments, **options)

    return called


def expected(ranges: list[Range]) -> list[bytes]:
    return [CONTENT[offset : offset + size] for offset, size in ranges]


def test_ranges_are_asked_for_at_once(http_server: Server) -> None:
    url = http_server.put("1.tar", CONTENT)
    http_server.together = len(RANGES)
    assert list(map(bytes, STORAGE.get_ranges(url, RANGES))) == expected(RANGES)


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(status=429), Fault(drop=True), Fault(cut=9)], ids=str)
def test_a_request_that_failed_is_made_again(http_server: Server, fault: Fault, tmp_path: Path) -> None:
    url = http_server.put("1.tar", CONTENT)
    http_server.faults = [Fault(), fault, Fault(), fault]
    assert list(map(bytes, STORAGE.get_ranges(url, RANGES))) == expected(RANGES)
    assert not http_server.faults
    http_server.faults = [Fault(), fault]
    STORAGE.get_file(url, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == CONTENT
    http_server.always = fault
    with pytest.raises(OSError, match=rf"^{url}, 2000 bytes at offset 0: .+ \(tried 4 times in \d+\.\d s\)$"):
        STORAGE.get_ranges(url, RANGES)


@pytest.mark.parametrize(("status", "error"), [(400, OSError), (403, PermissionError), (404, FileNotFoundError)])
def test_what_will_not_go_better_is_said_at_once(http_server: Server, status: int, error: type[OSError]) -> None:
    url = http_server.put("1.tar", CONTENT)
    http_server.always = Fault(status=status)
    with pytest.raises(error, match=url):
        STORAGE.get_ranges(url, [(3, 7)])
    assert http_server.count() == 1


def test_errors_of_any_package_are_tried_again_but_not_those_of_a_program(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PackageError(Exception):
        pass

    read = memory.cat_file
    for error in (PackageError("lost"), TimeoutError(), ConnectionResetError("reset"), OSError("lost")):
        monkeypatch.setattr(memory, "cat_file", failing(read, 3, error))
        assert list(map(bytes, STORAGE.get_ranges(MEMORY_URL, RANGES))) == expected(RANGES)
        monkeypatch.setattr(memory, "cat_file", failing(read, 4, error))
        with pytest.raises(OSError, match=rf"{MEMORY_URL}, 7 bytes at offset 3: .* \(tried 4 times"):
            STORAGE.get_ranges(MEMORY_URL, [(3, 7)])
    for defect in (TypeError("defect"), KeyError("defect"), NotImplementedError("defect")):
        monkeypatch.setattr(memory, "cat_file", failing(read, 1, defect))
        with pytest.raises(OSError, match=rf"{MEMORY_URL}, 7 bytes at offset 3: .*defect'?$"):
            STORAGE.get_ranges(MEMORY_URL, [(3, 7)])


def test_a_short_body_is_asked_for_again_and_never_taken(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read = memory.cat_file
    short = iter([True, False, True, False])
    monkeypatch.setattr(memory, "cat_file", lambda *where: read(*where)[: -1 if next(short) else None])
    assert list(map(bytes, STORAGE.get_ranges(MEMORY_URL, [(3, 7)]))) == [CONTENT[3:10]]
    assert list(map(bytes, STORAGE.get_ranges(MEMORY_URL, [(3, 7)]))) == [CONTENT[3:10]]
    monkeypatch.setattr(memory, "cat_file", lambda *where: read(*where)[:-1])
    with pytest.raises(OSError, match=rf"{MEMORY_URL}, 7 bytes at offset 3: 6 bytes came \(tried 4 times"):
        STORAGE.get_ranges(MEMORY_URL, [(3, 7)])


def test_a_copy_shorter_than_its_source_said_is_an_error_with_both_sizes(
    memory: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    info = memory.info
    monkeypatch.setattr(memory, "info", lambda self, path: info(self, path) | {"size": len(CONTENT) + 1})
    with pytest.raises(OSError, match=rf"{MEMORY_URL}: {len(CONTENT)} bytes came of {len(CONTENT) + 1} \(tried 4"):
        STORAGE.get_file(MEMORY_URL, tmp_path / "got")
    assert os.listdir(tmp_path) == []
    monkeypatch.setattr(memory, "info", lambda self, path: info(self, path) | {"size": None})
    with pytest.raises(OSError, match=rf"{MEMORY_URL}: its server does not say its size"):
        STORAGE.get_file(MEMORY_URL, tmp_path / "got")


def test_a_file_that_is_replaced_while_it_is_copied_is_an_error(
    memory: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    get = memory.get_file

    def replacing(self: Any, *where: Any) -> None:
        get(self, *where)
        memory().pipe_file("/folder/1.tar", CONTENT[::-1])

    monkeypatch.setattr(memory, "get_file", replacing)
    with pytest.raises(ReplacedError, match=f"{MEMORY_URL} was replaced"):
        STORAGE.get_file(MEMORY_URL, tmp_path / "got")
    assert os.listdir(tmp_path) == []


def test_who_made_a_lock_is_known_when_the_answer_was_lost(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    make = memory.pipe_file
    losing = iter([True, False] * 2)

    def lost(*arguments: Any, **options: Any) -> None:
        make(*arguments, **options)
        if next(losing):
            raise ConnectionResetError

    monkeypatch.setattr(memory, "pipe_file", lost)
    assert STORAGE.put_if_absent("memory://folder/lock", b"mine")
    assert not STORAGE.put_if_absent("memory://folder/lock", b"another's")


def test_a_forked_child_reads_what_its_parent_has_read(http_server: Server) -> None:
    url = http_server.put("1.tar", CONTENT)
    program = """
import os, signal, sys, warnings
warnings.simplefilter("ignore")  # Python 3.12 warns of every fork of a process with threads
from fastdata.sources.stores.fsspec_storage import FsspecStorage
storage = FsspecStorage()
ranges = [(number * 1000, 900) for number in range(20)]
expected = list(map(bytes, storage.get_ranges(sys.argv[1], ranges)))
child = os.fork()
if child == 0:
    signal.alarm(50)
    assert list(map(bytes, storage.get_ranges(sys.argv[1], ranges))) == expected
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
print(len(expected))
"""
    assert run_python(program, url) == "20\n"


_FIRST_USED_WHERE_PIECES_ARE_FETCHED = """
import os, threading
from fastdata.cpus import interrupt_nobody
from fastdata.sources.stores.fsspec_storage import FsspecStorage

def fetch():
    interrupt_nobody()
    FsspecStorage().put_if_absent("memory://a/b", b"c")

thread = threading.Thread(target=fetch)
thread.start()
thread.join()
from fsspec.asyn import iothread
print(os.sched_getscheduler(iothread[0].native_id) == os.sched_getscheduler(0))
"""


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="the system has no such policy")
def test_the_thread_of_all_who_use_fsspec_is_no_thread_of_ours() -> None:
    assert run_python(_FIRST_USED_WHERE_PIECES_ARE_FETCHED) == "True\n"
