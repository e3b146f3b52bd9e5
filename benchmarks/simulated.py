"""A dataset of very many shards, simulated for scale.py.

Its shards are links to one shard. Of its index the chunks are written that a run needs, and the rest is a hole; the
hashes are those of a whole one.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import simplejpeg
from xxhash import xxh3_64_intdigest

from fastdata.sources import manifest
from fastdata.sources.manifest import Made, Manifest, ShardEntry
from fastdata.sources.tars.index_file import crc_of, load
from fastdata.sources.tars.index_layout import CHUNK, Layout
from fastdata.sources.tars.rows import Rows, extensions
from fastdata.sources.tars.writer import ShardWriter

Ints = npt.NDArray[np.int64]


def make(folder: Path, shards: int, samples: int) -> Path:
    """The dataset, with an index that is a hole; gives its json's path."""
    real = folder / "real.tar"
    image = simplejpeg.encode_jpeg(np.zeros((16, 16, 3), np.uint8))
    with ShardWriter(real) as writer:
        for number in range(samples):
            writer.write(f"{number:06}", {"jpg": image, "cls": b"%d" % (number % 1000)})
    with real.open("rb") as file:
        rows = load(file.fileno(), str(real))
    assert rows is not None
    entries = []
    for number in range(shards):
        name = f"train-{number:06}.tar"
        (folder / name).symlink_to(real.name)
        entries.append(ShardEntry(name, samples, writer.size, writer.hash, rows=crc_of(rows)))
    layout, hashes = chunks_of(rows, shards)
    with (folder / "train.index.npy").open("wb") as index:
        index.write(layout.head)
        index.seek(layout.begin + layout.size)
        index.write(layout.tail(hashes))
    made = Made("0", 0, False, "1", "keep", 0, 0, 0, 0)
    return manifest.store(Manifest("train", tuple(entries), (), made, layout.entry(hashes)), folder)


def chunk_of(rows: Rows, layout: Layout, number: int) -> bytes:
    """Bytes of a chunk of an index that has these rows again and again."""
    again = np.tile(rows, 2 + CHUNK // rows.nbytes).tobytes()
    first = number * CHUNK % rows.nbytes
    return again[first : first + layout.chunk(number)[1]]


def chunks_of(rows: Rows, shards: int) -> tuple[Layout, npt.NDArray[np.uint64]]:
    layout = Layout(extensions(rows), len(rows) * shards)
    again = np.tile(rows, 2 + CHUNK // rows.nbytes).tobytes()
    starts = (number * CHUNK % rows.nbytes for number in range(layout.chunks))
    sizes = (layout.chunk(number)[1] for number in range(layout.chunks))
    hashes = (xxh3_64_intdigest(again[start : start + size]) for start, size in zip(starts, sizes, strict=True))
    return layout, np.fromiter(hashes, np.uint64, layout.chunks)


def fill(json: Path, numbers: Ints) -> None:
    """Writes the chunks of the index that these samples need."""
    with (json.parent / "real.tar").open("rb") as file:
        rows = load(file.fileno(), str(json.parent / "real.tar"))
    assert rows is not None
    found = manifest.load(json)
    layout = Layout(extensions(rows), found.nsamples)
    places = numbers * layout.dtype.itemsize
    with (json.parent / "train.index.npy").open("r+b") as index:
        for number in np.unique(np.concatenate([places, places + layout.dtype.itemsize - 1]) // CHUNK).tolist():
            index.seek(layout.chunk(number)[0])
            index.write(chunk_of(rows, layout, number))
