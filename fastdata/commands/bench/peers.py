"""Others that do the same work on the same photos, each as its own documentation has it, imported where it runs."""

import io
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

from fastdata.commands.bench.sampled import Sampled
from fastdata.commands.bench.ways import BATCH_SIZE, SIDE, STEPS, long_epochs
from fastdata.cpus import available_cpus
from fastdata.datasets.collate import collate
from fastdata.datasets.store import TarImageMapDataset
from fastdata.epoch.sampler import EpochSampler
from fastdata.loading.dali.options import check_installed
from fastdata.sample import Batch
from fastdata.transforms.draw import draw
from fastdata.transforms.transform import as_transform


def check_peers(names: Iterable[str]) -> None:
    """ValueError for one that is not known here, ImportError, with what to install, for one that is not there."""
    for name in names:
        if name not in PEERS:
            known = f"{', '.join(PEERS)}; others are in benchmarks/throughput.py"
            raise ValueError(f"there is no {name!r} here to measure against: {known}")
    if "webdataset" in names:
        try:
            import webdataset  # noqa: F401
        except ImportError as error:
            raise ImportError("--against webdataset needs it: pip install webdataset") from error
    if "dali" in names:
        check_installed()


def _torch(sampled: Sampled) -> Iterable[Batch]:
    """torch's DataLoader of our dataset."""
    dataset = TarImageMapDataset(sampled.shards, STEPS, target=None)
    sampler = EpochSampler(dataset, BATCH_SIZE, order=long_epochs(dataset))
    return DataLoader(dataset, BATCH_SIZE, sampler=sampler, collate_fn=collate, **_workers())


def _webdataset(sampled: Sampled) -> Iterable[Batch]:
    """webdataset in torch's DataLoader, decoding by Pillow, which always antialiases."""
    import webdataset

    shards = list(map(str, sampled.shards))
    samples = webdataset.WebDataset(shards * available_cpus(), shardshuffle=len(shards), empty_check=False)
    batches = samples.shuffle(500).map(_by_pillow).batched(BATCH_SIZE, collation_fn=_batch)
    return DataLoader(batches, batch_size=None, **_workers())


def _by_pillow(sample: Mapping[str, Any]) -> torch.Tensor:
    """A random crop and flip, drawn as fastdata draws them."""
    with Image.open(io.BytesIO(sample["jpg"])) as image:
        view = draw(as_transform(STEPS), image.size, random.getrandbits(64))
        cropped = image.convert("RGB").resize(view.size, Image.Resampling.BILINEAR, box=view.box)
    if view.flip:
        cropped = cropped.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return torch.from_numpy(np.array(cropped)).permute(2, 0, 1)


def _batch(images: list[torch.Tensor]) -> Batch:
    return Batch(torch.stack(images), None, [""] * len(images))


def _dali(sampled: Sampled) -> Iterator[Batch]:
    """DALI's reader, operators and random numbers, on the CPU."""
    from nvidia.dali import Pipeline, fn, types

    pipeline = Pipeline(batch_size=BATCH_SIZE, num_threads=available_cpus(), device_id=None, seed=0)
    with pipeline:
        encoded, _ = fn.readers.file(files=sampled.files(), random_shuffle=True)
        images = fn.decoders.image_random_crop(
            encoded, device="cpu", random_area=(0.08, 1.0), random_aspect_ratio=(3 / 4, 4 / 3)
        )
        images = fn.resize(images, size=(SIDE, SIDE), interp_type=types.INTERP_LINEAR, antialias=True)
        pipeline.set_outputs(fn.flip(images, horizontal=fn.random.coin_flip()))
    pipeline.build()
    while True:
        (images,) = pipeline.run()
        yield _batch(list(torch.from_numpy(images.as_array()).permute(0, 3, 1, 2)))


def _workers() -> dict[str, Any]:
    return {"num_workers": available_cpus(), "persistent_workers": True}


PEERS: dict[str, Callable[[Sampled], Iterable[Batch]]] = {"torch": _torch, "webdataset": _webdataset, "dali": _dali}
