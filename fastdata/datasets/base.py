"""What every dataset of images has: `Samples` that are read, then drawn, decoded, and pairs as torch has them."""

import functools
import operator
import os
import time
from collections.abc import Iterable, Sequence
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from fastdata import html
from fastdata.datasets.fields import follows, in_view
from fastdata.datasets.image_sizes import read_image_sizes
from fastdata.datasets.mapping import Map, SampleMap
from fastdata.datasets.prepared import Data, DecodedSamples, Looks, Prepared, Task, new_rows
from fastdata.datasets.samples import Samples
from fastdata.epoch.orders import Order
from fastdata.epoch.window import Window
from fastdata.errors import DecodeError, DrawError, SampleError, TargetError
from fastdata.images import kernel
from fastdata.images.colour import recolour
from fastdata.images.decode import decode_into
from fastdata.images.header import Header, read_header
from fastdata.images.reference import Encoded
from fastdata.sample import Pair, Pixels, Sample, Size
from fastdata.sources.regular import MAX_BYTES
from fastdata.transforms.draw import draw, sample_rng, sample_rngs
from fastdata.transforms.sized import sized
from fastdata.transforms.steps import TransformStep
from fastdata.transforms.transform import Transform, as_transform
from fastdata.transforms.view import View
from fastdata.transforms.views import Views, rng_of_view

Transforms = Transform | Views | TransformStep | Iterable[TransformStep] | None

_SAMPLES_AT_ONCE = 16
_CLASSES_SHOWN = 20


