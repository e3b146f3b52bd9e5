"""Threads that only fetch wait for their turn."""

import os
import threading
from collections.abc import Callable

import pytest

from fastdata.cpus import beginning_for_others, interrupt_nobody, interrupting_nobody

pytestmark = pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="the system has no such policy")


def in_a_thread(work: Callable[[], None]) -> None:
    """Else the tests after this one would have its policy."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def policy() -> int:
    return os.sched_getscheduler(0)


def test_a_thread_and_those_that_it_begins_interrupt_nobody() -> None:
    found: list[int] = []

    def work() -> None:
        interrupt_nobody()
        in_a_thread(lambda: found.append(policy()))

    in_a_thread(work)
    assert found == [os.SCHED_BATCH]
    assert policy() == os.SCHED_OTHER


def test_behind_the_block_only_threads_that_began_in_it_are_so() -> None:
    found: list[int] = []

    def work() -> None:
        with interrupting_nobody():
            in_a_thread(lambda: found.append(policy()))
        found.append(policy())

    in_a_thread(work)
    assert found == [os.SCHED_BATCH, os.SCHED_OTHER]


def test_what_others_use_too_begins_as_usual() -> None:
    found: list[int] = []

    def work() -> None:
        interrupt_nobody()
        with beginning_for_others():
            in_a_thread(lambda: found.append(policy()))
        found.append(policy())

    in_a_thread(work)
    with beginning_for_others():
        found.append(policy())
    assert found == [os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_OTHER]


def test_who_has_another_policy_keeps_it() -> None:
    found: list[int] = []

    def work() -> None:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        interrupt_nobody()
        found.append(policy())
        with interrupting_nobody():
            found.append(policy())
        found.append(policy())

    in_a_thread(work)
    assert found == [os.SCHED_IDLE] * 3


def test_where_the_system_tells_no_policy_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int) -> int:
        raise PermissionError(pid)

    monkeypatch.setattr(os, "sched_getscheduler", refuse)
    with beginning_for_others(), interrupting_nobody():
        interrupt_nobody()
    monkeypatch.undo()
    assert policy() == os.SCHED_OTHER
