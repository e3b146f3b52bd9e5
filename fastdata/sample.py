"""A sample before and after decoding, and the batch that samples become."""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, Self, TypeVar

import numpy as np
import numpy.typing as npt

from fastdata import html

if TYPE_CHECKING:
    from torch import Tensor

    from fastdata.transforms.view import View

T = TypeVar("T")

_MISSING: Final[Any] = object()

Pixels = npt.NDArray[np.uint8]

Size = tuple[int, int]
"""(height, width) in pixels, as steps have it."""
"""An image: uint8, shape (height, width, 3), RGB."""

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp")
"""What counts as an image, in any case, where nothing else is said: torchvision's IMG_EXTENSIONS."""


class Sample(NamedTuple, Generic[T]):
    """One training example: `Sample[bytes]` before decoding, `Sample[ndarray]` (uint8 HWC) after.

    `key` is its path below the dataset's root without extension, the same in a folder and in its shards.
    """

    key: str
    image: T
    target: Any


class Fields(dict[str, Any]):
    """Several targets of a sample by name, which `collate` makes a batch of name by name.

    A dict that is itself one target, such as that of a JSON file, is a plain one, and of these a batch has a list.
    """


class Pair(tuple[Any, Any]):
    """What `dataset[i]` gives: a tuple of (image, target) that also knows the sample's `key` and its `view`.

    `fd.collate` makes the keys and views of a batch of them; a dataset that wraps another one keeps them by giving
    `Pair(image, target, pair.key, pair.view)`.
    """

    key: str
    view: "View | Sequence[View] | None"

    def __new__(cls, image: Any, target: Any, key: str, view: "View | Sequence[View] | None" = None) -> Self:
        pair = super().__new__(cls, (image, target))
        pair.key, pair.view = key, view
        return pair

    def __getnewargs__(self) -> tuple[Any, ...]:  # a tuple's would be one, of both
        return (*self, self.key, self.view)


class Batch(list[Any]):
    """A batch, unpacked as `images, targets = batch`, with the N samples' `keys` and `views`.

    `images` is uint8, shape (N, 3, H, W), in channels-last memory, or what `map`, `normalize` and `batch_transform`
    have made of that; `targets` an int64 tensor of shape (N,) where targets are integers, a stacked tensor where they
    are arrays of one shape, otherwise a list of N; or a dict of such where samples have several targets by name.
    `view.to_source(boxes)` maps what was found in an image back.

    It is a list, as torch's own `default_collate` gives, since DataLoader, Lightning and others copy a list with all
    that it has besides its elements, and make a tuple anew of its elements alone. What is made of two elements anew,
    `Batch(iter)` or `Batch(images, targets)`, has neither keys nor views: asked for them it raises AttributeError.
    """

    def __init__(
        self,
        images: Any,
        targets: Any = _MISSING,
        keys: Sequence[str] | None = None,
        views: Sequence[Any] | None = None,
    ) -> None:
        both = tuple(images) if targets is _MISSING else (images, targets)
        if len(both) != 2:
            raise ValueError(f"a batch is of images and targets, got {len(both)} values")
        super().__init__(both)
        self._keys, self._views = keys, views

    @property
    def images(self) -> Any:
        """A tensor; with `Views` a dict of such by name."""
        return self[0]

    @property
    def targets(self) -> Any:
        """A tensor, a list, or with several targets by name a dict of such."""
        return self[1]

    @property
    def keys(self) -> list[str]:
        """The key of each sample. AttributeError where the batch was made of pairs that don't know theirs."""
        return list(self._known("keys", self._keys))

    @property
    def views(self) -> list[Any]:
        """A `View` of each sample; where they have several views, a sequence of such."""
        return list(self._known("views", self._views))

    def _known(self, name: str, values: Sequence[T] | None) -> Sequence[T]:
        if values is None:
            raise AttributeError(
                f"this batch does not know its {name}: it was made of (image, target) pairs that don't, or something "
                "between its loader and here has made it anew of images and targets alone"
            )
        return values

    def to(self, device: Any, non_blocking: bool = False) -> "Batch":
        """The same batch, its tensors (in dicts, lists and tuples, too) on `device`."""
        return self._with(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """The same batch, its tensors in pinned memory; what a DataLoader with `pin_memory=True` calls."""
        return self._with(lambda tensor: tensor.pin_memory())

    def _with(self, move: "Callable[[Tensor], Tensor]") -> "Batch":
        return self._replace(images=on_tensors(move, self.images), targets=on_tensors(move, self.targets))

    def _replace(self, **changes: Any) -> "Batch":
        """As of a NamedTuple: the same batch with other `images`, `targets`, `keys` or `views`."""
        now = {"images": self.images, "targets": self.targets, "keys": self._keys, "views": self._views}
        return Batch(**now | changes)

    def __repr__(self) -> str:
        parts = [f"images={_described(self.images)}", f"targets={_described(self.targets)}"]
        if self._keys is not None:
            parts.append(f"keys={_described(list(self._keys))}")
        return f"Batch({', '.join(parts)})"

    def _repr_html_(self) -> str:
        """What notebooks show: the first samples' keys and targets and, as long as they are uint8, their images."""
        images, rows = self.images, []
        has_pictures = getattr(images, "ndim", None) == 4 and str(images.dtype) == "torch.uint8" and len(images[0]) == 3
        count = len(images if hasattr(images, "shape") else next(iter(images.values())))
        for row in range(min(_SHOWN, count)):
            pictures = [html.Picture(images[row].permute(1, 2, 0).cpu().numpy())] if has_pictures else []
            key = "" if self._keys is None else self._keys[row]
            rows.append([*pictures, key, _described(_one_of(self.targets, row))])
        return html.table(repr(self), rows)


_SHOWN = 8
"""Samples of a batch that a notebook shows."""


def _one_of(values: Any, row: int) -> Any:
    """A sample's of what a batch has, which may be a dict by name."""
    if isinstance(values, dict):
        return {name: _one_of(part, row) for name, part in values.items()}
    return values[row].tolist() if getattr(values, "ndim", None) == 1 else values[row]


def on_tensors(function: "Callable[[Tensor], Tensor]", value: Any) -> Any:
    """The value with the function applied to each tensor in it; in dicts, lists and tuples, too."""
    if callable(getattr(value, "pin_memory", None)):  # a tensor, without importing torch here
        return function(value)
    if isinstance(value, dict):
        return {name: on_tensors(function, part) for name, part in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(on_tensors(function, part) for part in value))
    if isinstance(value, list | tuple):
        return type(value)(on_tensors(function, part) for part in value)
    return value


def _described(value: Any) -> str:
    """Shapes rather than pixels, and no more than the first few of a list."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        device = getattr(value, "device", "cpu")
        where = "" if str(device) == "cpu" else f" on {device}"
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}{where}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name!r}: {_described(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list):
        shown = [_described(part) for part in value[:2]]
        return "[" + ", ".join([*shown, f"… {len(value)} in all"] if len(value) > 2 else shown) + "]"
    return repr(value)


def key_hash(key: str) -> int:
    """The first 8 bytes of the key's BLAKE2b, little-endian."""
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogateescape")).digest()[:8], "little")
