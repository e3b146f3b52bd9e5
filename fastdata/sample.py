"""A sample before and after decoding, the batch that samples become, and the error of a bad one."""

from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")


class Sample(NamedTuple, Generic[T]):
    """One training example: `Sample[bytes]` before decoding, `Sample[ndarray]` (uint8 HWC) after.

    `key` is its path below the dataset's root without extension, the same in a folder and in its shards.
    """

    key: str
    image: T
    target: Any


class Batch(NamedTuple):
    """A batch, unpacked as `images, targets = batch`.

    `images` is uint8, shape (N, 3, H, W), in channels-last memory; `targets` an int64 tensor of shape (N,)
    where targets are integers, a stacked tensor where they are arrays of one shape, otherwise a list of N.
    """

    images: "Tensor"
    targets: Any


class SampleError(ValueError):
    """A sample that can't be used: names its key, where it lies (file, or shard and offset) and the cause.

    Built by `SampleError.of`. torch's DataLoader re-raises a worker's error as `type(error)(message)`, so a
    message alone must do as well; `key`, `where` and `cause` are empty then and the message says it all.
    """

    key: str = ""
    where: str = ""
    cause: str = ""

    @classmethod
    def of(cls, key: str, where: str, cause: object) -> "SampleError":
        """The error of the sample `key` at `where`."""
        error = cls(f"sample {key!r} in {where}: {cause}")
        error.key, error.where, error.cause = key, where, str(cause)
        return error
