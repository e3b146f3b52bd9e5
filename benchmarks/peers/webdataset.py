from functools import partial
from typing import Any

from torch import Tensor

import fastdata as fd
from ours import torchs_data_loader
from peers.pixels import Decode, usual
from work import Batches, Work


def with_class(decode: Decode, sample: dict[str, Any]) -> tuple[Tensor, int]:
    return decode(sample["jpg"]), int(sample["cls"])


def webdataset(work: Work) -> Batches:
    import webdataset

    shards = work.files.shards
    samples = webdataset.WebDataset(shards, shardshuffle=len(shards), empty_check=False)
    batches = samples.shuffle(500).map(partial(with_class, usual(work)))
    return torchs_data_loader(batches.batched(work.batch_size, collation_fn=fd.collate), work, batch_size=None)
