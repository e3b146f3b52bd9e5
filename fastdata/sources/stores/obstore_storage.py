"""S3, Google's and Azure's stores, HTTP and HTTPS, by obstore."""

import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, wait
from pathlib import Path
from typing import Any, BinaryIO

from fastdata.errors import ReplacedError
from fastdata.files import whole_file
from fastdata.sources.stores import obstore_client
from fastdata.sources.stores.forked_obstore import obstore
from fastdata.sources.stores.obstore_client import client, place
from fastdata.sources.stores.retry import TransientError, retry
from fastdata.sources.stores.stored import (
    Entry,
    Range,
    Stat,
    Storage,
    at,
    may_go_better,
    not_allowed,
    not_there,
    replaced,
)

GROUP = 10  # ranges that obstore asks for at once in one call: it takes less time a range than a call for each
PART = 4 << 20  # bytes of a file in one request: 12 of them are in flight, in 48 MiB of memory
SENT = 8 << 20  # bytes of a file in one part of an upload: S3 takes 5 MiB or more, 8 are in flight
MOST_PARTS = 10_000  # that S3 takes
LISTED = 1000  # objects at once: S3's own page


class ObstoreStorage(Storage):
    """Stateless: clients belong to the process."""

    def _stat(self, url: str) -> Stat:
        base, path = place(url)
        try:
            meta = obstore().head(client(base), path)
        except _errors() as error:
            raise _meaning(error, url) from error
        return Stat(meta["size"], _quoted(meta["e_tag"]))

    def _whole(self, url: str, stat: Stat) -> memoryview:
        base, path = place(url)
        weak = stat.etag is None or stat.etag.startswith("W/")  # which can't be asked for (RFC 9110, 13.1.1)
        try:
            answer = obstore().get(client(base), path, options=None if weak else {"if_match": stat.etag})
            meta = answer.meta
            same = meta["size"] == stat.size if stat.etag is None else _quoted(meta["e_tag"]) == stat.etag
            data = memoryview(answer.bytes() if same else b"")
        except _errors() as error:
            raise _meaning(error, url) from error
        if not same:
            raise replaced(url)
        if len(data) != stat.size:
            raise TransientError(f"{url}: {len(data)} bytes came of {stat.size}")
        return data

    def _ranges(
        self, url: str, ranges: Sequence[Range], etag: str | None, alone: bool
    ) -> Sequence[memoryview | OSError]:
        step = 1 if alone else GROUP
        groups = [ranges[start : start + step] for start in range(0, len(ranges), step)]
        base, path = place(url)
        try:
            store = client(base)
            if etag is not None and len(ranges) == 1:
                return [_bound(url, store, path, ranges[0], etag)]
        except _errors() as error:
            return [_because(error, url, at(url, ranges[0]))] * len(ranges)
        if len(groups) == 1:
            answers = _group(url, store, path, groups[0])
        else:
            done = obstore_client.threads().map(lambda group: _group(url, store, path, group), groups)
            answers = [answer for each in done for answer in each]
        if etag is not None and self.stat(url).etag != etag:  # one request for all: it was the same all the time
            raise replaced(url)
        return answers

    def get_file(self, url: str, path: Path) -> None:
        stat = self.stat(url)
        with whole_file(path) as file:
            if stat.size <= PART or not _by_parts(self, url, stat, file):
                retry(lambda: _stream(url, stat, file))

    def put_file(self, path: Path, url: str) -> None:
        base, name = place(url)
        part = max(SENT, -(-path.stat().st_size // MOST_PARTS))
        try:
            whole = False if base.startswith("http") else None  # HTTP knows no parts: it goes through memory
            store = client(base, uploading=True)
            obstore().put(store, name, path, chunk_size=part, use_multipart=whole, max_concurrency=8)
        except _errors() as error:
            failure = _meaning(error, url)
            if isinstance(failure, TransientError):  # which obstore has tried again, part by part
                failure = OSError(f"could not write {failure}")
            raise failure from error

    def put_if_absent(self, url: str, data: bytes) -> bool:
        base, path = place(url)
        lost = False  # whether a request may have been carried out without our knowing

        def put() -> bool:
            nonlocal lost
            try:
                obstore().put(client(base), path, data, mode="create", use_multipart=False)
            except obstore().exceptions.AlreadyExistsError:
                return lost and bytes(self.get_ranges(url, [(0, self.size(url))])[0]) == data
            except _errors() as error:
                lost = True
                raise _meaning(error, url) from error
            return True

        return retry(put)

    def entries(self, url_prefix: str) -> Iterator[Entry]:
        base, prefix = place(url_prefix)
        if base.startswith("http"):
            raise OSError(
                f"{url_prefix}: HTTP has no listings: name the files one by one, in a table say, or the store behind "
                "the server, as s3://bucket/folder"
            )
        stream, last = None, None

        def page() -> Sequence[Any]:
            nonlocal stream
            try:
                stream = stream or obstore().list(client(base), prefix, offset=last, chunk_size=LISTED)
                return next(stream, ())
            except _errors() as error:
                stream = None  # the next one begins behind what has come
                raise _meaning(error, url_prefix) from error

        while found := retry(page):
            for meta in found:
                yield Entry(f"{base}/{meta['path']}", meta["size"], _quoted(meta["e_tag"]))
            last = found[-1]["path"]


def _group(url: str, store: Any, path: str, ranges: Sequence[Range]) -> Sequence[memoryview | OSError]:
    """What came of ranges that obstore asks for at once; an error is all of theirs."""
    starts, lengths = zip(*ranges, strict=True)
    try:
        found = obstore().get_ranges(store, path, starts=starts, lengths=lengths, coalesce=0)
    except _errors() as error:
        return [_because(error, url, at(url, ranges[0]))] * len(ranges)
    return [memoryview(each) for each in found]


def _bound(url: str, store: Any, path: str, wanted: Range, etag: str) -> memoryview | OSError:
    """The range of the object that has this ETag; a weak one can't be asked for (RFC 9110, 13.1.1), only compared."""
    offset, size = wanted
    options = {"range": (offset, offset + size)}
    answer = obstore().get(store, path, options=options if etag.startswith("W/") else {**options, "if_match": etag})
    return memoryview(answer.bytes()) if _quoted(answer.meta["e_tag"]) == etag else replaced(url)


def _quoted(etag: str | None) -> str | None:
    """An ETag as HTTP has it: Azure's listings leave out its quotes."""
    return etag if etag is None or etag.endswith('"') else f'"{etag}"'


def _by_parts(storage: Storage, url: str, stat: Stat, file: BinaryIO) -> bool:
    """Fills the file by many requests at once; False from a server that knows no ranges."""

    def copy(offset: int) -> None:
        [part] = storage.get_ranges(url, [(offset, min(PART, stat.size - offset))], stat.etag)
        while part:  # a disk that is nearly full takes some of it, and says what is wrong the next time
            written = os.pwrite(file.fileno(), part, offset)
            part, offset = part[written:], offset + written

    try:
        copy(0)
    except _NoRangesError:
        return False
    parts = [obstore_client.threads().submit(copy, offset) for offset in range(PART, stat.size, PART)]
    failed = any(part.exception() for part in wait(parts, return_when=FIRST_EXCEPTION).done)
    for part in parts:
        if failed:
            part.cancel()
    wait(parts)  # those that have begun write into the file
    for part in parts:
        if not part.cancelled():
            part.result()
    return True


def _stream(url: str, stat: Stat, file: BinaryIO) -> None:
    """Fills the file by one request."""
    file.seek(0)
    file.writelines(_chunks(url, stat))
    if file.tell() != stat.size:
        raise TransientError(f"{url}: {file.tell()} bytes came of {stat.size}")


def _chunks(url: str, stat: Stat) -> Iterator[bytes]:
    """What is in the object, as it comes; errors of whoever writes it are not ours."""
    base, path = place(url)
    try:
        answer = obstore().get(client(base), path)
        same = (answer.meta["size"], _quoted(answer.meta["e_tag"])) == stat
        yield from answer.stream() if same else ()
    except _errors() as error:
        raise _meaning(error, url) from error
    if not same:
        raise replaced(url)


class _NoRangesError(OSError):
    """A server that answers a part with the whole."""


def _errors() -> tuple[type[Exception], ...]:
    """What obstore raises: its own, built-in ones for what is not there, and for names and modes that are not known."""
    return (obstore().exceptions.BaseError, OSError, ValueError, NotImplementedError)


def _meaning(error: Exception, url: str, where: str = "") -> OSError:
    """The error in our words; TransientError if the request may go better another time."""
    exceptions, cause = obstore().exceptions, _cause(str(error))
    said = re.search(r"status code: (\d+)", cause)
    status = int(said[1]) if said else 0
    where = where or url
    if isinstance(error, FileNotFoundError) or status == 404:
        return not_there(url)
    if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError) or status == 403:
        return not_allowed(url, cause)
    if isinstance(error, exceptions.PreconditionError):
        return replaced(url) if _is_there(url) else not_there(url)
    if status == 416:
        return ReplacedError(
            f"{where}: the file ends before: it was replaced, or what says where its samples lie is wrong"
        )
    if isinstance(error, exceptions.NotSupportedError):
        return _NoRangesError(f"{where}: {cause}: the server only gives whole files")
    cause = _with_remedy(cause, str(error))
    if may_go_better(status) or (not status and re.search(_LOST, str(error))):
        return TransientError(f"{where}: {cause}")
    return OSError(f"{where}: {cause}")


def _is_there(url: str) -> bool:
    """Whether an object is there: of one that is not Azure says only that it has another ETag."""
    base, path = place(url)
    try:
        obstore().head(client(base), path)
    except FileNotFoundError:
        return False
    except _errors():
        return True  # or nobody knows
    return True


def _with_remedy(cause: str, details: str) -> str:
    """The cause, and what to do, where obstore leaves that open."""
    if "169.254.169.254" in cause:
        return f"no credentials in the environment (AWS_SKIP_SIGNATURE=true is for public buckets), and {cause}"
    if "incorrectly configured region" in cause:
        return f"{cause}: say the bucket's by AWS_REGION"
    if "BadScheme" in details:
        return "the endpoint does not speak HTTPS: AWS_ALLOW_HTTP=true (or GOOGLE_, AZURE_) says that it need not"
    return cause


def _because(error: Exception, url: str, where: str) -> OSError:
    """The error in our words, and behind it the one that it was."""
    meaning = _meaning(error, url, where)
    meaning.__cause__ = error
    return meaning


def _cause(message: str) -> str:
    """What obstore says, without its name for it, and with what the system said, which it only shows to programmers."""
    said, _, details = message.partition("\n\nDebug source")
    said = re.sub(r"^Generic \w+ error: |Error performing \w+ \S+ in \S+ - ", "", said).strip(" :\n")
    system = re.search(r'(?:message|error): "([^"]+)"|(TimedOut)', details)
    return f"{said}: {system[1] or 'no answer in time'}" if system else said


# In obstore's errors without a status: a connection that failed or was silent, and a range that came in part. Their
# types tell them only from wrong URLs and missing settings, which don't go better, in what is printed of them.
_LOST = (
    r"HttpError \{\s+kind: (Connect|Request|Timeout|Interrupted|Unknown|Decode)(?![^}]*kind: Builder)|UnexpectedRange"
)
