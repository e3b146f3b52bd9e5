"""Hashes of whole files, as a dataset's json names them: `xxh3_128:<32 hex>`, or `sha256:<64 hex>`.

xxh3_128 (xxhash.com) tells damage and mix-ups at the speed of memory; it is no defence against who forges a file, for
which there is sha256.
"""

import hashlib
import os
from typing import Literal, Protocol, get_args

import xxhash

Algorithm = Literal["xxh3_128", "sha256"]
DEFAULT: Algorithm = "xxh3_128"
PATTERN = r"^(xxh3_128:[0-9a-f]{32}|sha256:[0-9a-f]{64})\Z"
"""What a hash with its algorithm looks like."""

_CHUNK = 1 << 20  # bytes that are read and hashed at once: they stay in a core's cache


class Hasher(Protocol):
    """What hashlib and xxhash have in common."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


def hasher(algorithm: str) -> Hasher:
    """Hashes what `update` is given; ValueError for an algorithm that is none of `Algorithm`."""
    match algorithm:
        case "xxh3_128":
            return xxhash.xxh3_128()
        case "sha256":
            return hashlib.sha256()
    raise ValueError(f"a hash must be one of {', '.join(get_args(Algorithm))}, not {algorithm!r}")


def named(algorithm: str, digest: str) -> str:
    """A hash as a json has it."""
    return f"{algorithm}:{digest}"


def hash_of(fd: int, like: str) -> str:
    """The hash of an open file's bytes, from its start, by the algorithm that made `like`; OSError as reading does."""
    algorithm = like.partition(":")[0]
    made, at = hasher(algorithm), 0
    while data := os.pread(fd, _CHUNK, at):
        made.update(data)
        at += len(data)
    return named(algorithm, made.hexdigest())
