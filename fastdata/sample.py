"""A sample before and after decoding, and the batch that samples become."""

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

Pixels = npt.NDArray[np.uint8]
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


class Batch(NamedTuple):
    """A batch, unpacked as `images, targets = batch`.

    `images` is uint8, shape (N, 3, H, W), in channels-last memory; `targets` an int64 tensor of shape (N,)
    where targets are integers, a stacked tensor where they are arrays of one shape, otherwise a list of N.
    Where a sample has several targets by name, `targets` is a dict of such.
    """

    images: "Tensor"
    targets: Any


def key_hash(key: str) -> int:
    """The first 8 bytes of the key's BLAKE2b, little-endian."""
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogateescape")).digest()[:8], "little")