class ImageDataset(Samples):
    """Samples by number, from 0 to `num_samples`: read, drawn in an epoch, decoded."""

    # What a dataset may say for its Loader; these of a DataLoader's datasets are its own.
    shuffle: bool | Window = False
    order: Order | None = None
    ranks: tuple[int | None, int | None] = (None, None)
    is_stream = False  # whether samples come in an order of their own, and nobody knows how many

    def __init__(
        self, transform: Transforms, seed: int, max_pixels: int, map: Map | None = None, max_bytes: int = MAX_BYTES
    ) -> None:
        self.transform = transform if isinstance(transform, Views) else as_transform(transform)
        if map is not None and isinstance(transform, Views):
            raise ValueError("map= is of one image, and Views has several: put steps into their transforms")
        self.map = map
        self._map = None if map is None else SampleMap(map)
        self.seed = operator.index(seed)
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}")
        if not 1 <= max_bytes <= MAX_BYTES:
            raise ValueError(f"max_bytes must be from 1 to {MAX_BYTES}, got {max_bytes}")
        self.max_pixels, self.max_bytes = max_pixels, max_bytes

    def __repr__(self) -> str:
        classes = getattr(self, "classes", None)
        about = f"{self.num_samples:,} samples" + (f" of {len(classes)} classes" if classes else "")
        return f"<{type(self).__name__}: {about}, transform={self.transform}, seed={self.seed}>"

    def _repr_html_(self) -> str:
        """What notebooks show."""
        rows: list[tuple[str, object]] = [("transform", self.transform), ("seed", self.seed)]
        if classes := list(getattr(self, "classes", None) or []):
            more = [f"… {len(classes):,} in all"] if len(classes) > _CLASSES_SHOWN else []
            rows.insert(0, ("classes", ", ".join([*classes[:_CLASSES_SHOWN], *more])))
        if self.num_samples:
            rows.append(("the first", f"{self.key(0)}, from {self.where(0)}"))
        return html.table(f"{type(self).__name__}: {self.num_samples:,} samples", rows)

    @property
    def is_mapped(self) -> bool:
        """Whether a `map` makes something else of some of its samples."""
        return self.map is not None

    @functools.cached_property
    def image_sizes(self) -> npt.NDArray[np.int32]:
        """Width and height of every sample's upright image, int32 of shape (num_samples, 2); 0 where they can't be
        read. Looked up when first asked for, in the beginnings of all files.
        """
        return read_image_sizes(self)

    def check_size(self, size: Size) -> None:
        """ValueError where images can't come out in another size, (height, width), than the transform's own."""
        sized(self.transform, size)

    def draw(self, sample: Sample[bytes], epoch: int) -> tuple[Header, View]:
        """The view of a sample in an epoch, of several the first: a function of seed, epoch and key.

        DecodeError for a bad header, DrawError for an image that the transform has no view of.
        """
        header = read_header(sample.image, self.max_pixels)
        return header, draw(self.transform.transforms[0], header.size, sample_rng(self.seed, epoch, sample.key))

    def prepare(self, numbers: Sequence[int], epochs: int | Sequence[int], size: Size | None = None) -> Task:
        """Read and draw the first of these samples: at least one, and no more than `decode_into` should get at once.

        Views are those of an epoch, or of an epoch for each number, of the transform's own size or of another.
        """
        begun = time.perf_counter_ns()
        transforms = self._transforms(size)
        look_for = None if kernel.KERNEL is None else partial(self._look, transforms, epochs)
        samples, look = self._read_some(numbers, look_for)
        read = time.perf_counter_ns()
        prepared: list[Prepared | SampleError] = []
        for place, (number, sample) in enumerate(zip(numbers, samples, strict=False)):
            if isinstance(sample, SampleError):
                prepared.append(sample)
            elif look is None or (images := look.encoded(place, sample.image)) is None:
                epoch = epochs if isinstance(epochs, int) else epochs[place]
                prepared.append(self._drawn(transforms, number, sample, epoch))
            else:
                made = Prepared(number, sample.key, sample.target, images, self, look.rngs[place])
                prepared.append(self._in_view(made))
        return Task(prepared, read - begun, time.perf_counter_ns() - read)

    def _transforms(self, size: Size | None) -> tuple[Transform, ...]:
        """That of each view, whose images come out in this size; with None in its own."""
        return self.transform.transforms if size is None else (sized(self.transform, size),)

    def _look(self, transforms: Sequence[Transform], epochs: int | Sequence[int], key_hashes: Sequence[int]) -> Looks:
        """What the kernel is to find out about the first samples, by their keys."""
        if not isinstance(epochs, int):
            epochs = epochs[: len(key_hashes)]
        rngs = sample_rngs(self.seed, epochs, np.array(key_hashes, np.uint64))
        return Looks(transforms, rngs, self.max_pixels)

    def _drawn(
        self, transforms: Sequence[Transform], number: int, sample: Sample[Data], epoch: int
    ) -> Prepared | SampleError:
        """A sample whose views are drawn here, or what is wrong with it."""
        data, rng = bytes(sample.image), sample_rng(self.seed, epoch, sample.key)
        try:
            header = read_header(data, self.max_pixels)
            views = [draw(transform, header.size, rng_of_view(rng, view)) for view, transform in enumerate(transforms)]
        except (DecodeError, DrawError) as error:
            return error.at(sample.key, self.where(number)).without_frames()
        except MemoryError as error:
            raise self._no_memory("decode", number) from error
        images = tuple(Encoded(data, header, view) for view in views)
        return self._in_view(Prepared(number, sample.key, sample.target, images, self, rng))

    def _in_view(self, sample: Prepared) -> Prepared | SampleError:
        """The sample with the fields that follow its view, of which Views has none; TargetError where one can't."""
        if isinstance(self.transform, Views) or not follows(sample.target):
            return sample
        try:
            return sample._replace(target=in_view(sample.target, sample.image.header, sample.image.view))
        except TargetError as error:
            return error.at(sample.key, self.where(sample.number)).without_frames()

    def decode_into(self, samples: Sequence[Prepared], rows: Sequence[Pixels]) -> DecodedSamples:
        """Decode samples into their rows: of each sample one for each of its views, uint8 of shape (H, W, 3).

        OSError, which names the sample, where there is no memory for one.
        """
        try:
            errors, decode_ns, resize_ns = decode_into([image for sample in samples for image in sample.images], rows)
        except MemoryError as cause:
            if len(samples) == 1:
                raise self._no_memory("decode", samples[0].number) from cause
            return self._decoded_one_by_one(samples, rows)
        if not any(errors):
            return DecodedSamples([None] * len(samples), decode_ns, resize_ns)
        of_samples, first = [], 0
        for sample in samples:
            error = next((e for e in errors[first : first + len(sample.images)] if e is not None), None)
            of_samples.append(error and error.at(sample.key, self.where(sample.number)))
            first += len(sample.images)
        return DecodedSamples(of_samples, decode_ns, resize_ns)

    def _decoded_one_by_one(self, samples: Sequence[Prepared], rows: Sequence[Pixels]) -> DecodedSamples:
        """The same with less memory at a time, and to say whose there is not."""
        left = list(rows)
        each = [self.decode_into([sample], [left.pop(0) for _ in sample.images]) for sample in samples]
        errors = [error for decoded in each for error in decoded.errors]
        return DecodedSamples(errors, sum(d.decode_ns for d in each), sum(d.resize_ns for d in each))

    def load(self, number: int, epoch: int, out: Pixels | None = None) -> Sample[Pixels]:
        """Sample `number` in an epoch, its pixels uint8 of shape (H, W, 3), in `out` where it is given.

        SampleError where the sample can't be read or decoded, with key, place and cause. Of several views the first.
        """
        (sample,) = self.prepare([number], epoch).samples
        if isinstance(sample, SampleError):
            raise sample
        sample = sample._replace(images=sample.images[:1])
        (pixels,) = new_rows([sample]) if out is None else [out]
        (error,) = self.decode_into([sample], [pixels]).errors
        if error is not None:
            raise error
        return Sample(sample.key, pixels, sample.target)

    def pair(self, number: int, epoch: int, size: Size | None = None) -> Pair:
        """Sample `number` as torch has it: (uint8 tensor of shape (3, H, W), target), or what `map` makes of that.

        With `Views` the image is a dict by name of uint8 tensors of shape (count, 3, H, W). A `size`, (height, width),
        takes the place of the transform's own.
        """
        (pair,) = self.pairs([number], epoch, size)
        return pair

    def pairs(self, numbers: Sequence[int], epochs: int | Sequence[int], size: Size | None = None) -> list[Pair]:
        """The same of some samples at once. SampleError for the first that can't be read or decoded."""
        _stay_in_one_thread(os.getpid())
        with self.together(numbers):
            return self._pairs(numbers, epochs, size)

    def _pairs(self, numbers: Sequence[int], epochs: int | Sequence[int], size: Size | None) -> list[Pair]:
        pairs: list[Pair] = []
        while left := numbers[len(pairs) : len(pairs) + _SAMPLES_AT_ONCE]:
            good = []
            own_epochs = epochs if isinstance(epochs, int) else epochs[len(pairs) :]
            for sample in self.prepare(left, own_epochs, size).samples:
                if isinstance(sample, SampleError):
                    raise sample
                good.append(sample)
            rows = new_rows(good)
            of_views = iter(rows)
            for sample, error in zip(good, self.decode_into(good, rows).errors, strict=True):
                if error is not None:
                    raise error
                pairs.append(sample.dataset.finished(sample, [next(of_views) for _ in sample.images]))
        return pairs

    def finished(self, sample: Prepared, rows: Sequence[Pixels]) -> Pair:
        """A sample of this dataset as torch has it: its colour steps carried out, and `map`."""
        images = [self._recoloured(view, row, sample.rng) for view, row in enumerate(rows)]
        if isinstance(self.transform, Views):
            return Pair(self.transform.grouped(images, torch.stack), sample.target, sample.key, sample.views)
        pair = Pair(images[0], sample.target, sample.key, sample.image.view)
        return pair if self._map is None else self._map(pair, sample.rng)

    def _recoloured(self, view: int, pixels: Pixels, rng: int) -> Tensor:
        transform, image = self.transform.transforms[view], torch.from_numpy(pixels).permute(2, 0, 1)
        if not transform.pixel_steps:
            return image
        return recolour(image[None], transform, np.array([rng_of_view(rng, view)], np.uint64))[0]


@functools.cache
def _stay_in_one_thread(pid: int) -> None:
    """Keep OpenCV from starting threads in each of a DataLoader's workers, as torch does for itself."""
    if get_worker_info() is not None:
        cv2.setNumThreads(0)
