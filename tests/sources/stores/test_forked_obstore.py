"""A process reads from object storage after a fork too, whatever its parent did before."""

import pytest

from support.http_server import Server
from support.processes import run_python

FORKING = """
import os, signal, sys, threading, warnings
warnings.simplefilter("ignore")  # Python 3.12 warns of every fork of a process with threads
from fastdata.sources.stores.storage import storage_of

url, content = sys.argv[1], bytes(range(256)) * 1000
storage = storage_of(url)
ranges = [(number * 1000, 900) for number in range(200)]

def read():
    signal.alarm(50)  # it would hang
    assert [bytes(each) for each in storage.get_ranges(url, ranges)] == [content[at:at + size] for at, size in ranges]
    assert storage.size(url) == len(content)

def in_a_child(work):
    child = os.fork()
    if child == 0:
        work()
        sys.exit(7)  # so that what is registered to run at exit does
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""


def test_children_and_their_children_read_what_their_parent_has_read(http_server: Server) -> None:
    url = http_server.put("1.tar", bytes(range(256)) * 1000)
    program = """
in_a_child(read)  # who reads first
read()
def family():
    read()
    in_a_child(lambda: (read(), in_a_child(read)))
    read()
for _ in range(3):
    in_a_child(family)
read()
print("all of them")
"""
    assert run_python(FORKING + program, url) == "all of them\n"


def test_a_child_reads_that_was_forked_while_other_threads_were_reading(http_server: Server) -> None:
    url = http_server.put("1.tar", bytes(range(256)) * 1000)
    program = """
ended = threading.Event()
def go_on():
    while not ended.is_set():
        read_here()
def read_here():
    assert len(storage.get_ranges(url, ranges)) == 200
readers = [threading.Thread(target=go_on) for _ in range(3)]
for reader in readers:
    reader.start()
for _ in range(5):
    in_a_child(read)
ended.set()
for reader in readers:
    reader.join()
print("all of them")
"""
    assert run_python(FORKING + program, url) == "all of them\n"


def test_where_there_can_be_no_copy_a_child_raises_an_error_that_says_what_to_do(http_server: Server) -> None:
    url = http_server.put("1.tar", bytes(range(256)) * 1000)
    program = """
read()
del os.memfd_create
def refused():
    try:
        read()
    except RuntimeError as error:
        print(error, flush=True)
in_a_child(refused)
"""
    said = run_python(FORKING + program, url)
    assert "cannot use object storage when its parent has used it" in said
    assert 'multiprocessing_context="spawn"' in said


@pytest.mark.parametrize(
    "context", ["fork", *(pytest.param(other, marks=pytest.mark.slow) for other in ("spawn", "forkserver"))]
)
def test_workers_of_a_dataloader_read_what_the_main_process_has_read(http_server: Server, context: str) -> None:
    url = http_server.put("1.tar", bytes(range(256)) * 1000)
    program = """
from torch.utils.data import DataLoader
from support.remote_ranges import RemoteRanges
if __name__ == "__main__":
    dataset = RemoteRanges(sys.argv[1])
    assert dataset[3] == 3
    loader = DataLoader(dataset, batch_size=None, num_workers=2, multiprocessing_context=sys.argv[2])
    print(list(loader))
"""
    assert run_python(FORKING + program, url, context) == f"{list(range(20))}\n"
