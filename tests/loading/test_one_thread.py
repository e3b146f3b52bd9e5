import threading
from collections.abc import Iterator

import pytest
import torch

from fastdata.loading.one_thread import keep_torch_in_one_thread
from support.processes import run_python


@pytest.fixture
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def in_a_thread(*do: object) -> list[int]:
    numbers: list[int] = []

    def run() -> None:
        for each in do:
            each()  # type: ignore[operator]
        numbers.append(torch.get_num_threads())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return numbers


@pytest.mark.usefixtures("four_threads")
def test_it_is_of_the_calling_thread_and_of_no_other_one() -> None:
    assert in_a_thread(keep_torch_in_one_thread) == [1]
    assert in_a_thread(keep_torch_in_one_thread, keep_torch_in_one_thread) == [1]
    assert torch.get_num_threads() == 4
    assert in_a_thread() == [4]
    torch.ones(1 << 20).mul_(2)
    assert torch.get_num_threads() == 4


def test_a_child_that_was_forked_meanwhile_does_not_wait_for_a_lock_that_nobody_holds() -> None:
    program = """
import os, signal
from fastdata.loading import one_thread
one_thread._one_at_a_time.acquire()  # as another thread may, at the moment of a fork
child = os.fork()
if child == 0:
    signal.alarm(20)
    one_thread.keep_torch_in_one_thread()
    os._exit(0)
print(os.waitpid(child, 0)[1])
"""
    assert run_python(program).strip() == "0"
