"""An HTTP server on loopback that holds files, or stands before another server, and fails by script.

    with serving_files() as server:
        url = server.put("photos/train.tar", content)
        server.faults = [Fault(status=503), Fault(cut=100), Fault()]    # of the next three requests; later ones succeed
        ...
        assert [request.range for request in server.requests] == [(0, 100), (0, 100), (0, 100)]

It speaks HTTP/1.1 with ranges, ETags, If-Match, and PUT with If-None-Match; it runs in a thread of this process, so a
test can look into it. Thousands of requests a second are no burden to it.
"""

import asyncio
import http.client
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from typing import NamedTuple
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
            headers = {name: value for name, value in response.getheaders() if name.lower() != "transfer-encoding"}
            return Answer(response.status, headers, response.read())
        finally:
            connection.close()

    return answer


class Server:
    """An HTTP server of a thread; `with` ends it. `requests` has all that came, `faults` those of the next ones."""

    def __init__(self, answer: Callable[[Request], Answer]) -> None:
        self.answer, self.blocking = answer, not isinstance(answer, Files)
        self.faults: list[Fault] = []
        self.always = Fault()  # of requests when `faults` are used up
        self.requests: list[Request] = []
        self._started, self._loop = threading.Event(), asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="http server")

    def put(self, path: str, content: bytes) -> str:
        """Holds the file from now on; the URL of it."""
        assert isinstance(self.answer, Files)
        self.answer.put(path, content)
        return self.url(path)

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    def count(self, method: str = "GET") -> int:
        return sum(request.method == method for request in self.requests)

    def __enter__(self) -> "Server":
        self._thread.start()
        assert self._started.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._main.cancel)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        self._main = self._loop.create_task(self._serve())
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._main)
        if connections := asyncio.all_tasks(self._loop):
            for connection in connections:
                connection.cancel()
            self._loop.run_until_complete(asyncio.wait(connections))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        try:
            await asyncio.get_running_loop().create_future()  # until it is cancelled
        finally:
            server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is gone
        except asyncio.CancelledError:
            pass  # the server ends; in Python 3.11 streams would report that as an error
        finally:
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answers one request; whether another one may come by this connection."""
        request = await _request(reader)
        self.requests.append(request)
        fault = self.faults.pop(0) if self.faults else self.always
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.drop:
            return False
        if fault.status:
            answer = Answer(fault.status, {"Retry-After": fault.retry_after} if fault.retry_after else {})
        elif self.blocking:
            answer = await asyncio.to_thread(self.answer, request)
        else:
            answer = self.answer(request)
        if fault.lost:
            return False
        writer.write(_as_bytes(_shortened(answer, fault.short), request.method, fault.cut))
        await writer.drain()
        return not fault.cut


async def _request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    return Request(method, path, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


def _shortened(answer: Answer, fewer: int) -> Answer:
    """The answer with `fewer` bytes at its end less, and headers that say so."""
    if not fewer:
        return answer
    ranges = answer.headers.get("Content-Range", "")
    said = re.sub(r"-(\d+)/", lambda last: f"-{int(last[1]) - fewer}/", ranges)
    return answer._replace(headers={**answer.headers, "Content-Range": said}, body=answer.body[:-fewer])


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
