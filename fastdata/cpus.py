"""The CPUs that this process may use."""

import os
import platform
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
