"""Photos in a real object store, packed there by the command line, behind a proxy that counts."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from support.http_server import Request
from support.pictures import jpeg
from support.processes import PATIENCE, PYTHONPATH
from support.servers import S3

COUNT = 203
_STEP = 512  # bytes: what a tar consists of


class Packed(NamedTuple):
    """A dataset's json in a bucket and the same here, and the store without a proxy."""

    local: Path
    url: str
    store: S3


def write_photos(folder: Path) -> Path:
    """Three classes of photos of some sizes."""
    for number in range(COUNT):
        path = folder / f"class{number % 3}" / f"{number:03}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(jpeg(120 + number % 50, 90 + number % 40, number))
    return folder


def pack(folder: Path, where: str, store: S3) -> None:
    """Five shards, by `fastdata shard`."""
    command = [sys.executable, "-P", "-m", "fastdata", "shard", str(folder), where, "--shards", "5"]
    environment = {**os.environ, **store.environment, "PYTHONPATH": PYTHONPATH}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert (run.returncode, run.stderr) == (0, ""), run.stdout + run.stderr


def times_asked_for(requests: Sequence[Request]) -> Counter[tuple[str, int]]:
    """How often each 512 bytes of each shard were asked for."""
    asked: Counter[tuple[str, int]] = Counter()
    for request in requests:
        if request.method == "GET" and request.path.endswith(".tar"):
            assert request.range is not None, "a whole shard was asked for"
            asked.update((request.path, at) for at in range(*request.range, _STEP))
    return asked
