"""What every object store can do, and what is checked whichever one it is; each backend fills in the requests."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fastdata.errors import ReplacedError
from fastdata.sources.stores.retry import Attempts, TransientError, retry

Range = tuple[int, int]
"""Offset and size in bytes."""


class Stat(NamedTuple):
    """What a store says of an object; `etag` changes with its content, None where the store has nothing like that."""

    size: int
    etag: str | None


class Entry(NamedTuple):
    """An object: what `Storage.stat` says of it, or a listing, without asking."""

    url: str
    size: int
    etag: str | None


class Storage(ABC):
    """Objects at URLs. Everything is tried again as `retry.policy` says, and may be called by many threads at once.

    Every method raises FileNotFoundError for an object that is not there, PermissionError where credentials are
    missing or do not suffice, OSError that names the URL, the cause and how often it was tried for anything else, and
    ImportError that names what to install where the URL's protocol needs a package that is missing.
    """

    def stat(self, url: str) -> Stat:
        """Size and ETag."""
        return retry(lambda: self._stat(url))

    def size(self, url: str) -> int:
        """Size in bytes."""
        return self.stat(url).size

    def get_ranges(self, url: str, ranges: Sequence[Range], etag: str | None = None) -> list[memoryview]:
        """The bytes of each range (offset, size), in their order; many requests are in flight at once.

        All come whole, or it is an error. Ranges that touch may come in one request, others do not. With `etag` (that
        `stat` said) ReplacedError is raised if the object has another one by now. Raises ReplacedError, too, for a
        range that goes beyond the object's end, ValueError for one that is negative.
        """
        for offset, size in ranges:
            if offset < 0 or size < 0:
                raise ValueError(f"{url}: no range has offset {offset} and {size} bytes")
        answers: list[memoryview | OSError] = [memoryview(b"")] * len(ranges)
        missing = [number for number, (_, size) in enumerate(ranges) if size]  # nothing is asked for no bytes
        attempts = Attempts()
        while missing:
            # After a failure each is asked for by itself: where some come in one request, nobody knows which failed.
            came = self._ranges(url, [ranges[number] for number in missing], etag, alone=attempts.made > 0)
            for number, answer in zip(missing, came, strict=True):
                answers[number] = self._checked(url, ranges[number], answer)
            failures = {number: answer for number in missing if isinstance(answer := answers[number], OSError)}
            if failures:
                attempts.after(list(failures.values()))
            missing = list(failures)
        return [answer for answer in answers if isinstance(answer, memoryview)]

    def get(self, url: str, stat: Stat) -> memoryview:
        """All of an object that is as `stat` said; servers need not know ranges. ReplacedError for another one."""
        return retry(lambda: self._whole(url, stat))

    def _whole(self, url: str, stat: Stat) -> memoryview:
        """All of the object, asked for once; as `get`."""
        if self._stat(url).size != stat.size:
            raise replaced(url)
        return self.get_ranges(url, [(0, stat.size)], stat.etag)[0]

    def _checked(self, url: str, wanted: Range, answer: memoryview | OSError) -> memoryview | OSError:
        """The answer, or an error in place of one that has another length than was wanted."""
        offset, size = wanted
        if isinstance(answer, OSError) or len(answer) == size:
            return answer
        if len(answer) < size and self.size(url) < offset + size:
            return ReplacedError(
                f"{url} ends before byte {offset + size}, which was asked for: it was replaced by a shorter one, or "
                "what says where its samples lie belongs to another file"
            )
        return TransientError(f"{at(url, wanted)}: {len(answer)} bytes came")

    @abstractmethod
    def get_file(self, url: str, path: Path) -> None:
        """Copies an object to the local file `path`, which appears whole or not at all."""

    @abstractmethod
    def put_file(self, path: Path, url: str) -> None:
        """Copies a local file to an object, which is replaced if it is there. It appears whole where the store's
        objects do (S3, Google's, Azure's)."""

    @abstractmethod
    def put_if_absent(self, url: str, data: bytes) -> bool:
        """Makes an object, or returns False if there is one already, with whatever content.

        Of several that try at once one succeeds. If the answer to a request was lost, the object's content says whose
        it is: `data` should be this caller's alone, by a random token in it, say. OSError where a store cannot do it.
        """

    def list(self, url_prefix: str) -> Iterator[tuple[str, int]]:
        """URL and size of each of the `entries`."""
        return ((entry.url, entry.size) for entry in self.entries(url_prefix))

    @abstractmethod
    def entries(self, url_prefix: str) -> Iterator[Entry]:
        """Every object below `url_prefix`, which is a folder: s3://bucket/a has s3://bucket/a/b, and not s3://bucket/ab.
        In no promised order; nothing is listed where nothing is. OSError where a protocol has no listings (HTTP)."""

    @abstractmethod
    def _stat(self, url: str) -> Stat: ...

    @abstractmethod
    def _ranges(
        self, url: str, ranges: Sequence[Range], etag: str | None, alone: bool
    ) -> Sequence[memoryview | OSError]:
        """What came of each range, once: TransientError for what may be tried again, any other OSError at last."""


def at(url: str, wanted: Range) -> str:
    """How an error says which bytes it is about."""
    return f"{url}, {wanted[1]} bytes at offset {wanted[0]}"


def not_there(url: str) -> FileNotFoundError:
    """The error of what is not there."""
    return FileNotFoundError(f"no file {url}: check the URL")


def not_allowed(url: str, cause: str) -> PermissionError:
    """The error of what credentials don't suffice for."""
    return PermissionError(f"{url}: {cause}: check the credentials in the environment, and whether they suffice")


def replaced(url: str) -> ReplacedError:
    """The error of what is another one by now."""
    return ReplacedError(f"{url} was replaced since it was opened: open the dataset again")


def may_go_better(status: int) -> bool:
    """Whether a request that was answered by this HTTP status is worth another try."""
    return status >= 500 or status in (408, 425, 429)
