"""What a Loader is given, checked."""

from collections.abc import Collection
from typing import Any, Literal, TypeAlias

from fastdata.datasets.base import ImageDataset
from fastdata.datasets.from_torch import as_image_dataset
from fastdata.datasets.streams import TarImageStream
from fastdata.epoch.orders import Order, Orders, Shuffle, orders_of
from fastdata.epoch.plan import Last
from fastdata.loading.dali.options import Dali, check_installed
from fastdata.sample import Size
from fastdata.transforms.views import Views

Decoder: TypeAlias = Literal["cpu", "dali"] | Dali


def dataset_for(dataset: Any, batch_size: int, last: Last) -> ImageDataset:
    """The dataset as one of this package's. TypeError, or ValueError, for one that a Loader can't load."""
    images = as_image_dataset(dataset)
    own_batches, own_last = getattr(images, "batch_size", None), getattr(images, "last", "partial")
    if own_batches not in (None, batch_size) or own_last not in ("partial", last):
        raise ValueError(
            f"the dataset has batch_size={own_batches} and last={own_last!r}, the Loader {batch_size} "
            f"and {last!r}: leave them to the Loader"
        )
    if images.transform.output is None and not images.is_mapped:
        raise ValueError(
            f"{images.transform} gives images of different sizes: end it with a fixed one, as RandomResizedCrop(224) "
            "or [Resize(256), CenterCrop(224)] have"
        )
    return images


def orders_for(dataset: ImageDataset, order: Order | None, shuffle: Shuffle | None) -> Orders:
    """The orders of all epochs: those that are asked for, or else the dataset's own."""
    shuffle = shuffle if shuffle is not None else dataset.shuffle or None
    order = dataset.order if order is None else order
    if isinstance(dataset, TarImageStream):
        dataset.refuse_given({"a shuffle": shuffle, "an order": order})
    return orders_of(dataset, 0 if dataset.is_stream else dataset.num_samples, order, shuffle, dataset.seed)


def check_numbers(batch_size: int, num_threads: int | None, prefetch: int, max_skipped: int) -> None:
    """TypeError for what is no integer, ValueError for one out of range. The num_threads may be None."""
    numbers = [("batch_size", batch_size, 1), ("prefetch", prefetch, 1), ("max_skipped", max_skipped, 0)]
    if num_threads is not None:
        numbers.append(("num_threads", num_threads, 1))
    for name, value, least in numbers:
        if not hasattr(value, "__index__"):
            raise TypeError(f"{name} must be an integer, got {value!r}")
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")


def check_choices(dataset: ImageDataset, last: Last, decoder: object, on_error: str) -> None:
    """ValueError for what is none of the choices, TypeError for one that a stream does not have."""
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
    if decoder not in ("cpu", "dali") and not isinstance(decoder, Dali):
        raise ValueError(f"decoder must be 'cpu', 'dali' or a Dali(...), got {decoder!r}")
    if isinstance(dataset, TarImageStream):
        given = {"last='drop' or 'pad'": last != "partial", "decoder='dali'": decoder != "cpu"}
        dataset.refuse_given({**given, "on_error='skip'": on_error != "raise"})


def check_functions(normalize: object, batch_transform: object) -> None:
    """TypeError for what can't be called."""
    if normalize is not None and not callable(normalize):
        raise TypeError(f"normalize is a function of images, such as fd.Normalize(mean, std), got {normalize!r}")
    if batch_transform is not None and not callable(batch_transform):
        raise TypeError(f"batch_transform is a function of (images, targets), got {batch_transform!r}")


def dali_of(decoder: Decoder, dataset: ImageDataset, sizes: Collection[Size]) -> Dali | None:
    """How DALI decodes, None where the CPU does. ValueError for what DALI can't do, ImportError where it is missing."""
    if decoder == "cpu":
        return None
    if isinstance(dataset.transform, Views):
        raise ValueError("DALI decodes one view of an image: decoder='cpu' decodes several")
    if dataset.is_mapped:
        raise ValueError("map= is of samples on the CPU, and DALI gives whole batches: decoder='cpu' goes with it")
    if sizes:
        raise ValueError("DALI's pipeline has images of one size: decoder='cpu' decodes those of Buckets")
    check_installed()
    return decoder if isinstance(decoder, Dali) else Dali()
