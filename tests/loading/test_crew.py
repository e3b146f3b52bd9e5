"""Threads that fill jobs: in order, no more than `prefetch` under way, and none left whatever happens."""

import ctypes
import gc
import os
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastdata.cpus import _cgroup_cpus, available_cpus
from fastdata.loading.crew import Crew
from support.processes import PATIENCE, assert_no_more_threads_than, run_python, threads, wait_for


class Doing:
    """A job of some rows: what it was told to do, and what it has done."""

    def __init__(self, number: int, rows: int = 3, fill: Callable[[int, int], None] | None = None) -> None:
        self.number = number
        self.rows = rows
        self.filled: list[int] = []
        self.finished = 0
        self._fill = fill

    def fill(self, rows: range) -> None:
        for row in rows:
            if self._fill is not None:
                self._fill(self.number, row)
            self.filled.append(row)

    def finish(self) -> None:
        assert sorted(self.filled) == list(range(self.rows))
        self.finished += 1


def begun(jobs: Iterator[Doing], num_threads: int, prefetch: int) -> Crew[Doing]:
    return Crew(jobs, num_threads, prefetch).start()


@pytest.mark.parametrize("num_threads", [1, 2, 5])
@pytest.mark.parametrize("prefetch", [1, 3, 100])
def test_jobs_come_back_finished_and_in_order(num_threads: int, prefetch: int) -> None:
    crew = begun((Doing(number, rows=number % 4 + 1) for number in range(30)), num_threads, prefetch)
    done = list(crew)
    assert [job.number for job in done] == list(range(30))
    assert all(job.finished == 1 for job in done)


def test_a_job_that_is_finished_early_waits_for_its_turn() -> None:
    second_is_done = threading.Event()

    def fill(number: int, row: int) -> None:
        if number == 0:
            wait_for(second_is_done)
        else:
            second_is_done.set()

    assert [job.number for job in begun((Doing(n, 1, fill) for n in range(2)), 2, 2)] == [0, 1]


def test_the_rows_of_a_job_are_filled_by_several_threads_at_once() -> None:
    together = threading.Barrier(3, timeout=PATIENCE)

    def fill(number: int, row: int) -> None:
        together.wait()

    assert len(list(begun(iter([Doing(0, 3, fill)]), 3, 1))) == 1


def test_no_more_than_prefetch_jobs_are_begun_and_not_handed_out() -> None:
    made = 0

    def jobs() -> Iterator[Doing]:
        nonlocal made
        for made in range(1, 21):
            yield Doing(made)

    for handed_out, _ in enumerate(begun(jobs(), 2, prefetch=4), start=1):
        assert made <= handed_out + 4
    assert made == 20


def test_no_jobs_are_no_batches() -> None:
    assert list(begun(iter(()), 3, 2)) == []


def test_no_thread_is_left_after_the_last_job() -> None:
    before = threads()
    crew = begun((Doing(number) for number in range(10)), 4, 3)
    assert len(list(crew)) == 10
    crew.close()
    assert_no_more_threads_than(before)


def test_a_crew_that_is_never_iterated_over_has_no_threads() -> None:
    before = threads()
    crew = Crew((Doing(number) for number in range(10)), 4, 3)
    assert threads() == before
    crew.close()


def test_close_ends_the_threads_and_the_iteration() -> None:
    before = threads()
    crew = begun((Doing(number) for number in range(1000)), 4, 3)
    assert next(crew).number == 0
    crew.close()
    assert_no_more_threads_than(before)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="this iteration was closed"):
            next(crew)
    crew.close()


def test_close_while_another_thread_waits_for_a_job_ends_its_wait() -> None:
    filling, closing = threading.Event(), threading.Event()

    def fill(number: int, row: int) -> None:
        filling.set()
        wait_for(closing)

    crew = begun((Doing(number, 5, fill) for number in range(9)), 2, 1)
    outcome: queue.SimpleQueue[str] = queue.SimpleQueue()

    def iterate() -> None:
        try:
            list(crew)
        except RuntimeError as error:
            outcome.put(str(error))

    caller, closer = threading.Thread(target=iterate), threading.Thread(target=crew.close)
    caller.start()
    wait_for(filling)
    closer.start()
    assert "this iteration was closed" in outcome.get(timeout=PATIENCE)  # which does not wait for the row either
    closing.set()
    for thread in (caller, closer):
        thread.join(PATIENCE)


def test_what_was_under_way_is_freed_by_close() -> None:
    made: weakref.WeakSet[Doing] = weakref.WeakSet()

    def job(number: int) -> Doing:
        made.add(made_now := Doing(number))
        return made_now

    crew = begun(map(job, range(100)), 2, 5)
    next(crew)
    crew.close()
    gc.collect()
    assert not made


def test_threads_with_nothing_to_do_hold_no_job_that_was_handed_out() -> None:
    crew = begun((Doing(number, 2) for number in range(2)), 1, 1)
    first = weakref.ref(next(crew))
    next(crew)  # by then the thread is done with the first
    assert first() is None
    crew.close()


def test_an_error_in_a_job_is_raised_in_its_turn() -> None:
    def fill(number: int, row: int) -> None:
        if (number, row) == (2, 1):
            raise ZeroDivisionError("in the third job")

    before = threads()
    crew = begun((Doing(number, 3, fill) for number in range(9)), 2, 4)
    assert [next(crew).number, next(crew).number] == [0, 1]
    with pytest.raises(ZeroDivisionError, match="in the third job"):
        next(crew)
    assert next(crew).number == 3
    crew.close()
    assert_no_more_threads_than(before)


