"""The CPUs that this process may use."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def available_cpus() -> int:
    """The number of CPUs that this process may use: its affinity, and its cgroup's quota rounded up."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cpus, _cgroup_cpus() or cpus))


def cpu_model(info: Path = Path("/proc/cpuinfo")) -> str:
    """What the CPU calls itself, as far as the system tells."""
    lines = info.read_text(errors="replace").splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def _cgroup_cpus(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """A container's quota of CPU time over its period, of control groups version 2 or 1; None without one."""
    try:
        if (root / "cpu.max").exists():
            quota, period = (root / "cpu.max").read_text().split()
        else:
            quota, period = ((root / "cpu" / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        return None if quota in ("max", "-1") else -(-int(quota) // int(period))
    except (OSError, ValueError):
        return None  # no control groups here, or of another kind: the affinity is all there is


def interrupt_nobody() -> None:
    """Has the calling thread wait for its turn when it wakes up, in place of taking a CPU from who is at work on it.

    For threads that wake up often for some microseconds, such as those that wait for a network: each time they would
    cost a thread that decodes its CPU's caches. So it is for threads that this one begins. Who has another policy than
    the usual one keeps it, and so does everyone where the system has no such policy: there it is only slower.
    """
    _change_policy("SCHED_OTHER", "SCHED_BATCH")


@contextmanager
def interrupting_nobody() -> Iterator[None]:
    """A block in which the calling thread is one of these; those that it begins there stay so."""
    changed = _change_policy("SCHED_OTHER", "SCHED_BATCH")
    try:
        yield
    finally:
        if changed:
            _change_policy("SCHED_BATCH", "SCHED_OTHER")


@contextmanager
def beginning_for_others() -> Iterator[None]:
    """A block in which the calling thread, if it is one of these, begins threads that others use, too: they are as the
    process's first one."""
    changed = _has_policy(os.getpid(), "SCHED_OTHER") and _change_policy("SCHED_BATCH", "SCHED_OTHER")
    try:
        yield
    finally:
        if changed:
            _change_policy("SCHED_OTHER", "SCHED_BATCH")


def _change_policy(old: str, new: str) -> bool:
    """Changes the calling thread's policy, and says whether it has: Linux has these two, some sandboxes neither."""
    with suppress(OSError):
        if _has_policy(0, old):
            os.sched_setscheduler(0, getattr(os, new), os.sched_param(0))
            return True
    return False


def _has_policy(pid: int, name: str) -> bool:
    """Of a process's first thread, or for 0 of this one; no where the system does not tell."""
    with suppress(OSError):
        return hasattr(os, name) and os.sched_getscheduler(pid) == getattr(os, name)
    return False
