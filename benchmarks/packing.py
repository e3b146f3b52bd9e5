"""Packing against GNU tar and sync, on the same files, in the same number of processes: python benchmarks/packing.py

In each round both write the same made files, one after the other, in turns; the files lie in the page cache. tar gets
them in lists of equal length, a process each, and each archive is synced when it is written, as each shard is.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

_CLASSES = 20


def make_files(root: Path, size: int, total: int) -> list[Path]:
    """Files of about `size` random bytes, `total` bytes together, in class folders."""
    paths = []
    for number in range(total // size):
        path = root / f"class{number % _CLASSES:02}" / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size + (number % 21 - 10) * size // 100))
        paths.append(path.relative_to(root))
    return sorted(paths)


def pack_by_fastdata(root: Path, out: Path, jobs: int) -> None:
    command: list[str | Path] = [sys.executable, "-m", "fastdata", "shard", root, out]
    options = ["--shards", str(2 * jobs), "--jobs", str(jobs)]
    subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL)


def pack_by_tar(root: Path, paths: list[Path], out: Path, jobs: int) -> None:
    out.mkdir()
    running = []
    for job in range(jobs):
        share = paths[len(paths) * job // jobs : len(paths) * (job + 1) // jobs]
        (out / f"{job}.list").write_text("\n".join(map(str, share)))
        script = 'tar --create --file="$1" --directory="$2" --files-from="$3" && sync "$1"'
        command: list[str | Path] = ["sh", "-c", script, "sh", out / f"{job}.tar", root, out / f"{job}.list"]
        running.append(subprocess.Popen(command))
    assert all(process.wait() == 0 for process in running)


def seconds(run: Callable[[Path], None], out: Path) -> float:
    """The time that a run takes; what it wrote is removed, and what the disk has yet to write is waited for."""
    os.sync()
    start = time.perf_counter()
    run(out)
    taken = time.perf_counter() - start
    shutil.rmtree(out)
    return taken


def compare(directory: Path, size: int, arguments: argparse.Namespace) -> list[str]:
    """The row of files of this size."""
    root, jobs = directory / "files", arguments.jobs
    paths = make_files(root, size, arguments.megabytes * 10**6)
    total = sum((root / path).stat().st_size for path in paths) / 1e6
    ours, theirs = [], []
    for _ in range(arguments.rounds):
        theirs.append(seconds(lambda out: pack_by_tar(root, paths, out, jobs), directory / "tar"))
        ours.append(seconds(lambda out: pack_by_fastdata(root, out, jobs), directory / "shards"))
    ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
    speeds = [f"{total / statistics.median(times):.0f}" for times in (ours, theirs)]
    return [f"{size:,}", *speeds, f"{statistics.median(ratios):.2f}", " ".join(f"{ratio:.2f}" for ratio in ratios)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=900, help="of the files of each size together")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    table = Table("bytes a file", "fastdata MB/s", "tar and sync MB/s", "ratio, median of rounds", "ratios")
    for size in (25_000, 110_000):
        with tempfile.TemporaryDirectory() as name:
            table.add_row(*compare(Path(name), size, arguments))
    Console().print(table)


if __name__ == "__main__":
    main()
