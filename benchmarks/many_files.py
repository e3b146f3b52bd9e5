"""Packing very many tiny files: how long it takes, and the memory of its processes: python benchmarks/many_files.py

The files are links to a few of 500 bytes, a thousand in each folder. Memory is that of the largest process at any time,
and the most of all processes together, looked at ten times a second, with the pages that they share divided among them.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_CONTENTS, _IN_FOLDER, _SIZE = 50, 1000, 500
MEGABYTE = 1_000_000


def make_files(root: Path, number: int) -> None:
    """Links, since making a million of files takes longer than packing them; a file has at most 65,000."""
    contents = []
    for each in range(max(_CONTENTS, number // 50_000)):
        contents.append(root.parent / f"content{each}")
        contents[-1].write_bytes(os.urandom(_SIZE))
    for first in range(0, number, _IN_FOLDER):
        folder = root / f"n{first // _IN_FOLDER:08}"
        folder.mkdir(parents=True)
        for each in range(first, min(first + _IN_FOLDER, number)):
            os.link(contents[each % len(contents)], folder / f"{folder.name}_{each}.jpg")


def family(pid: int) -> Iterator[int]:
    """A process and all that it has begun, as far as they still run."""
    yield pid
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from family(int(child))


def memory(pid: int) -> int:
    """A process's bytes in memory, of those shared its part; 0 where it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--shards", type=int, default=8)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        make_files(Path(work, "files"), arguments.files)
        command = [sys.executable, "-m", "fastdata", "shard", f"{work}/files", f"{work}/out", "--check", "none"]
        command += ["--jobs", str(arguments.jobs), "--shards", str(arguments.shards)]
        begun = time.perf_counter()
        largest = together = 0
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as packing:
            while packing.poll() is None:
                each = [memory(pid) for pid in family(packing.pid)]
                largest, together = max(largest, *each), max(together, sum(each))
                time.sleep(0.1)
        if packing.returncode:
            raise SystemExit(packing.returncode)
        took = time.perf_counter() - begun
    print(f"{arguments.files:,} files of {_SIZE} bytes, {arguments.shards} shards, {arguments.jobs} jobs: {took:.1f} s")
    print(f"memory: the largest process {largest / MEGABYTE:.0f} MB, all together {together / MEGABYTE:.0f} MB")


if __name__ == "__main__":
    main()
