"""The contestants of others, each as its own documentation has it. Each is imported where it runs."""

import io
import random
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

import fastdata as fd
from ours import torchs_data_loader
from work import MEAN, SIZE, STD, STEPS, Batches, Work


def drawn(size: tuple[int, int]) -> fd.View:
    """A random crop and flip for a peer that has none of its own."""
    return fd.draw(STEPS, size, random.getrandbits(64))


def by_pillow(data: bytes) -> Tensor:
    with Image.open(io.BytesIO(data)) as image:
        view = drawn(image.size)
        cropped = image.convert("RGB").resize(view.size, Image.Resampling.BILINEAR, box=view.box)
    if view.flip:
        cropped = cropped.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return torch.from_numpy(np.array(cropped)).permute(2, 0, 1)


def by_opencv(data: bytes) -> Tensor:
    cv2.setNumThreads(0)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert pixels is not None, "OpenCV refuses a photo"
    view = drawn((pixels.shape[1], pixels.shape[0]))
    cropped = pixels[view.box.top : view.box.bottom, view.box.left : view.box.right]
    resized = cv2.resize(cropped, view.size, interpolation=cv2.INTER_LINEAR)
    return torch.from_numpy(cv2.flip(resized, 1) if view.flip else resized).permute(2, 0, 1)


def with_class(decode: Callable[[bytes], Tensor], sample: dict[str, Any]) -> tuple[Tensor, int]:
    return decode(sample["jpg"]), int(sample["cls"])


def webdataset(work: Work) -> Batches:
    """In torch's DataLoader, decoding by Pillow, which always antialiases, or by OpenCV, which never does."""
    import webdataset

    decode, shards = by_pillow if work.antialias else by_opencv, work.files.shards
    samples = webdataset.WebDataset(shards, shardshuffle=len(shards), empty_check=False)
    batches = samples.shuffle(500).map(partial(with_class, decode)).batched(work.batch_size, collation_fn=fd.collate)
    return torchs_data_loader(batches, work, batch_size=None)


def torchvision(work: Work) -> Batches:
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    steps = [v2.RandomResizedCrop(SIZE, antialias=True), v2.RandomHorizontalFlip(), v2.PILToTensor()]
    dataset = ImageFolder(work.files.folder, transform=v2.Compose(steps))
    return torchs_data_loader(dataset, work, shuffle=True)


def dali(work: Work) -> Batches:
    """DALI's reader, operators and random numbers; on a GPU its mixed decoder. Batches without a copy, by DLPack."""
    from torch.utils.dlpack import from_dlpack

    pipeline = dali_pipeline(work)
    pipeline.schedule_run()
    while True:
        batch, _ = pipeline.share_outputs()
        images = from_dlpack(batch.as_tensor())
        yield images if work.floats else images.permute(0, 3, 1, 2)
        pipeline.release_outputs()
        pipeline.schedule_run()


def dali_pipeline(work: Work) -> Any:
    from nvidia.dali import Pipeline, fn, types

    pipeline = Pipeline(batch_size=work.batch_size, num_threads=work.threads, device_id=work.gpu, seed=0)
    with pipeline:
        encoded, classes = fn.readers.file(file_root=work.files.folder, random_shuffle=True, name="reader")
        images = fn.decoders.image_random_crop(
            encoded,
            device="cpu" if work.gpu is None else "mixed",
            random_area=(0.08, 1.0),
            random_aspect_ratio=(3 / 4, 4 / 3),
        )
        images = fn.resize(images, size=(SIZE, SIZE), interp_type=types.INTERP_LINEAR, antialias=work.antialias)
        mirror = fn.random.coin_flip()
        if work.floats:
            mean, std = ([255 * value for value in values] for values in (MEAN, STD))
            images = fn.crop_mirror_normalize(images, mirror=mirror, mean=mean, std=std, output_layout="CHW")
        else:
            images = fn.flip(images, horizontal=mirror)
        pipeline.set_outputs(images, classes)
    return pipeline


def spdl(work: Work) -> Batches:
    """SPDL's threads and FFmpeg's decoder and scaler, whose plain bilinear is called fast_bilinear."""
    import spdl.io
    from spdl.pipeline import PipelineBuilder

    paths = [path for path, _ in fd.ImageDirectoryDataset(work.files.folder).samples]
    scale = f"scale={SIZE}:{SIZE}:flags={'bilinear' if work.antialias else 'fast_bilinear'}"
    normalize = work.normalize

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
        images: Tensor = spdl.io.to_torch(spdl.io.convert_frames(frames))
        return images.permute(0, 3, 1, 2)

    builder = PipelineBuilder().add_source(shuffled()).pipe(decode, concurrency=work.threads)
    pipeline = builder.aggregate(work.batch_size).pipe(batch).add_sink(3).build(num_threads=work.threads)
    with pipeline.auto_stop():
        yield from (normalize(images) for images in pipeline)


def ffcv(work: Work) -> Batches:
    """From its own format, written for the occasion: JPEG at quality 95. It resizes by area, so without aliasing."""
    from ffcv.fields import IntField, RGBImageField
    from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import RandomHorizontalFlip, ToTensor, ToTorchImage
    from ffcv.writer import DatasetWriter

    class Photos:
        samples = fd.ImageDirectoryDataset(work.files.folder).samples

        def __len__(self) -> int:
            return len(self.samples)

        def __getitem__(self, index: int) -> tuple[Any, int]:
            path, target = self.samples[index]
            return Image.open(path).convert("RGB"), target

    fields = {"image": RGBImageField(write_mode="jpg", jpeg_quality=95), "label": IntField()}
    steps = [RandomResizedCropRGBImageDecoder((SIZE, SIZE)), RandomHorizontalFlip(), ToTensor(), ToTorchImage()]
    normalize = work.normalize
    with tempfile.TemporaryDirectory() as directory:
        file = str(Path(directory) / "photos.beton")
        DatasetWriter(file, fields, num_workers=work.threads).from_indexed_dataset(Photos())
        pipelines = {"image": steps, "label": [IntDecoder(), ToTensor()]}
        batches = Loader(file, work.batch_size, work.threads, order=OrderOption.RANDOM, pipelines=pipelines)
        while True:
            yield from (normalize(images) for images, _ in batches)
