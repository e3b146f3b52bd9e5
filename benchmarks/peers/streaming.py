"""MosaicML's Streaming: from its own shards, written for the occasion with the JPEGs as they are."""

import tempfile
from pathlib import Path
from typing import Any

from torch import Tensor

import fastdata as fd
import real_torchvision
from ours import torchs_data_loader
from peers.pixels import usual
from work import Batches, Work


def streaming(work: Work) -> Batches:
    real_torchvision.torchvision()  # which it imports
    from streaming import MDSWriter, StreamingDataset

    decode = usual(work)

    class Photos(StreamingDataset):
        def __getitem__(self, index: Any) -> tuple[Tensor, int]:
            sample = super().__getitem__(index)
            return decode(sample["image"]), sample["target"]

    with tempfile.TemporaryDirectory() as directory:
        with MDSWriter(out=directory, columns={"image": "bytes", "target": "int"}) as writer:
            for path, target in fd.ImageDirectoryDataset(work.files.folder).samples:
                writer.write({"image": Path(path).read_bytes(), "target": target})
        dataset = Photos(local=directory, shuffle=True, batch_size=work.batch_size)
        yield from torchs_data_loader(dataset, work, multiprocessing_context=real_torchvision.FORKED)
