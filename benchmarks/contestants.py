"""The contestants: each gives batches of the same work on the same files, for ever. One runs here, in a fresh process.

    python benchmarks/contestants.py '{"contestant": "Loader, folder", …}'

RandomResizedCrop(224) and a flip of shuffled photos, batches of `batch_size`, as uint8, or as float32 normalized by
ImageNet's mean and standard deviation. Prints how many images a second it gave, and in what shape and type.
"""

import importlib.util
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

import fastdata as fd

SIZE = 224
STEPS = (fd.RandomResizedCrop(SIZE), fd.RandomHorizontalFlip())
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Task(NamedTuple):
    """What a contestant gets; `threads` is for those with threads, `workers` for those in torch's DataLoader."""

    contestant: str
    folder: str
    shards: Sequence[str]
    crop_ready: Sequence[str]
    antialias: bool
    floats: bool
    threads: int
    workers: int
    batch_size: int
    warmup: int
    images: int
    reducing_gap: float | None = 2.0


class Contestant(NamedTuple):
    """`start` gives the batches. It needs the module `needs`; `contests` are "antialiased" and "plain" resizing."""

    start: Callable[[Task], Iterator[Tensor]]
    needs: str = "fastdata"
    contests: tuple[str, ...] = ("plain", "antialiased")
    in_workers: bool = False

    @property
    def installed(self) -> bool:
        try:
            return importlib.util.find_spec(self.needs) is not None
        except ModuleNotFoundError:  # not even the package that the module would be in
            return False


def transform(task: Task) -> fd.Transform:
    return fd.Transform(STEPS, antialias=task.antialias, reducing_gap=task.reducing_gap)


def loader(dataset: Any, task: Task) -> Iterator[Tensor]:
    normalize = fd.Normalize(MEAN, STD) if task.floats else None
    shuffle = True if isinstance(dataset, fd.ImageDirectoryDataset) else None
    batches = fd.Loader(dataset, task.batch_size, num_threads=task.threads, shuffle=shuffle, normalize=normalize)
    for epoch in count():
        batches.set_epoch(epoch)
        yield from (images for images, _ in batches)


def loader_folder(task: Task) -> Iterator[Tensor]:
    return loader(fd.ImageDirectoryDataset(task.folder, transform=transform(task)), task)


def loader_shards(task: Task) -> Iterator[Tensor]:
    return loader(fd.TarImageDataset(task.shards, transform(task), shuffle=True), task)


def loader_crop_ready(task: Task) -> Iterator[Tensor]:
    return loader(fd.TarImageDataset(task.crop_ready, transform(task), shuffle=True), task)


def torchs_data_loader(
    dataset: Any, task: Task, set_epoch: Callable[[int], object], **options: Any
) -> Iterator[Tensor]:
    """Batches of uint8 from worker processes, normalized here; the workers live on from epoch to epoch."""
    normalize = fd.Normalize(MEAN, STD) if task.floats else torch.nn.Identity()
    options = {"batch_size": task.batch_size, "num_workers": task.workers, "prefetch_factor": 4, **options}
    batches = DataLoader(dataset, persistent_workers=True, **options)
    for epoch in count():
        set_epoch(epoch)
        yield from (normalize(images) for images, _ in batches)


def torch_folder(task: Task) -> Iterator[Tensor]:
    dataset = fd.ImageDirectoryDataset(task.folder, transform=transform(task))
    sampler = fd.EpochSampler(dataset, batch_size=task.batch_size)
    return torchs_data_loader(dataset, task, sampler.set_epoch, sampler=sampler, collate_fn=fd.collate)


def torch_shards(task: Task) -> Iterator[Tensor]:
    dataset = fd.TarImageDataset(task.shards, transform(task), shuffle=True, batch_size=task.batch_size)
    return torchs_data_loader(dataset, task, dataset.set_epoch, batch_size=None)


def drawn(size: tuple[int, int]) -> fd.View:
    """A random crop and flip for a peer that has none of its own."""
    return fd.draw(STEPS, size, random.Random(random.getrandbits(64)))


