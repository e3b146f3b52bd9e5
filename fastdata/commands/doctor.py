"""`fastdata doctor`: what this machine has of what loading needs, and the remedy for each known trap."""

import os
import platform
import resource
import shutil
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import metadata
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fastdata import __version__
from fastdata.commands.doctor_storage import cache, object_stores
from fastdata.commands.finding import Finding, in_gigabytes, version_of
from fastdata.commands.terminal import printable
from fastdata.compiled import is_turned_off
from fastdata.cpus import available_cpus, cpu_model

_PACKAGES = ("torch", "numpy", "pillow", "opencv-python-headless", "simplejpeg")
_SHARED = 1 << 30  # bytes in /dev/shm: some batches of each of a DataLoader's workers
_DESCRIPTORS = 1024  # what most systems begin with
_DRIVER = Path("/proc/driver/nvidia/version")
_STYLES = {"good": "green", "note": "yellow", "bad": "red"}


def findings() -> list[Finding]:
    """Of every check, in their order."""
    return [finding for check in _CHECKS for finding in check()]


def show(found: list[Finding]) -> None:
    """Prints them as a table, the remedies below."""
    table = Table(show_header=False)
    for what, state, said, remedy in found:
        text = f"{printable(said)}" + (f"\n→ {printable(remedy)}" if remedy else "")
        table.add_row(what, f"[{_STYLES[state]}]{state}[/]", escape(text))
    Console().print(table)


def _versions() -> Iterator[Finding]:
    yield Finding("fastdata", "good", f"{__version__}, Python {platform.python_version()}, {platform.platform()}")
    known = {}
    for name in _PACKAGES:
        number = version_of(name)
        if number is not None:
            known[name] = number
        else:
            yield Finding(name, "bad", "is not installed", "install fastdata again, with its dependencies")
    yield Finding("packages", "good", ", ".join(f"{name} {number}" for name, number in known.items()))


def _opencv() -> Iterator[Finding]:
    """Several of these write into one folder, and what is left of them is the last one's, or no one's."""
    others = [name for name in ("opencv-python", "opencv-contrib-python") if version_of(name)]
    if others:
        remedy = f"pip uninstall {others[0]} opencv-python-headless; pip install opencv-python-headless"
        yield Finding("opencv", "note", f"{others[0]} is installed beside opencv-python-headless", remedy)


def _other_fastdata() -> Iterator[Finding]:
    """On PyPI `fastdata` is another package, whose files would lie among these; ours once had that name, too."""
    other = version_of("fastdata")
    if other is not None and version_of("fastdata-images"):
        remedy = "pip uninstall fastdata fastdata-images; pip install fastdata-images"
        is_ours = metadata("fastdata")["Summary"] == metadata("fastdata-images")["Summary"]
        kind = "an older build of this package," if is_ours else "an unrelated package"
        yield Finding("fastdata", "bad", f"{kind} named fastdata ({other}) is installed, too", remedy)


def _kernel() -> Iterator[Finding]:
    from fastdata.images.kernel import kernel_name

    name = kernel_name()
    if name != "none":
        yield Finding("kernel", "good", f"compiled, {name}")
    elif is_turned_off():
        yield Finding("kernel", "note", "turned off by FASTDATA_KERNEL", "unset FASTDATA_KERNEL, for twice the speed")
    else:
        remedy = "apt install gcc libjpeg-dev, then install fastdata again with FASTDATA_BUILD=yes, which says why not"
        yield Finding("kernel", "note", "not compiled: half the speed, the same samples", remedy)


def _cpus() -> Iterator[Finding]:
    mine, all_of_them = available_cpus(), os.cpu_count() or 1
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else all_of_them
    limits = [f"{affinity} by affinity"] if affinity < all_of_them else []
    limits += [f"{mine} by the container's quota"] if mine < affinity else []
    said = f"{mine} of {all_of_them} may be used" + (f" ({', '.join(limits)})" if limits else "")
    if mine == 1:
        remedy = "ask for more: by taskset, the container's --cpus, or Slurm's --cpus-per-task"
        yield Finding("CPUs", "note", f"{said}: training and loading share it", remedy)
    else:
        yield Finding("CPUs", "good", f"{said}: a Loader's num_threads by default; {cpu_model()}")


def _threads() -> Iterator[Finding]:
    import torch

    threads, cpus = torch.get_num_threads(), available_cpus()
    if threads > cpus:
        said = f"{threads} of torch's own on {cpus} CPUs get in each other's way"
        yield Finding("torch's threads", "note", said, f"OMP_NUM_THREADS={cpus}")
    else:
        yield Finding("torch's threads", "good", f"{threads}")


def _shared_memory(path: Path = Path("/dev/shm")) -> Iterator[Finding]:  # noqa: S108 -- what a DataLoader's workers use
    if not path.is_dir():
        return
    free = shutil.disk_usage(path).free
    if free < _SHARED:
        remedy = "docker run --shm-size=8g, or fd.Loader, whose threads need none"
        said = f"{in_gigabytes(free)} are free: DataLoader's workers end by a bus error when it is full"
        yield Finding(str(path), "note", said, remedy)
    else:
        yield Finding(
            str(path), "good", f"{in_gigabytes(free)} are free for DataLoader's workers; fd.Loader needs none"
        )


def _descriptors() -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _DESCRIPTORS:
        most = "unlimited" if hard == resource.RLIM_INFINITY else hard
        said = f"{soft} for a process: a DataLoader with many workers may run out of them"
        yield Finding("open files", "note", said, f"ulimit -n {most}")
    else:
        yield Finding("open files", "good", "unlimited" if soft == resource.RLIM_INFINITY else f"{soft} for a process")


def _gpu() -> Iterator[Finding]:
    import torch

    if not torch.cuda.is_available() and _DRIVER.exists():
        remedy = "pip install torch from the index that fits the driver: pytorch.org/get-started"
        yield Finding("GPU", "note", f"NVIDIA's driver is here, and torch {torch.__version__} sees no GPU", remedy)
        return
    if not torch.cuda.is_available():
        yield Finding("GPU", "good", f"none that torch {torch.__version__} sees")
        return
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    yield Finding("GPU", "good", f"{len(names)}: {', '.join(dict.fromkeys(names))}; CUDA {torch.version.cuda}")


def _dali() -> Iterator[Finding]:
    try:
        number = import_module("nvidia.dali").__version__
    except ImportError as error:
        if version_of("nvidia-dali-cuda120"):
            yield Finding("DALI", "bad", f"is installed but can't be imported: {error}", "pip install it again")
        else:
            yield Finding("DALI", "good", "is not installed; decoder='dali' needs it, nothing else does")
    else:
        yield Finding("DALI", "good", f"{number}")


def _environment() -> Iterator[Finding]:
    set_here = {name: value for name, value in sorted(os.environ.items()) if name.startswith("FASTDATA_")}
    if set_here:
        yield Finding("environment", "good", ", ".join(f"{name}={value}" for name, value in set_here.items()))


_CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _versions,
    _other_fastdata,
    _opencv,
    _kernel,
    _cpus,
    _threads,
    _shared_memory,
    _descriptors,
    _gpu,
    _dali,
    object_stores,
    cache,
    _environment,
)
