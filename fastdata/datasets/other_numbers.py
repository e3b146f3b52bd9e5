"""Samples of other datasets under other numbers: what a selection and a concatenation have in common."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby, takewhile
from typing import Any

from fastdata.datasets.base import ImageDataset
from fastdata.datasets.prepared import Data, Prepared, Task
from fastdata.errors import ReadError, SampleError
from fastdata.sample import Sample, Size


class OtherNumbers(ImageDataset):
    """Samples of other datasets under other numbers. What becomes of one is its own dataset's affair."""

    @abstractmethod
    def _locate(self, number: int) -> tuple[ImageDataset, int]:
        """The dataset that a sample is of, and its number there. IndexError for a number that no sample has."""

    def _check_number(self, number: int) -> None:
        if not 0 <= number < self.num_samples:
            raise IndexError(f"sample {number} of {self.num_samples}")

    @abstractmethod
    def _parts_used(self) -> Sequence[ImageDataset]:
        """The datasets that samples are of."""

    @property
    def is_far(self) -> bool:
        return any(part.is_far for part in self._parts_used())

    def has_room(self, samples: int) -> bool:
        """As of every dataset."""
        return all(part.has_room(samples) for part in self._parts_used() if part.is_far)

    def expect(self, numbers: Sequence[int], blocks: Sequence[Sequence[int]] = ()) -> None:
        """As of every dataset; each part is told of its own."""
        of_parts: dict[int, list[list[int]]] = {}
        for block in blocks:
            for part, own in self._by_part(block):
                of_parts.setdefault(id(part), []).append(own)
        for part, of_part in self._by_part(numbers):
            part.expect(of_part, of_parts.get(id(part), ()))

    @contextmanager
    def together(self, numbers: Sequence[int]) -> Iterator[None]:
        """As of every dataset; one part after the other."""
        with ExitStack() as stack:
            for part, of_part in self._by_part(numbers):
                stack.enter_context(part.together(of_part))
            yield

    def _by_part(self, numbers: Sequence[int]) -> Iterable[tuple[ImageDataset, list[int]]]:
        """The parts that have these samples, and their numbers there."""
        by_part: dict[int, tuple[ImageDataset, list[int]]] = {}
        for part, own in map(self._locate, numbers):
            by_part.setdefault(id(part), (part, []))[1].append(own)
        return by_part.values()

    def expect_nothing(self) -> None:
        """As of every dataset."""
        for part in self._parts_used():
            part.expect_nothing()

    def key(self, number: int) -> str:
        part, own = self._locate(number)
        return part.key(own)

    def where(self, number: int) -> str:
        part, own = self._locate(number)
        return part.where(own)

    def _read(self, number: int) -> Sample[bytes]:
        part, own = self._locate(number)
        return part._read(own)

    def read_some(self, numbers: Sequence[int]) -> list[Sample[Data] | SampleError]:
        part, own = self._of_one_part(numbers)
        return [self._renumbered(sample, number) for sample, number in zip(part.read_some(own), numbers, strict=False)]

    def read_beginning(self, number: int, length: int) -> bytes:
        part, own = self._locate(number)
        return part.read_beginning(own, length)

    def prepare(self, numbers: Sequence[int], epochs: int | Sequence[int], size: Size | None = None) -> Task:
        """As of every dataset: what is of one part is prepared at once, wherever it stands among these samples."""
        located = [self._locate(number) for number in numbers]
        places: dict[int, list[int]] = {}
        for place, (part, _) in enumerate(located):
            places.setdefault(id(part), []).append(place)
        samples: list[Prepared | SampleError | None] = [None] * len(numbers)
        read_ns = draw_ns = 0
        for own in places.values():
            own_epochs = epochs if isinstance(epochs, int) else [epochs[place] for place in own]
            task = located[own[0]][0].prepare([located[place][1] for place in own], own_epochs, size)
            for place, sample in zip(own, task.samples, strict=False):
                samples[place] = self._renumbered(sample, numbers[place])
            read_ns, draw_ns = read_ns + task.read_ns, draw_ns + task.draw_ns
        first = list(takewhile(lambda sample: sample is not None, samples))
        return Task(first, read_ns, draw_ns)  # type: ignore[arg-type] # none of them is None

    def _of_one_part(self, numbers: Sequence[int]) -> tuple[ImageDataset, list[int]]:
        """The first of these samples, those that are of one dataset."""
        _, group = next(groupby(map(self._locate, numbers), key=lambda located: id(located[0])))
        located = list(group)
        return located[0][0], [own for _, own in located]

    def _renumbered(self, sample: Any, number: int) -> Any:
        if isinstance(sample, Prepared):
            return sample._replace(number=number)
        if isinstance(sample, ReadError) and sample.key.startswith("number "):  # whose key can't be read
            return sample.at(f"number {number}", sample.where)
        return sample
