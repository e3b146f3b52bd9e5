"""Samples by number, as they are stored: how many, their keys, where they lie, and their bytes."""

import errno
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fastdata.datasets.prepared import Data, LookFor, Seen
from fastdata.errors import ReadError, SampleError, TarError
from fastdata.sample import Sample, key_hash
from fastdata.sources.faults import is_machines, patiently

# Decoding leaves the CPU's caches without what reading and drawing need, which then take twice as long: so that is done
# for several samples first. Not for more of them than the caches hold.
BYTES_AT_ONCE = 1 << 21

FAILURES = (SampleError, OSError, TarError, MemoryError)
"""What reading a sample raises: by its own fault, or the machine's."""

T = TypeVar("T")

_NOTHING = Sample[Data]("", b"", None)


class Samples(ABC):
    """Samples by number, from 0 to `num_samples`, read as they are stored."""

    @property
    @abstractmethod
    def num_samples(self) -> int:
        """The number of samples, over all ranks and workers."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A short name of the samples and their order, by which a resumed run knows its dataset."""

    @property
    def bytes_per_sample(self) -> float | None:
        """How many bytes lie between a sample's beginning and the next one's, on average over all.

        None where neighbours by number do not lie beside each other in one file.
        """
        return None

    @property
    def block_size(self) -> int | None:
        """How many neighbours are read at once, on average, whichever of them is asked for; None where it is one."""
        return None

    @abstractmethod
    def key(self, number: int) -> str:
        """The key of sample `number`."""

    def key_hashes(self) -> npt.NDArray[np.uint64]:
        """The `key_hash` of every sample's key, uint64 of shape (num_samples,)."""
        keys = (self.key(number) for number in range(self.num_samples))
        return np.fromiter(map(key_hash, keys), np.uint64, self.num_samples)

    @abstractmethod
    def where(self, number: int) -> str:
        """The file of sample `number`, or its shard and offset, for messages."""

    @property
    def is_far(self) -> bool:
        """Whether samples are read ahead when they are expected: some lie elsewhere."""
        return False

    def has_room(self, samples: int) -> bool:
        """Whether so many samples that lie elsewhere can be kept here until they are read."""
        return False

    def expect(  # noqa: B027 - as a rule all is near
        self, numbers: Sequence[int], blocks: Sequence[Sequence[int]] = ()
    ) -> None:
        """Says which samples are read next, after those that were expected before; does not wait.

        Of `blocks` of neighbours each is fetched as a whole before, since all of it will be read.
        """

    def expect_nothing(self) -> None:  # noqa: B027
        """Ends reading ahead, until something is expected again."""

    def together(self, numbers: Sequence[int]) -> AbstractContextManager[None]:
        """A block in which these samples are at hand: those that lie elsewhere are all fetched at once, before it."""
        return nullcontext()

    def read_beginning(self, number: int, length: int) -> bytes:
        """The first bytes of sample `number`'s image. OSError, TarError or ReadError where it can't be read."""
        return self._read(number).image[:length]

    @abstractmethod
    def _read(self, number: int) -> Sample[bytes]: ...

    def _read_in_memory(self, number: int) -> Sample[Any]:
        """The same, its image where it lies in memory already, if it does."""
        return self._read(number)

    def read(self, number: int) -> Sample[bytes]:
        """Sample `number` as it is stored, its boxes too, say. ReadError or TargetError where it can't be read."""
        sample = self._read_as(number, partial(self._read, number))
        if isinstance(sample, SampleError):
            raise sample
        return sample

    def read_some(self, numbers: Sequence[int]) -> list[Sample[Data] | SampleError]:
        """The first of these samples, at least one, or what is wrong with them; where the kernel is there, in one call.

        No more than about `BYTES_AT_ONCE`, where sizes are known beforehand.
        """
        return self._read_some(numbers, None)[0]

    def _read_some(self, numbers: Sequence[int], look_for: LookFor | None) -> Seen:
        """The same; and where the kernel is there to draw views, what it saw of as many as were asked for."""
        samples: list[Sample[Data] | SampleError] = []
        size = 0
        for number in numbers:
            sample = self._read_as(number, partial(self._read_in_memory, number))
            samples.append(sample)
            size += 0 if isinstance(sample, SampleError) else len(sample.image)
            if size > BYTES_AT_ONCE:
                break
        if look_for is None:
            return samples, None
        good = [sample if isinstance(sample, Sample) else _NOTHING for sample in samples]
        return samples, look_for([key_hash(sample.key) for sample in good]).at([sample.image for sample in good])

    def _read_as(self, number: int, do: Callable[[], Sample[Any]]) -> Sample[Any] | SampleError:
        """The sample as it is read so, or what is wrong with it; read again where the machine is at fault.

        OSError where that goes on, which is no fault of the sample's: it is never skipped.
        """
        try:
            return do()
        except FAILURES:
            again = partial(self._tried, number, partial(self._read_again, number))
        # Not within `except`, where an error of the next attempt would hold this one, with its frames and their memory.
        return patiently(partial(self._tried, number, do), again)

    def _read_again(self, number: int) -> Sample[bytes]:
        """A sample of which reading has failed, without what a failed attempt may have left open."""
        return self._read(number)

    def _tried(self, number: int, do: Callable[[], T]) -> T | SampleError:
        """What it gives, or what is wrong with this sample; OSError, which names it, where the machine is at fault."""
        try:
            return do()
        except SampleError as error:
            return error.without_frames()
        except MemoryError as error:
            raise self._no_memory("read", number) from error
        except (OSError, TarError) as error:
            return self._fault(number, error)

    def _fault(self, number: int, error: OSError | TarError) -> SampleError:
        """What is wrong with a sample that can't be read; OSError, which names it, where the machine is at fault."""
        key, where = self._key_if_readable(number), self.where(number)
        if isinstance(error, OSError) and is_machines(error):
            raise OSError(error.errno, f"{error.strerror}, reading sample {key!r}", where) from error
        located = ReadError(str(error), key, where)
        located.__cause__ = error
        return located.without_frames()

    def _no_memory(self, verb: str, number: int) -> OSError:
        return OSError(errno.ENOMEM, f"no memory to {verb} a sample", self.where(number))

    def _key_if_readable(self, number: int) -> str:
        try:
            return self.key(number)
        except (OSError, TarError):
            return f"number {number}"
