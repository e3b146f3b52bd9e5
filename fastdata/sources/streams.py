"""Shards that come by a stream, which can't be sought: standard input, or what a command writes."""

import os
import signal
import subprocess
import sys
from collections.abc import Container, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

from fastdata.errors import TarError
from fastdata.sources.regular import MAX_BYTES
from fastdata.sources.tars.forward import Forward
from fastdata.sources.tars.tar import Member
from fastdata.sources.tars.webdataset import groups, split_name
from fastdata.sources.urls import Urls, as_list

STDIN, PIPE = "-", "pipe:"


class StreamedSample(NamedTuple):
    """A sample: `where` is its stream and offset.

    `sizes` has the bytes of all of its components by extension, `parts` those themselves that were asked for.
    """

    key: str
    where: str
    sizes: dict[str, int]
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


def stream_samples(url: str, extensions: Container[str], limit: int = MAX_BYTES) -> Generator[StreamedSample]:
    """The samples of a stream in their order, in WebDataset's layout; the whole stream is read.

    Of components that have other extensions, or more than `limit` bytes, only the sizes are kept. Whoever closes it
    ends the command. TarError for what is wrong with it, as of a shard; OSError where the command ends with another
    status than 0.
    """
    with _opened(url) as forward:
        data: dict[int, bytes] = {}

        def take(member: Member) -> None:
            _, extension = split_name(member.name) or ("", "")
            if extension not in extensions or member.size > limit:
                return
            data[member.offset] = part = forward.read(member.size, member.offset)
            if len(part) < member.size:
                problem = f"member {member.name!r} of {member.size} bytes runs past the stream's end"
                raise TarError.at(url, member.start, f"{problem}: cut short")

        for key, start, members in groups(forward, url, take):
            sizes = {extension: member.size for extension, member in members.items()}
            parts = {each: data.pop(member.offset) for each, member in members.items() if member.offset in data}
            yield StreamedSample(key, f"{url}, offset {start}", sizes, parts)


@contextmanager
def _opened(url: str) -> Iterator[Forward]:
    if url == STDIN:
        yield Forward(sys.stdin.buffer)
        return
    command = url.removeprefix(PIPE)
    with subprocess.Popen(command, shell=True, stdout=subprocess.PIPE, start_new_session=True) as process:  # noqa: S602 -- allowed
        forward = Forward(_of(process))
        try:
            yield forward
        except TarError as error:
            if forward.ended and process.wait():  # then the output is not what is wrong
                raise _failed(url, process) from error
            _kill(process)
            raise
        except BaseException:
            _kill(process)
            raise
        if process.wait():
            raise _failed(url, process)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Ends the shell, and all that it has begun, for which it was given a session of its own."""
    if process.poll() is None:  # nor, after a fork, that of the parent
        os.killpg(process.pid, signal.SIGKILL)


def _of(process: "subprocess.Popen[bytes]") -> BinaryIO:
    assert process.stdout is not None  # noqa: S101 -- for type checkers
    return process.stdout  # type: ignore[return-value]


def _failed(url: str, process: "subprocess.Popen[bytes]") -> OSError:
    return OSError(f"{url}: the command ended with status {process.returncode}: what it wrote may not be all")
