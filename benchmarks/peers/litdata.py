"""LitData: from its own chunks, written for the occasion with the JPEGs as they are."""

import tempfile
from functools import partial
from pathlib import Path

from torch import Tensor

import fastdata as fd
from peers.pixels import Decode, usual
from work import Batches, Work


def as_stored(sample: tuple[str, int]) -> tuple[bytes, int]:
    path, target = sample
    return Path(path).read_bytes(), target


def decoded(decode: Decode, sample: tuple[bytes, int]) -> tuple[Tensor, int]:
    return decode(sample[0]), sample[1]


def litdata(work: Work) -> Batches:
    import litdata

    normalize = work.normalize
    samples = list(fd.ImageDirectoryDataset(work.files.folder).samples)
    with tempfile.TemporaryDirectory() as directory:
        litdata.optimize(as_stored, samples, directory, chunk_bytes="64MB", num_workers=1, verbose=False)
        dataset = litdata.StreamingDataset(directory, shuffle=True, transform=partial(decoded, usual(work)))
        batches = litdata.StreamingDataLoader(
            dataset, batch_size=work.batch_size, num_workers=work.workers, prefetch_factor=4, persistent_workers=True
        )
        while True:
            yield from (normalize(images) for images, _ in batches)