def by_pillow(data: bytes) -> Tensor:
    import io

    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        view = drawn(image.size)
        cropped = image.convert("RGB").resize(view.size, Image.Resampling.BILINEAR, box=view.box)
    if view.flip:
        cropped = cropped.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return torch.from_numpy(np.array(cropped)).permute(2, 0, 1)


def by_opencv(data: bytes) -> Tensor:
    import cv2

    cv2.setNumThreads(0)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    view = drawn((pixels.shape[1], pixels.shape[0]))
    cropped = pixels[view.box.top : view.box.bottom, view.box.left : view.box.right]
    resized = cv2.resize(cropped, view.size, interpolation=cv2.INTER_LINEAR)
    return torch.from_numpy(cv2.flip(resized, 1) if view.flip else resized).permute(2, 0, 1)


def with_class(decode: Callable[[bytes], Tensor], sample: dict[str, Any]) -> tuple[Tensor, int]:
    return decode(sample["jpg"]), int(sample["cls"])


def webdataset(task: Task) -> Iterator[Tensor]:
    import webdataset

    decode = by_pillow if task.antialias else by_opencv
    samples = webdataset.WebDataset(list(task.shards), shardshuffle=len(task.shards), empty_check=False)
    batches = samples.shuffle(500).map(partial(with_class, decode)).batched(task.batch_size, collation_fn=fd.collate)
    return torchs_data_loader(batches, task, lambda epoch: None, batch_size=None)


def torchvision(task: Task) -> Iterator[Tensor]:
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    steps = [v2.RandomResizedCrop(SIZE, antialias=True), v2.RandomHorizontalFlip(), v2.PILToTensor()]
    dataset = ImageFolder(task.folder, transform=v2.Compose(steps))
    return torchs_data_loader(dataset, task, lambda epoch: None, shuffle=True)


def dali(task: Task) -> Iterator[Tensor]:
    """DALI's CPU operators, in DALI's own layout: HWC, or normalized CHW. Batches without a copy, by DLPack."""
    from nvidia.dali import Pipeline, fn, types
    from torch.utils.dlpack import from_dlpack

    pipeline = Pipeline(batch_size=task.batch_size, num_threads=task.threads, device_id=None, seed=0)
    with pipeline:
        encoded, classes = fn.readers.file(file_root=task.folder, random_shuffle=True, name="reader")
        images = fn.decoders.image_random_crop(encoded, random_area=(0.08, 1.0), random_aspect_ratio=(3 / 4, 4 / 3))
        images = fn.resize(images, size=(SIZE, SIZE), interp_type=types.INTERP_LINEAR, antialias=task.antialias)
        mirror = fn.random.coin_flip()
        if task.floats:
            mean, std = ([255 * value for value in values] for values in (MEAN, STD))
            images = fn.crop_mirror_normalize(images, mirror=mirror, mean=mean, std=std, output_layout="CHW")
        else:
            images = fn.flip(images, horizontal=mirror)
        pipeline.set_outputs(images, classes)
    pipeline.schedule_run()
    while True:
        batch, _ = pipeline.share_outputs()
        yield from_dlpack(batch.as_tensor())
        pipeline.release_outputs()
        pipeline.schedule_run()


