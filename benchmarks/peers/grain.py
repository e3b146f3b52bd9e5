"""Grain: a list of files, shuffled and decoded in its worker processes."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import torch
from torch import Tensor

import fastdata as fd
from peers.pixels import Decode, usual
from work import Batches, Work


class Decoded:
    """What a worker does with a file. A function within a function can't be sent to it."""

    def __init__(self, decode: Decode) -> None:
        self.decode = decode

    def __call__(self, path: str) -> Tensor:
        return self.decode(Path(path).read_bytes())


def stacked(images: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(images))


def grain(work: Work) -> Batches:
    import grain

    paths = [path for path, _ in fd.ImageDirectoryDataset(work.files.folder).samples]
    images = grain.MapDataset.source(paths).shuffle(seed=0).repeat().map(Decoded(usual(work)))
    batches = images.batch(work.batch_size, batch_fn=stacked).to_iter_dataset(
        grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)
    )
    options = grain.MultiprocessingOptions(num_workers=work.workers, per_worker_buffer_size=4)
    normalize = work.normalize
    with closing(iter(batches.mp_prefetch(options))) as running:  # else its workers outlive the contest
        yield from (normalize(batch) for batch in running)
