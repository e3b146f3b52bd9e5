"""A server on loopback of files by range, that counts and can be told to misbehave; and pieces of such files."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import numpy as np
from xxhash import xxh3_64_intdigest

from fastdata.sources.node.sparse import Piece, RemoteFile


def content(seed: int, size: int) -> bytes:
    """Bytes that are the same for a seed, and no zeros."""
    return np.random.default_rng(seed).integers(1, 256, size, np.uint8).tobytes()


class RangeServer(ThreadingHTTPServer):
    """Serves `files` by their path, and remembers in `ranges` what was asked for, as (path, first, end).

    `flips` says for how many answers to come a byte at an offset of a path is another, `held` keeps answers back.
    """

    daemon_threads = False  # closing waits for the last answer

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.files: dict[str, bytes] = {}
        self.ranges: list[tuple[str, int, int]] = []
        self.flips: dict[tuple[str, int], int] = {}
        self.broken: set[str] = set()
        self.held = threading.Event()
        self.held.set()

    def add(self, path: str, data: bytes) -> RemoteFile:
        self.files[path] = data
        return RemoteFile(f"http://127.0.0.1:{self.server_port}/{path}", len(data), f"content of {path}")

    def times_served(self) -> int:
        """How often the byte that was served most often was served."""
        served: Counter[tuple[str, int]] = Counter()
        for path, first, end in self.ranges:
            served.update((path, at) for at in range(first, end, 256))
        return max(served.values(), default=0)

    def bytes_served(self) -> int:
        return sum(end - first for _, first, end in self.ranges)


class _Answer(BaseHTTPRequestHandler):
    server: RangeServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        path = self.path.lstrip("/")
        first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        self.server.held.wait()
        data = bytearray(self.server.files[path][first : last + 1])
        self.server.ranges.append((path, first, first + len(data)))
        for (flipped, at), times in self.server.flips.items():
            if flipped == path and first <= at <= last and times:
                self.server.flips[flipped, at] -= 1
                data[at - first] ^= 1
        self.send_response(500 if path in self.server.broken else 206)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Tests' output stays their own."""


@contextmanager
def serving_ranges() -> Iterator[RangeServer]:
    """A server, while the `with` block lasts."""
    with RangeServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.held.set()
            server.shutdown()
            thread.join()


def pieces_of(file: RemoteFile, data: bytes, ends: list[int]) -> list[Piece]:
    """The file cut at `ends`, of which the last one is its size."""
    return [
        Piece(file, begin, end - begin, xxh3_64_intdigest(data[begin:end]))
        for begin, end in zip([0, *ends], ends, strict=False)
    ]


def cut(file: RemoteFile, data: bytes, seed: int = 0, size: int = 28_000) -> list[Piece]:
    """The file in pieces of about `size` bytes, whose ends are multiples of 512, as samples in a tar have them."""
    rng = np.random.default_rng(seed)
    ends = np.cumsum(rng.integers(max(size // 1024, 1), size * 3 // 1024 + 1, len(data) * 4 // size + 1)) * 512
    return pieces_of(file, data, [int(end) for end in ends if end < len(data)] + [len(data)])


class HttpRanges:
    """A storage of the least sort."""

    def get_ranges(self, url: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        where = urlsplit(url)
        connection = HTTPConnection(where.netloc)
        try:
            return [self._get(connection, where.path, offset, size) for offset, size in ranges]
        finally:
            connection.close()

    def _get(self, connection: HTTPConnection, path: str, offset: int, size: int) -> bytes:
        connection.request("GET", path, headers={"Range": f"bytes={offset}-{offset + size - 1}"})
        with connection.getresponse() as response:
            data = response.read()
            if response.status != 206:
                raise OSError(f"{path}: status {response.status}")
        return data
