"""Object stores on loopback, each in a process of its own that ends when this one does, however it ends."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from support.tars import tool

PATIENCE = 60.0  # seconds after which a server that does not answer never will
LOWEST_PORT, LOWEST_OF_SYSTEM = 10_000, int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
"""From here on programs ask for ports by number; from there on the system gives them to whoever asks for any."""

_MOTO = """
import contextlib, logging, sys, threading
logging.getLogger("werkzeug").setLevel(logging.ERROR)
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0)
with contextlib.redirect_stdout(sys.stderr):
    server.start()
print(server.get_host_and_port()[1], flush=True)
threading.Event().wait()
"""


class S3(NamedTuple):
    """A server that speaks S3, and takes any credentials."""

    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        """What programs, obstore and boto3 need in their environment to find it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def make_bucket(self, name: str) -> str:
        """Its URL, such as s3://name, of three characters or more; one that is there already is as good."""
        connection = HTTPConnection(urlsplit(self.endpoint).netloc, timeout=PATIENCE)
        try:
            connection.request("PUT", f"/{name}", b"")
            status = connection.getresponse().status
        finally:
            connection.close()
        if status not in (200, 409):  # made, or there
            raise OSError(f"no bucket {name}: status {status}")
        return f"s3://{name}"


@contextmanager
def moto() -> Iterator[S3]:
    """moto's server: S3 in memory."""
    with _process([sys.executable, "-P", "-c", _MOTO], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with process.stdout as output:
            port = output.readline().decode().strip()
        assert port, "moto's server did not start: is moto[server] installed?"
        yield S3(f"http://127.0.0.1:{port}")


@contextmanager
def seaweed(folder: Path) -> Iterator[S3]:
    """SeaweedFS: a real object store, with its data in `folder`; a skip where there is no `weed`."""
    parts = ["master", "volume", "filer", "s3"]
    ports = free_ports(2 * len(parts))
    command = [tool("weed"), "-logtostderr=true", "server", "-filer", "-s3", f"-dir={folder}"]
    command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]
    command += ["-master.volumeSizeLimitMB=64", "-volume.max=64", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    for part, port, grpc in zip(parts, ports[::2], ports[1::2], strict=True):
        command += [f"-{part}.port={port}", f"-{part}.port.grpc={grpc}"]
    with (folder / "weed.log").open("wb") as log, _process(command, stdout=log) as process:
        store = S3(f"http://127.0.0.1:{ports[-2]}")
        _wait_for(store, process, folder / "weed.log")
        yield store


def _wait_for(store: S3, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Until it has made a bucket, which needs all of its parts."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            store.make_bucket("first")
            return
        except (OSError, HTTPException):  # it does not listen yet, or not all of it is there
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"it did not start:\n{log.read_text()[-2000:]}") from None
            time.sleep(0.05)


@contextmanager
def _process(command: list[str], stdout: object) -> "Iterator[subprocess.Popen[bytes]]":
    """A process that is killed at the end of the block, or when this process dies."""
    stderr = subprocess.DEVNULL if stdout is subprocess.PIPE else subprocess.STDOUT
    process = subprocess.Popen(command, stdout=stdout, stderr=stderr, preexec_fn=_dies_with(os.getpid()))  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.kill()  # SIGTERM takes SeaweedFS 20 seconds
        process.wait()


def _dies_with(parent: int) -> object:
    """What a child does before it becomes another program, for the kernel to end it with the thread that made it."""
    prctl = ctypes.CDLL(None).prctl

    def die() -> None:
        prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # which had died before
            os._exit(1)

    return die


def free_ports(number: int, system: int = LOWEST_OF_SYSTEM) -> list[int]:
    """Ports that are free, and stay so until a server has them: each process of tests looks in a place of its own.

    Below those of the `system`, where there are enough; the rest are what it gives.
    """
    among, first = system - LOWEST_PORT, os.getpid() * 64
    with ExitStack() as opened:
        servers = list[socket.socket]()  # open until all are found, so that no port is found twice
        for place in range(among):
            if len(servers) == number:
                break
            with suppress(OSError):
                server = socket.create_server(("127.0.0.1", LOWEST_PORT + (first + place) % among))
                servers.append(opened.enter_context(server))
        while len(servers) < number:
            servers.append(opened.enter_context(socket.create_server(("127.0.0.1", 0))))
        return [server.getsockname()[1] for server in servers]
