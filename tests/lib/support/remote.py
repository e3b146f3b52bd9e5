"""A server on loopback that has shards, for tests of what is read from elsewhere."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT = bytes(range(256)) * 4096  # 1 MiB


class Remote(ThreadingHTTPServer):
    """Serves CONTENT at any path that ends in .tar on loopback; `cut` of its bytes never come."""

    daemon_threads = False  # closing waits for the last answer
    cut = 0
    silent_about_size = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.downloads = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class _Answer(BaseHTTPRequestHandler):
    server: Remote

    def _head(self) -> bool:
        found = self.path.partition("?")[0].endswith(".tar")
        self.send_response(200 if found else 404)
        if not (found and self.server.silent_about_size):
            self.send_header("Content-Length", str(len(CONTENT) if found else 0))
        self.end_headers()
        return found

    def do_HEAD(self) -> None:
        self._head()

    def do_GET(self) -> None:
        if self._head():
            self.server.downloads += 1
            self.wfile.write(CONTENT[: len(CONTENT) - self.server.cut])

    def log_message(self, *_: object) -> None:
        """Tests' output stays their own."""


@contextmanager
def serving() -> Iterator[Remote]:
    """A server, while the `with` block lasts."""
    with Remote() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
