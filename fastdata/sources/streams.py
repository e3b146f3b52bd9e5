"""Shards that come by a stream, which can't be sought: standard input, or what a command writes."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

from fastdata.errors import TarError
from fastdata.sources.regular import MAX_BYTES
from fastdata.sources.tars.tar import Forward, Member
from fastdata.sources.tars.webdataset import groups
from fastdata.sources.urls import Urls, as_list

STDIN, PIPE = "-", "pipe:"


class StreamedSample(NamedTuple):
    """A sample's components by extension; `where` is its stream and offset."""

    key: str
    where: str
    parts: dict[str, bytes]


def is_stream(url: str) -> bool:
    """Whether a URL is webdataset's name of standard input, or of what a command writes."""
    return url == STDIN or url.startswith(PIPE)


def streams_in(urls: Urls, *, allow_pipe: bool) -> Sequence[str]:
    """The streams, if `urls` names such. ValueError for some among shards, and for a command that nobody allowed."""
    given = as_list(urls)
    for url in given:
        if not is_stream(url):
            raise ValueError(f"{url!r} is a shard among streams: name shards, which can be sought, by themselves")
        if url.startswith(PIPE) and not allow_pipe:
            raise ValueError(
                f"{url!r} would run a command: say allow_pipe=True if you trust it, or name the file, which can be "
                "shuffled and resumed"
            )
    if given.count(STDIN) > 1:
        raise ValueError("there is one standard input: name '-' once")
    return given


def stream_samples(url: str) -> Iterator[StreamedSample]:
    """The samples of a stream in their order, in WebDataset's layout; the whole stream is read.

    TarError for what is wrong with it, as of a shard; OSError where the command ends with another status than 0.
    """
    with _opened(url) as forward:
        data: dict[int, bytes] = {}

        def take(member: Member) -> None:
            if member.size > MAX_BYTES:
                raise TarError.at(url, member.start, f"member {member.name!r} has more than {MAX_BYTES} bytes")
            data[member.offset] = part = forward.read(member.size, member.offset)
            if len(part) < member.size:
                problem = f"member {member.name!r} of {member.size} bytes runs past the stream's end"
                raise TarError.at(url, member.start, f"{problem}: cut short")

        for key, start, members in groups(forward, url, take):
            parts = {extension: data.pop(member.offset) for extension, member in members.items()}
            yield StreamedSample(key, f"{url}, offset {start}", parts)


@contextmanager
def _opened(url: str) -> Iterator[Forward]:
    if url == STDIN:
        yield Forward(sys.stdin.buffer)
        return
    with subprocess.Popen(url.removeprefix(PIPE), shell=True, stdout=subprocess.PIPE) as process:  # noqa: S602 -- allowed
        forward = Forward(_of(process))
        try:
            yield forward
        except TarError as error:
            if forward.ended and process.wait():  # then the output is not what is wrong
                raise _failed(url, process) from error
            process.kill()
            raise
        except BaseException:
            process.kill()
            raise
        if process.wait():
            raise _failed(url, process)


def _of(process: "subprocess.Popen[bytes]") -> BinaryIO:
    assert process.stdout is not None  # noqa: S101 -- for type checkers
    return process.stdout  # type: ignore[return-value]


def _failed(url: str, process: "subprocess.Popen[bytes]") -> OSError:
    return OSError(f"{url}: the command ended with status {process.returncode}: what it wrote may not be all")
