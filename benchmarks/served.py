"""nginx on loopback, which serves a folder without copying its files, and says what it took (Debian: nginx).

With a latency it waits before each answer (Debian: libnginx-mod-http-echo).
"""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

MODULES = "/usr/lib/nginx/modules"
CONFIGURATION = """
{load}
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/errors;
events {{ worker_connections 4096; }}
http {{
    access_log off; sendfile on; keepalive_requests 1000000000; keepalive_timeout 600; open_file_cache max=1000;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{
        listen 127.0.0.1:{port} backlog=4096; root {root};
        location = /status {{ stub_status; }}
        {locations}
    }}
}}
"""


class Served(NamedTuple):
    """A folder that a server with these processes serves."""

    url: str
    pids: tuple[int, ...]

    def requests(self) -> int:
        with closing(HTTPConnection(self.url.removeprefix("http://"))) as connection:
            connection.request("GET", "/status")
            return int(re.findall(rb"\n \d+ \d+ (\d+)", connection.getresponse().read())[0])

    def seconds(self) -> float:
        """Of CPU that it has taken."""
        return sum(cpu_seconds(pid) for pid in self.pids)


def nginx() -> str | None:
    """Its program; None where it is not installed. (Debian has it in a folder that is not on a user's path.)"""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(root: Path, folder: Path, latency: float = 0.0, modules: str = MODULES) -> Iterator[Served]:
    """nginx, which serves `root` and waits so many seconds before each answer; its own files lie in `folder`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    how = (
        {"load": "", "locations": ""}
        if not latency
        else {
            "load": f"load_module {modules}/ngx_http_echo_module.so;",
            "locations": f"location / {{ echo_sleep {latency}; echo_exec @file; }} location @file {{ }}",
        }
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, port=port, root=root, **how))
    with subprocess.Popen([nginx() or "nginx", "-c", configuration, "-e", folder / "errors"]) as server:
        try:
            wait_for(port, server)
            children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
            yield Served(f"http://127.0.0.1:{port}", (server.pid, *map(int, children)))
        finally:
            server.terminate()


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
