"""nginx on loopback: a plain HTTP server of a folder's files, which takes PUT, too."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from support.servers import PATIENCE, _process, free_ports
from support.tars import tool

_CONFIGURATION = """
daemon off; {user} master_process off; pid {base}/pid; error_log stderr;
events {{ worker_connections 256; }}
http {{
  access_log off; client_max_body_size 0; client_body_temp_path {base}/body; proxy_temp_path {base}/proxy;
  fastcgi_temp_path {base}/fastcgi; uwsgi_temp_path {base}/uwsgi; scgi_temp_path {base}/scgi;
  server {{
    listen 127.0.0.1:{port}; root {base}/files;
    location / {{ dav_methods PUT; create_full_put_path on; dav_access user:rw; }}
  }}
}}
"""


@contextmanager
def nginx(folder: Path) -> Iterator[str]:
    """The URL of a server of what lies in `folder`/files; a skip where there is no nginx."""
    program = tool("nginx")
    (port,) = free_ports(1)
    (folder / "files").mkdir()
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(_CONFIGURATION.format(base=folder, port=port, user=user))
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with (folder / "nginx.log").open("wb") as log, _process(command, stdout=log) as process:
        deadline = time.monotonic() + PATIENCE
        while True:
            connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            try:
                connection.request("GET", "/")
                connection.getresponse()
                break
            except OSError:  # it does not listen yet
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"it did not start:\n{(folder / 'nginx.log').read_text()}") from None
                time.sleep(0.01)
            finally:
                connection.close()
        yield f"http://127.0.0.1:{port}"