def spdl(task: Task) -> Iterator[Tensor]:
    """SPDL's threads and FFmpeg's decoder and scaler, whose plain bilinear is called fast_bilinear."""
    import spdl.io
    from spdl.pipeline import PipelineBuilder

    paths = [path for path, _ in fd.ImageDirectoryDataset(task.folder).samples]
    scale = f"scale={SIZE}:{SIZE}:flags={'bilinear' if task.antialias else 'fast_bilinear'}"
    normalize = fd.Normalize(MEAN, STD) if task.floats else torch.nn.Identity()

    def shuffled() -> Iterator[str]:
        while True:
            yield from random.sample(paths, len(paths))

    def decode(path: str) -> Any:
        packets = spdl.io.demux_image(path)
        view = drawn((packets.width, packets.height))
        crop = f"crop={view.box.width}:{view.box.height}:{view.box.left}:{view.box.top}"
        steps = [crop, scale, *(["hflip"] if view.flip else []), "format=pix_fmts=rgb24"]
        return spdl.io.decode_packets(packets, filter_desc=",".join(steps))

    def batch(frames: Any) -> Tensor:
        return spdl.io.to_torch(spdl.io.convert_frames(frames)).permute(0, 3, 1, 2)

    builder = PipelineBuilder().add_source(shuffled()).pipe(decode, concurrency=task.threads)
    pipeline = builder.aggregate(task.batch_size).pipe(batch).add_sink(3).build(num_threads=task.threads)
    with pipeline.auto_stop():
        yield from (normalize(images) for images in pipeline)


def ffcv(task: Task) -> Iterator[Tensor]:
    """From its own format, written for the occasion: JPEG at quality 95. It resizes by area, so without aliasing."""
    import tempfile

    from ffcv.fields import IntField, RGBImageField
    from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import RandomHorizontalFlip, ToTensor, ToTorchImage
    from ffcv.writer import DatasetWriter
    from PIL import Image

    class Photos:
        samples = fd.ImageDirectoryDataset(task.folder).samples

        def __len__(self) -> int:
            return len(self.samples)

        def __getitem__(self, index: int) -> tuple[Any, int]:
            path, target = self.samples[index]
            return Image.open(path).convert("RGB"), target

    fields = {"image": RGBImageField(write_mode="jpg", jpeg_quality=95), "label": IntField()}
    steps = [RandomResizedCropRGBImageDecoder((SIZE, SIZE)), RandomHorizontalFlip(), ToTensor(), ToTorchImage()]
    normalize = fd.Normalize(MEAN, STD) if task.floats else torch.nn.Identity()
    with tempfile.TemporaryDirectory() as directory:
        file = str(Path(directory) / "photos.beton")
        DatasetWriter(file, fields, num_workers=task.threads).from_indexed_dataset(Photos())
        pipelines = {"image": steps, "label": [IntDecoder(), ToTensor()]}
        batches = Loader(file, task.batch_size, task.threads, order=OrderOption.RANDOM, pipelines=pipelines)
        while True:
            yield from (normalize(images) for images, _ in batches)


CROP_READY = "Loader, crop-ready shards"

# The first one is what the others are compared with.
CONTESTANTS = {
    "Loader, shards": Contestant(loader_shards),
    CROP_READY: Contestant(loader_crop_ready),
    "Loader, folder": Contestant(loader_folder),
    "torch's DataLoader, shards": Contestant(torch_shards, in_workers=True),
    "torch's DataLoader, folder": Contestant(torch_folder, in_workers=True),
    "DALI on the CPU": Contestant(dali, "nvidia.dali"),
    "webdataset + Pillow": Contestant(webdataset, "webdataset", ("antialiased",), in_workers=True),
    "webdataset + OpenCV": Contestant(webdataset, "webdataset", ("plain",), in_workers=True),
    "torchvision's ImageFolder": Contestant(torchvision, "torchvision", ("antialiased",), in_workers=True),
    "SPDL": Contestant(spdl, "spdl.io"),
    "FFCV": Contestant(ffcv, "ffcv", ("antialiased",)),
}


class Measured(NamedTuple):
    images_per_second: float
    shape: list[int]
    dtype: str


def measure(task: Task) -> Measured:
    """Over `images` images, after `warmup` images that are not counted."""
    batches = CONTESTANTS[task.contestant].start(task)
    warm = 0
    while warm < task.warmup:
        warm += len(next(batches))
    begun, images = time.perf_counter(), 0
    while images < task.images:
        batch = next(batches)
        images += len(batch)
    seconds = time.perf_counter() - begun
    return Measured(images / seconds, list(batch.shape[1:]), str(batch.dtype))


if __name__ == "__main__":
    print(json.dumps(measure(Task(**json.loads(sys.argv[1])))._asdict()))