def test_a_job_with_an_error_is_not_finished() -> None:
    made = []

    def fill(number: int, row: int) -> None:
        raise ZeroDivisionError

    def jobs() -> Iterator[Doing]:
        made.append(Doing(0, 3, fill))
        yield made[0]

    with pytest.raises(ZeroDivisionError):
        list(begun(jobs(), 2, 1))
    assert made[0].finished == 0


def test_an_error_in_finish_is_raised() -> None:
    class Unfinished(Doing):
        def finish(self) -> None:
            raise ZeroDivisionError("in finish")

    with pytest.raises(ZeroDivisionError, match="in finish"):
        list(begun(iter([Unfinished(0)]), 2, 1))


def test_an_error_in_making_a_job_is_raised_and_not_taken_for_the_end() -> None:
    def jobs() -> Iterator[Doing]:
        yield Doing(0)
        raise ZeroDivisionError("no second job")

    crew = begun(jobs(), 2, 1)
    with pytest.raises(ZeroDivisionError, match="no second job"):
        list(crew)
    crew.close()


def test_a_job_that_is_ended_by_what_is_no_jobs_error_does_not_end_the_caller() -> None:
    """As SystemExit, which would end the program where nobody asked for that."""

    def fill(number: int, row: int) -> None:
        if number == 1:
            raise SystemExit(3)

    crew = begun((Doing(number, 1, fill) for number in range(5)), 2, 2)
    assert next(crew).number == 0
    with pytest.raises(RuntimeError, match="a thread that fills batches was ended by SystemExit 3: iterate again"):
        list(crew)
    crew.close()


WHILE = 0.2  # seconds that one side is busy; half of them are enough to tell whom the other one has waited for


def end_by(error: type[BaseException], thread: threading.Thread) -> None:
    """Has it raised in a thread, where that next looks for such: not while it waits for a queue."""
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(error)) == 1


@pytest.mark.parametrize("error", [SystemExit, MemoryError])
def test_a_thread_that_is_ended_with_its_task_is_an_error_and_keeps_nobody_waiting(error: type[BaseException]) -> None:
    others: list[threading.Thread] = []
    all_begun = threading.Event()

    def fill(number: int, row: int) -> None:
        if number == 0:
            wait_for(all_begun)
            me = threading.current_thread()
            others.extend(each for each in crew._threads if each is not me)
            end_by(error, others[0])  # which has had no task yet: it takes the next one with it
        else:
            others[0].join(PATIENCE)

    crew = Crew((Doing(number, 1 + number, fill) for number in range(2)), 2, 1)
    crew.start()
    all_begun.set()
    with pytest.raises(RuntimeError, match=f"a thread that fills batches was ended by {error.__name__}: iterate again"):
        list(crew)
    crew.close()
    assert not any(thread.is_alive() for thread in crew._threads)


def test_the_threads_wait_while_the_caller_is_busy() -> None:
    filled = threading.Event()
    crew = begun((Doing(number, 1, lambda *_: filled.set()) for number in range(2)), 1, 1)
    wait_for(filled)
    time.sleep(WHILE)
    assert [job.number for job in crew] == [0, 1]
    crew.close()
    assert crew.threads_waited_ns > WHILE / 2 * 1e9 > crew.caller_waited_ns


def test_the_caller_waits_while_the_threads_are_busy() -> None:
    asking = threading.Event()

    def fill(number: int, row: int) -> None:
        wait_for(asking)
        time.sleep(WHILE)

    crew = begun(iter([Doing(0, 1, fill)]), 1, 1)
    asking.set()
    assert len(list(crew)) == 1
    crew.close()
    assert crew.caller_waited_ns > WHILE / 2 * 1e9 > crew.threads_waited_ns


SIGINTS = """
import os
import signal
import threading

from fastdata.loading.crew import Crew
from support.processes import assert_no_more_threads_than

class Job:
    rows = 2
    def fill(self, rows): pass
    def finish(self): pass

def interrupt():
    while True:
        looping.acquire()
        os.kill(os.getpid(), signal.SIGINT)

looping = threading.Semaphore(0)
threading.Thread(target=interrupt, daemon=True).start()
for _ in range(300):
    crew = Crew((Job() for _ in range(10**9)), 2, 3)
    try:
        looping.release()
        for job in crew.start():
            pass
    except KeyboardInterrupt:
        pass
    crew.close()
    assert_no_more_threads_than(2)
print("survived")
"""


def test_interrupts_at_any_moment_leave_no_thread_and_no_hang() -> None:
    assert run_python(SIGINTS) == "survived\n"


def test_num_threads_follows_the_affinity_of_this_process() -> None:
    program = "import os; os.sched_setaffinity(0, {0}); import fastdata.cpus; print(fastdata.cpus.available_cpus())"
    if 0 not in os.sched_getaffinity(0):
        pytest.skip("this process may not use CPU 0")
    assert run_python(program) == "1\n"


def test_available_cpus_is_at_least_one() -> None:
    assert 1 <= available_cpus() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("content", "cpus"), [("150000 100000", 2), ("max 100000", None), ("50000 100000", 1), ("", None)]
)
def test_the_quota_of_control_groups_2_is_rounded_up(tmp_path: Path, content: str, cpus: int | None) -> None:
    (tmp_path / "cpu.max").write_text(content + "\n")
    assert _cgroup_cpus(tmp_path) == cpus


@pytest.mark.parametrize(("quota", "cpus"), [("400000", 4), ("-1", None)])
def test_the_quota_of_control_groups_1_counts(tmp_path: Path, quota: str, cpus: int | None) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota + "\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert _cgroup_cpus(tmp_path) == cpus


def test_without_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert _cgroup_cpus(tmp_path) is None
