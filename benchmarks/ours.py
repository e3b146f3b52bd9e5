"""The contestants of fastdata: the Loader and torch's DataLoader, from a folder, shards and crop-ready shards."""

from dataclasses import replace
from typing import Any, Literal

from torch.utils.data import DataLoader

import fastdata as fd
from work import MEAN, STD, Batches, Work

Decoder = Literal["cpu", "dali"]


def loader(dataset: Any, work: Work, decoder: Decoder = "cpu") -> Batches:
    batches = fd.Loader(
        dataset,
        work.batch_size,
        num_threads=work.threads,
        shuffle=True,
        device=None if work.gpu is None else f"cuda:{work.gpu}",
        normalize=fd.Normalize(MEAN, STD) if work.floats else None,
        decoder=decoder,
    )
    while True:
        yield from (images for images, _ in batches)


def loader_folder(work: Work, decoder: Decoder = "cpu") -> Batches:
    return loader(fd.ImageDirectoryDataset(work.files.folder, transform=work.transform), work, decoder)


def loader_shards(work: Work, decoder: Decoder = "cpu") -> Batches:
    return loader(fd.TarImageDataset(work.files.shards, work.transform), work, decoder)


def loader_crop_ready(work: Work, decoder: Decoder = "cpu") -> Batches:
    return loader_shards(replace(work, files=work.files._replace(shards=work.files.crop_ready)), decoder)


def loader_parquet(work: Work, compressed: bool = False) -> Batches:
    files = work.files.snappy if compressed else work.files.parquet
    return loader(fd.ParquetImageDataset(files, work.transform), work)


def loader_full_decode(work: Work) -> Batches:
    """Without JPEG's scaled decoding of what is far larger than it has to be."""
    transform = fd.Transform(work.transform.steps, antialias=work.antialias, reducing_gap=None)
    return loader(fd.TarImageDataset(work.files.shards, transform), work)


def torchs_data_loader(dataset: Any, work: Work, **options: Any) -> Batches:
    """Batches of uint8 from worker processes, normalized here; the workers live on from epoch to epoch."""
    options = {"batch_size": work.batch_size, "num_workers": work.workers, "prefetch_factor": 4, **options}
    batches = DataLoader(dataset, persistent_workers=True, **options)
    normalize = work.normalize
    while True:
        yield from (normalize(images) for images, _ in batches)


def torch_folder(work: Work) -> Batches:
    dataset = fd.ImageDirectoryDataset(work.files.folder, transform=work.transform)
    sampler = fd.EpochSampler(dataset, batch_size=work.batch_size)
    return torchs_data_loader(dataset, work, sampler=sampler, collate_fn=fd.collate)


def torch_shards(work: Work) -> Batches:
    dataset = fd.TarImageDataset(work.files.shards, work.transform, shuffle=True, batch_size=work.batch_size)
    return torchs_data_loader(dataset, work, batch_size=None)
