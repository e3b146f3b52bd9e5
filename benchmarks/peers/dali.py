"""DALI's reader, operators and random numbers, from a folder or from shards; on a GPU its mixed decoder."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fastdata.sources.tars.webdataset import dali_index
from work import MEAN, SIZE, STD, Batches, Work

Reader = Callable[..., Any]
"""An operator of DALI that gives encoded images and classes."""


def dali_folder(work: Work) -> Batches:
    from nvidia.dali import fn

    return batches_of(work, partial(fn.readers.file, file_root=work.files.folder))


def dali_shards(work: Work) -> Batches:
    """By its reader of webdataset's layout, with an index for each shard, as its documentation advises."""
    from nvidia.dali import fn

    with tempfile.TemporaryDirectory() as directory:
        indexes = []
        for number, shard in enumerate(work.files.shards):
            index = Path(directory, f"{number}.idx")
            index.write_text(dali_index(shard))
            indexes.append(str(index))
        reader = partial(fn.readers.webdataset, paths=work.files.shards, index_paths=indexes, ext=["jpg", "cls"])
        yield from batches_of(work, reader)


def batches_of(work: Work, reader: Reader) -> Batches:
    """Without a copy, by DLPack."""
    from torch.utils.dlpack import from_dlpack

    pipeline = pipeline_of(work, reader)
    pipeline.schedule_run()
    while True:
        batch, _ = pipeline.share_outputs()
        images = from_dlpack(batch.as_tensor())
        yield images if work.floats else images.permute(0, 3, 1, 2)
        pipeline.release_outputs()
        pipeline.schedule_run()


def pipeline_of(work: Work, reader: Reader) -> Any:
    from nvidia.dali import Pipeline, fn, types

    pipeline = Pipeline(batch_size=work.batch_size, num_threads=work.threads, device_id=work.gpu, seed=0)
    with pipeline:
        encoded, classes = reader(random_shuffle=True, name="reader")
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
