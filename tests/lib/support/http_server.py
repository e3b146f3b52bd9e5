"""An HTTP server on loopback that holds files, or stands before another server, and fails by script.

    with serving_files() as server:
        url = server.put("photos/train.tar", content)
        server.faults = [Fault(status=503), Fault(cut=100), Fault()]    # of the next three requests; later ones succeed
        ...
        assert [request.range for request in server.requests] == [(0, 100), (0, 100), (0, 100)]

It speaks HTTP/1.1 with ranges, ETags, If-Match, and PUT with If-None-Match; it runs in threads of this process, so a
test can look into it. Thousands of requests a second are no burden to it.
"""

import http.client
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from typing import BinaryIO, NamedTuple
from urllib.parse import unquote, urlsplit

PATIENCE = 60.0


class Fault(NamedTuple):
    """What goes wrong with one answer. Without arguments nothing does: `[Fault(), Fault(status=500)]`."""

    status: int = 0  # this status, without a body, in place of the answer
    delay: float = 0.0  # seconds before anything is answered
    drop: bool = False  # the connection is closed, and nothing is answered
    lost: bool = False  # the request is carried out, and nothing is answered
    cut: int = 0  # so many bytes at the body's end never come, though the header promised them: then it is closed
    short: int = 0  # so many bytes fewer are answered than were asked for, and the header says so
    retry_after: str = ""  # the header of that name
    flip: int | None = None  # the byte at this place of the body is another, and nothing says so


class Request(NamedTuple):
    """One that came, failed ones too; `headers` have lower-case names."""

    method: str
    path: str  # with its query, as it came
    headers: dict[str, str]
    body: bytes

    @property
    def range(self) -> tuple[int, int] | None:
        """The range asked for: first byte, and the one after the last."""
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range", ""))
        return (int(found[1]), int(found[2]) + 1) if found else None


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes = b""


