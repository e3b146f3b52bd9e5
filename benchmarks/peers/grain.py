"""Grain: a list of files, shuffled and decoded in its worker processes."""

from contextlib import closing
from pathlib import Path

import numpy as np
import torch

import fastdata as fd
from fastdata.sample import Pixels
from peers.pixels import Decode, usual
from work import Batches, Work


class Decoded:
    """What a worker does with a file. A function within a function can't be sent to it."""

    def __init__(self, decode: Decode) -> None:
        self.decode = decode

    def __call__(self, path: str) -> Pixels:
        return self.decode(Path(path).read_bytes()).numpy()


def grain(work: Work) -> Batches:
    import grain

    paths = [path for path, _ in fd.ImageDirectoryDataset(work.files.folder).samples]
    images = grain.MapDataset.source(paths).shuffle(seed=0).repeat().map(Decoded(usual(work)))
    batches = images.batch(work.batch_size, batch_fn=np.stack).to_iter_dataset(
        grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)
    )
    options = grain.MultiprocessingOptions(num_workers=work.workers, per_worker_buffer_size=4)
    normalize = work.normalize
    with closing(iter(batches.mp_prefetch(options))) as running:  # else its workers outlive the contest
        yield from (normalize(torch.from_numpy(batch)) for batch in running)
