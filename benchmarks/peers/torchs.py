"""torch's own libraries: torchvision, torchcodec, and torchdata's threads in place of a DataLoader's processes."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

import fastdata as fd
import real_torchvision
from ours import torchs_data_loader
from peers.pixels import Decode, by_torchcodec, usual
from work import SIZE, Batches, Work


class Files(Dataset[tuple[Tensor, int]]):
    """What most write who leave ImageFolder: a list of files, and a function that decodes one."""

    def __init__(self, folder: str, decode: Decode) -> None:
        self.samples = fd.ImageDirectoryDataset(folder).samples
        self.decode = decode

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, target = self.samples[index]
        return self.decode(Path(path).read_bytes()), target


def torchvision(work: Work) -> Batches:
    """Its Python alone suffices: see real_torchvision.py."""
    package = real_torchvision.torchvision()
    v2 = package.transforms.v2
    steps = [v2.RandomResizedCrop(SIZE, antialias=True), v2.RandomHorizontalFlip(), v2.PILToTensor()]
    dataset = package.datasets.ImageFolder(work.files.folder, transform=v2.Compose(steps))
    return torchs_data_loader(dataset, work, shuffle=True, multiprocessing_context=real_torchvision.FORKED)


def torchcodec(work: Work) -> Batches:
    files = Files(work.files.folder, partial(by_torchcodec, antialias=work.antialias))
    return torchs_data_loader(files, work, shuffle=True)


def threads(work: Work) -> Batches:
    """torchdata's nodes, whose workers are threads of this process."""
    from torchdata.nodes import Batcher, Loader, ParallelMapper, SamplerWrapper

    files = Files(work.files.folder, usual(work))
    order: Any = SamplerWrapper(torch.utils.data.RandomSampler(files))
    samples = ParallelMapper(order, files.__getitem__, num_workers=work.threads, method="thread")
    loader = Loader(Batcher(samples, work.batch_size), restart_on_stop_iteration=True)
    while True:
        yield from (work.normalize(images_of(batch)) for batch in loader)


def images_of(samples: Sequence[tuple[Tensor, int]]) -> Tensor:
    return torch.stack([image for image, _ in samples])
