"""Packing against GNU tar and sync, on the same files, in the same number of processes: python benchmarks/packing.py

In each round both write the same files, one after the other, in turns; the files lie in the page cache. tar gets
them in lists of equal length, a process each, and each archive is synced when it is written, as each shard is. Packing
also hashes and indexes; with its check it reads each JPEG to its end, too, which matters where there are real ones:
--photos names a folder of them, of which copies are packed.
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
from functools import partial
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


def copy_photos(root: Path, photos: Path, total: int) -> list[Path]:
    """Copies of the photos in a folder, `total` bytes together or a little more, in class folders."""
    contents = [path.read_bytes() for path in sorted(photos.rglob("*.jp*g"))]
    paths: list[Path] = []
    written = 0
    while written < total:
        data = contents[len(paths) % len(contents)]
        path = root / f"class{len(paths) % _CLASSES:02}" / f"{len(paths):06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        paths.append(path.relative_to(root))
        written += len(data)
    return sorted(paths)


def pack_by_fastdata(root: Path, out: Path, jobs: int, check: str) -> None:
    command: list[str | Path] = [sys.executable, "-m", "fastdata", "shard", root, out]
    options = ["--shards", str(2 * jobs), "--jobs", str(jobs), "--check", check]
    # An installed package has its bytecode beside it; here the first run makes it, if that is not forbidden.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL, env=environment)


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


def compare(directory: Path, name: str, paths: list[Path], arguments: argparse.Namespace) -> list[str]:
    """The row of these files."""
    root, jobs = directory / "files", arguments.jobs
    total = sum((root / path).stat().st_size for path in paths) / 1e6
    taken: dict[str, list[float]] = {"none": [], "decode": [], "tar": []}
    for _ in range(arguments.rounds):
        taken["tar"].append(seconds(lambda out: pack_by_tar(root, paths, out, jobs), directory / "tar"))
        for check in ("none", "decode"):
            run = partial(pack_by_fastdata, root, jobs=jobs, check=check)
            taken[check].append(seconds(run, directory / "shards"))
    ratios = {
        check: [tar / ours for tar, ours in zip(taken["tar"], taken[check], strict=True)]
        for check in ("none", "decode")
    }
    speeds = [f"{total / statistics.median(times):.0f}" for times in taken.values()]
    medians = [f"{statistics.median(each):.2f}" for each in ratios.values()]
    return [name, *speeds, *medians, " ".join(f"{ratio:.2f}" for ratio in ratios["none"])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=900, help="of the files of each kind together")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--photos", type=Path, help="a folder of JPEGs, to pack copies of, too")
    arguments = parser.parse_args()
    headers = (
        "files",
        "MB/s",
        "MB/s with check",
        "tar and sync MB/s",
        "ratio to tar",
        "with check",
        "ratios of rounds",
    )
    table = Table(*headers)
    total = arguments.megabytes * 10**6
    kinds = {f"{size:,} bytes": partial(make_files, size=size, total=total) for size in (25_000, 110_000)}
    if arguments.photos is not None:
        kinds["photos"] = partial(copy_photos, photos=arguments.photos, total=total)
    for name, make in kinds.items():
        with tempfile.TemporaryDirectory() as directory:
            paths = make(Path(directory) / "files")
            table.add_row(*compare(Path(directory), name, paths, arguments))
    Console().print(table)


if __name__ == "__main__":
    main()
