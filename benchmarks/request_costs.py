"""Requests of an epoch from object storage, by shuffle, and what they cost: python benchmarks/request_costs.py

Counted at an HTTP server on loopback, for 4,000 samples of 28 kB in 8 shards, in batches of 64 by a Loader that reads
ahead, each time with an empty cache that keeps all. The cost is that of ImageNet's 1,281,167 samples, where an epoch
takes as many requests a sample. The server is that of the tests (PYTHONPATH=tests/lib).
"""

import argparse
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

import fastdata as fd
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sources.folder import scan_classes
from support.http_server import Files, Server, serving_files

DOLLARS = 0.0004 / 1000  # of a GET request: S3 Standard, us-east-1, as assumed here; look up today's price
SAMPLES, SHARDS, SIZE, BATCH = 4000, 8, 28_000, 64
IMAGENET = 1_281_167
BLOCKS = (5, 10, 37)  # 37 of these samples have 1 MiB, which is the default


def shuffles() -> dict[str, Any]:
    """By name; of windows fewer streams and smaller ones than the default, as so few samples allow."""
    of_blocks = {f"Window(block_size={block})": fd.Window(block, 8, 200, 256) for block in BLOCKS}
    return {"True": True, **of_blocks, "False: in the shards' order": False}


def serve(server: Server, folder: Path) -> None:
    """Shards of images of one small size, each with bytes behind its end."""
    assert isinstance(server.answer, Files)
    file = io.BytesIO()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(file, "JPEG")
    (folder / "photos" / "one").mkdir(parents=True)
    for number in range(SAMPLES):
        (folder / "photos" / "one" / f"{number:04}.jpg").write_bytes(file.getvalue().ljust(SIZE, b"\0"))
    pack(scan_classes(folder / "photos"), folder / "shards", division=ShardCount(SHARDS), jobs=1)
    for path in (folder / "shards").iterdir():
        server.put(path.name, path.read_bytes())


def counted(server: Server, shuffle: Any) -> tuple[int, int]:
    """Requests for the samples of an epoch, and their bytes."""
    server.requests.clear()
    with tempfile.TemporaryDirectory() as cache:
        dataset = fd.TarImageDataset(server.url("train.json"), fd.RandomResizedCrop(8), cache=fd.Cache(cache))
        with fd.Loader(dataset, BATCH, num_threads=2, shuffle=shuffle) as loader:
            assert sum(len(batch.keys) for batch in loader) == SAMPLES
    ranges = [request.range for request in server.requests if request.range]
    return len(ranges), sum(end - start for start, end in ranges)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    table = Table(
        "shuffle", "requests", "samples a request", "MB", "ImageNet: requests", f"at ${DOLLARS * 1e6:.2f} a million"
    )
    with serving_files() as server, tempfile.TemporaryDirectory() as folder:
        serve(server, Path(folder))
        for name, shuffle in shuffles().items():
            requests, size = counted(server, shuffle)
            scaled = requests / SAMPLES * IMAGENET
            cost = f"${scaled * DOLLARS:.3f}"
            row = (f"{requests:,}", f"{SAMPLES / requests:.1f}", f"{size / 1e6:.0f}", f"{scaled:,.0f}", cost)
            table.add_row(name, *row)
    Console().print(table)


if __name__ == "__main__":
    main()
