"""Images in shards that come by streams, in the order in which they come."""

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import Any, NoReturn

from torch.utils.data import IterableDataset, get_worker_info

from fastdata.datasets.base import ImageDataset, Transforms
from fastdata.datasets.collate import collate
from fastdata.datasets.fields import Target, Wanted, check_followed, declared
from fastdata.datasets.mapping import Map
from fastdata.datasets.shard_fields import IMAGES, extensions_of, no_component, no_image
from fastdata.datasets.stream_batches import StreamBatches
from fastdata.epoch.cursor import EpochCursor
from fastdata.epoch.orders import PlainOrders
from fastdata.epoch.plan import Place
from fastdata.epoch.run import Run
from fastdata.errors import StateError, TargetError
from fastdata.images.limits import MAX_PIXELS
from fastdata.sample import Sample
from fastdata.sources.regular import MAX_BYTES, refuse_larger
from fastdata.sources.streams import STDIN, StreamedSample, stream_samples, streams_in
from fastdata.sources.targets import read_field
from fastdata.sources.urls import Urls
from fastdata.transforms.fields import Field

_AT_ONCE = 16  # samples that are decoded together where there are no batches


class TarImageStream(ImageDataset, IterableDataset[Any]):
    """Images in shards that can't be sought, in the order in which they come: `TarImageDataset("-")` makes one.

    `urls` are "-", which is standard input, or "pipe:…", commands whose output is a shard, run by the shell where
    `allow_pipe` is true. Samples, views and targets are those of the same shards in files. Ranks and DataLoader workers
    have whole streams, so ranks may get different numbers of batches. What nobody can know of a stream is an error:
    its length, a sample by number, a shuffle over it, a place to resume from.
    """

    is_stream = True

    def __init__(
        self,
        urls: Urls,
        transform: Transforms = None,
        image: str = IMAGES,
        target: Target = "cls",
        seed: int = 0,
        *,
        batch_size: int | None = None,
        ranks: tuple[int | None, int | None] = (None, None),
        max_pixels: int = MAX_PIXELS,
        map: Map | None = None,
        allow_pipe: bool = False,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        super().__init__(transform, seed, max_pixels, map, max_bytes)
        self.streams = streams_in(urls, allow_pipe=allow_pipe)
        fields = declared(target)
        if fields is not None:
            check_followed(fields, self.transform)
            if len(fields.components) < len(fields.fields):
                raise ValueError("a table is joined with all samples at once: " + _INSTEAD)
        self.target, self.image = target, extensions_of(image)
        stored = {} if fields is None else {n: f for n, f in fields.fields.items() if isinstance(f, Field)}
        self._fields = None if fields is None else Wanted(stored, fields.named)
        self._extensions = {*self.image, *(field.component.lower() for field in stored.values())}
        self.batch_size, self.ranks = batch_size, ranks
        self.classes: list[str] = []
        self._cursor = EpochCursor(PlainOrders(0, False, self.seed), batch_size, "partial", ranks, _no_fingerprint)
        self._arrived: dict[int, StreamedSample] = {}
        self._next_number = 0
        self._read_stdin = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self.streams)} streams, transform={self.transform}, seed={self.seed}>"

    def refuse(self, what: str) -> NoReturn:
        """Raises TypeError: this can't be had of streams."""
        raise TypeError(f"{what} can't be had of a stream: {_INSTEAD}")

    def refuse_given(self, given: Mapping[str, object]) -> None:
        """Raises TypeError for the first of these, by what it is, that was asked for."""
        for what, value in given.items():
            if value:
                self.refuse(what)

    def __len__(self) -> int:
        self.refuse("a length")

    @property
    def num_samples(self) -> int:
        self.refuse("a length")

    @property
    def fingerprint(self) -> str:
        self.refuse("a fingerprint")

    @property
    def epoch(self) -> int:
        """The epoch that was begun last, or the one that was said since."""
        return self._cursor.epoch

    def set_epoch(self, epoch: int) -> None:
        """Run this epoch next: with its crops."""
        self._cursor.set_epoch(epoch)

    def state_dict(self, batches: int | None = None) -> dict[str, Any]:
        """Raises StateError."""
        raise StateError(f"nothing can be resumed in a stream: {_INSTEAD}")

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises StateError."""
        self.state_dict()

    def key(self, number: int) -> str:
        return self._arrived[number].key

    def where(self, number: int) -> str:
        return self._arrived[number].where

    def _read(self, number: int) -> Sample[bytes]:
        sample = self._arrived[number]
        extension = next((name for name in self.image if name in sample.sizes), None)
        if extension is None:
            raise no_image(self.image, sample.sizes, sample.key, sample.where)
        return Sample(sample.key, self._component(sample, extension), self._target(number, sample))

    def _target(self, number: int, sample: StreamedSample) -> Any:
        if self._fields is None:
            return -1
        try:
            return self._fields.read(number, partial(self._field, sample))
        except TargetError as error:
            raise error.at(sample.key, sample.where) from error

    def _field(self, sample: StreamedSample, field: Field) -> Any:
        component = field.component.lower()
        if component not in sample.sizes:
            raise no_component(component, sample.sizes)
        return read_field(field, self._component(sample, component))

    def _component(self, sample: StreamedSample, extension: str) -> bytes:
        refuse_larger(f"its component {extension!r}", sample.sizes[extension], self.max_bytes)
        return sample.parts[extension]

    def batches_of(self, run: Run, batch_size: int, kept: int) -> StreamBatches:
        """This place's batches as they come; the samples of `kept` batches are there at a time, until it is closed."""
        return StreamBatches(self._numbered(run.place), self._arrived, run.epoch, batch_size, kept)

    def _numbered(self, place: Place) -> Generator[tuple[int, StreamedSample]]:
        for url in self._streams_of(place):
            with closing(stream_samples(url, self._extensions, self.max_bytes)) as samples:
                for sample in samples:
                    number, self._next_number = self._next_number, self._next_number + 1
                    yield number, sample

    def _streams_of(self, place: Place) -> list[str]:
        """Whole streams of this rank's worker. ValueError where a rank gets none, or standard input can't be read."""
        if len(self.streams) < place.world_size:
            raise ValueError(f"{len(self.streams)} streams can't be shared by {place.world_size} ranks: {_INSTEAD}")
        mine = list(self.streams[place.rank :: place.world_size][place.worker :: place.num_workers])
        if STDIN in self.streams and get_worker_info() is not None:
            raise ValueError("a DataLoader's workers have no standard input: say num_workers=0, or use a Loader")
        if STDIN in mine:
            if self._read_stdin:
                raise ValueError(f"standard input was read in the epoch before, and comes once: {_INSTEAD}")
            self._read_stdin = True
        return mine

    def __iter__(self) -> Iterator[Any]:
        """Run the next epoch: pairs, or batches with a `batch_size`."""
        run = self._cursor.begin()
        with closing(self.batches_of(run, self.batch_size or _AT_ONCE, kept=1)) as batches:
            for numbers, _, _ in batches:
                pairs = self.pairs(numbers.tolist(), run.epoch)
                if self.batch_size is None:
                    yield from pairs
                else:
                    yield collate(pairs)


def _no_fingerprint() -> None:
    """Of a stream there is none, and no state that would have it."""


_INSTEAD = "write it into a file, and name that"
