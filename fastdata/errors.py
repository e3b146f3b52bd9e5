"""What can go wrong. Only what is wrong with a sample is a `SampleError`: a defect of the program never is."""

from typing import Self


def forget_frames(error: BaseException | None) -> None:
    """Leaves an error, and what caused it, without the frames that they were raised in, and what these hold."""
    seen: set[int] = set()  # `raise error from error` makes a circle
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


class SampleError(ValueError):
    """A sample that can't be used: says the cause and, where they are known, its key and where it lies.

    `where` is a file, or a shard and an offset in it. torch's DataLoader raises a worker's error again as
    `type(error)(message)`: `key` and `where` are empty then, and the message still says it all.
    """

    def __init__(self, cause: str, key: str = "", where: str = "") -> None:
        super().__init__(f"sample {key!r} in {where}: {cause}" if where else cause)
        self.cause, self.key, self.where = cause, key, where

    def __reduce__(self) -> tuple[type[Self], tuple[str, str, str]]:
        return type(self), (self.cause, self.key, self.where)

    def at(self, key: str, where: str) -> Self:
        """The same error of the sample `key` at `where`."""
        return type(self)(self.cause, key, where)

    def without_frames(self) -> Self:
        """The same error, and what caused it, without the frames that they were raised in.

        Where an error is kept, its frames would keep a batch's memory, and the frame that keeps it, in a circle.
        """
        forget_frames(self)
        return self


class ReadError(SampleError):
    """A sample whose bytes can't be read."""


class NoImageError(ReadError):
    """A sample that has none of the components that its image could be."""


class DecodeError(SampleError):
    """Bytes that are no image that can be decoded, or one that claims to be too large."""


class JpegError(DecodeError):
    """Bytes that are not a JPEG that this package reads; the message names the offset."""


class DrawError(SampleError):
    """An image that the transform has no view of, such as one that it would have to pad before it resizes."""


class TargetError(SampleError):
    """A component that is not the target it should be."""


class TarError(ValueError):
    """A shard that can't be read: names the shard, the byte offset, what is wrong and what to do."""

    offset = -1
    problem = ""

    @classmethod
    def at(cls, path: str, offset: int, problem: str) -> "TarError":
        """The error at a byte offset of the file at `path`."""
        error = cls(f"{path}, offset {offset}: {problem}")
        error.offset, error.problem = offset, problem
        return error


class ManifestError(ValueError):
    """A dataset's json that can't be read: names the file and the field."""


class StateError(ValueError):
    """A state that can't be resumed from, or that can't be told: says what differs or is missing."""


class PackError(OSError):
    """A file that can't be packed, or a shard that does not hold what was written: names it."""


class TooManySkippedError(RuntimeError):
    """More samples were skipped in an epoch than `max_skipped` allows."""


class ReplacedError(OSError):
    """A remote file that is another one than it was when the dataset was opened; or a range beyond its end."""