class Files:
    """Answers requests with the files of a dict; what is PUT is in it afterwards."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.etags: dict[str, str] = {}

    def put(self, path: str, content: bytes) -> None:
        self.contents[path] = content
        self.etags[path] = f'"{blake2b(content, digest_size=8).hexdigest()}"'

    def __call__(self, request: Request) -> Answer:
        path = unquote(urlsplit(request.path).path).lstrip("/")
        if request.method == "PUT":
            if request.headers.get("if-none-match") == "*" and path in self.contents:
                return Answer(412, {})
            self.put(path, request.body)
            return Answer(201, {"ETag": self.etags[path]})
        if request.method not in ("GET", "HEAD"):
            return Answer(405, {})
        return self._read(request, path)

    def _read(self, request: Request, path: str) -> Answer:
        if path not in self.contents:
            return Answer(404, {})
        content, etag = self.contents[path], self.etags[path]
        if request.headers.get("if-match", etag) != etag:
            return Answer(412, {})
        headers = {"ETag": etag, "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT", "Accept-Ranges": "bytes"}
        if request.range is None:
            return Answer(200, headers, content)
        start, end = request.range[0], min(request.range[1], len(content))
        if start >= len(content):
            return Answer(416, {"Content-Range": f"bytes */{len(content)}"})
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
        return Answer(206, headers, content[start:end])


def forward(endpoint: str) -> Callable[[Request], Answer]:
    """Answers with what the server at `endpoint` answers: a proxy."""
    address = urlsplit(endpoint).netloc

    def answer(request: Request) -> Answer:
        connection = http.client.HTTPConnection(address, timeout=PATIENCE)
        try:
            connection.request(request.method, request.path, request.body, request.headers)
            response = connection.getresponse()
            framing = {"transfer-encoding", *(["content-length"] if request.method != "HEAD" else [])}
            headers = {name: value for name, value in response.getheaders() if name.lower() not in framing}
            return Answer(response.status, headers, response.read())
        finally:
            connection.close()

    return answer


class Server:
    """An HTTP server of a thread for each connection; `with` ends them. `requests` has all that came, `faults` those of
    the next ones."""

    def __init__(self, answer: Callable[[Request], Answer]) -> None:
        self.answer = answer
        self.faults: list[Fault] = []
        self.always = Fault()  # of requests when `faults` are used up
        self.script: Callable[[Request], Fault] | None = None  # what goes wrong with those, in place of `always`
        self.requests: list[Request] = []
        self.together = 0  # nothing is answered before so many requests have come
        self._came = threading.Condition()
        self._ended = threading.Event()
        self._connections: dict[threading.Thread, socket.socket] = {}

    def put(self, path: str, content: bytes) -> str:
        """Holds the file from now on; the URL of it."""
        assert isinstance(self.answer, Files)
        self.answer.put(path, content)
        return self.url(path)

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    def count(self, method: str = "GET") -> int:
        return sum(request.method == method for request in self.requests)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """A block in which nothing is answered."""
        self.together = sys.maxsize
        try:
            yield
        finally:
            with self._came:
                self.together = 0
                self._came.notify_all()

    @property
    def connections(self) -> int:
        """How many are open, each with a thread."""
        return len(self._connections)

    def __enter__(self) -> "Server":
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self._listening.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, name="http server")
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        with self._came:
            self._came.notify_all()
        self._listening.shutdown(socket.SHUT_RDWR)  # which `accept` returns from
        self._accepting.join()
        self._listening.close()
        for thread, connection in list(self._connections.items()):
            with suppress(OSError):  # closed by now
                connection.shutdown(socket.SHUT_RDWR)
            thread.join()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return  # shut down
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._converse, args=(connection,), name="http connection")
            self._connections[thread] = connection
            thread.start()

    def _converse(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reader, suppress(ConnectionError):  # the client is gone
            while (request := _request(reader)) and self._exchange(request, connection):
                pass
        self._connections.pop(threading.current_thread(), None)

    def _exchange(self, request: Request, connection: socket.socket) -> bool:
        """Answers one request; whether another one may come by this connection."""
        with self._came:
            self.requests.append(request)
            fault = self._fault(request)
            self._came.notify_all()
            self._came.wait_for(lambda: len(self.requests) >= self.together or self._ended.is_set())
        if fault.delay:
            self._ended.wait(fault.delay)
        if fault.drop:
            return False
        if fault.status:
            answer = Answer(fault.status, {"Retry-After": fault.retry_after} if fault.retry_after else {})
        else:
            answer = self.answer(request)
        if fault.lost:
            return False
        answer = _flipped(_shortened(answer, fault.short), fault.flip)
        connection.sendall(_as_bytes(answer, request.method, fault.cut))
        return not fault.cut

    def _fault(self, request: Request) -> Fault:
        if self.faults:
            return self.faults.pop(0)
        return self.script(request) if self.script else self.always


def _request(reader: BinaryIO) -> Request | None:
    """The next one; None where the client has closed the connection, or closes it before all of it came."""
    lines = []
    while (line := reader.readline()) not in (b"\r\n", b""):
        lines.append(line.decode("latin-1").removesuffix("\r\n"))
    if not lines or not line:
        return None
    method, path, _ = lines[0].split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    size = int(headers.get("content-length", "0"))
    body = reader.read(size)
    return Request(method, path, headers, body) if len(body) == size else None


def _shortened(answer: Answer, fewer: int) -> Answer:
    """The answer with `fewer` bytes at its end less, and headers that say so."""
    if not fewer:
        return answer
    ranges = answer.headers.get("Content-Range", "")
    said = re.sub(r"-(\d+)/", lambda last: f"-{int(last[1]) - fewer}/", ranges)
    return answer._replace(headers={**answer.headers, "Content-Range": said}, body=answer.body[:-fewer])


def _flipped(answer: Answer, place: int | None) -> Answer:
    """The answer with another byte at a place of its body, where it has that."""
    if place is None or place >= len(answer.body):
        return answer
    body = bytearray(answer.body)
    body[place] ^= 1
    return answer._replace(body=bytes(body))


def _as_bytes(answer: Answer, method: str, cut: int) -> bytes:
    headers = {"Content-Length": str(len(answer.body)), **answer.headers}
    lines = [f"HTTP/1.1 {answer.status} {http.client.responses.get(answer.status, '')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    body = b"" if method == "HEAD" else answer.body[: len(answer.body) - cut]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


@contextmanager
def serving_files() -> Iterator[Server]:
    """A server of files, while the `with` block lasts."""
    with Server(Files()) as server:
        yield server


@contextmanager
def serving_faults_of(endpoint: str) -> Iterator[Server]:
    """A server that answers as the one at `endpoint` does, and can be made to fail."""
    with Server(forward(endpoint)) as server:
        yield server
