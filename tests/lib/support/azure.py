"""Azurite, Microsoft's own emulator of Azure's blob storage, on loopback."""

import base64
import hmac
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

from support.servers import PATIENCE, _process, free_ports
from support.tars import tool

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The account that every Azurite has, as its documentation says."""


class Azure(NamedTuple):
    """A server that speaks Azure's protocol."""

    port: int

    @property
    def environment(self) -> dict[str, str]:
        """What obstore needs in its environment to find it."""
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": KEY,
            "AZURE_ENDPOINT": f"http://127.0.0.1:{self.port}/{ACCOUNT}",
            "AZURE_ALLOW_HTTP": "true",
        }

    def make_container(self, name: str) -> str:
        """Its URL, such as az://name; one that is there already is as good."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("PUT", f"/{ACCOUNT}/{name}?restype=container", b"", _signed(name))
            status = connection.getresponse().status
        finally:
            connection.close()
        if status not in (201, 409):  # made, or there
            raise OSError(f"no container {name}: status {status}")
        return f"az://{name}"


def _signed(container: str) -> dict[str, str]:
    """The headers of a request that makes a container, signed by the account's key ("Authorize with Shared Key")."""
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    lines = ["PUT", *[""] * 11, *(f"{name}:{value}" for name, value in headers.items())]
    lines += [f"/{ACCOUNT}/{ACCOUNT}/{container}", "restype:container"]
    digest = hmac.digest(base64.b64decode(KEY), "\n".join(lines).encode(), "sha256")
    return {**headers, "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"}


@contextmanager
def azurite(folder: Path) -> Iterator[Azure]:
    """A server with its data in `folder`; a skip where there is no `azurite-blob`."""
    (port,) = free_ports(1)
    command = [tool("azurite-blob"), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder)]
    command += ["--skipApiVersionCheck", "--disableTelemetry"]
    with (folder / "azurite.log").open("wb") as log, _process(command, stdout=log) as process:
        store, deadline = Azure(port), time.monotonic() + PATIENCE
        while True:
            try:
                store.make_container("first")
                break
            except OSError:  # it does not listen yet
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"it did not start:\n{(folder / 'azurite.log').read_text()}") from None
                time.sleep(0.05)
        yield store
