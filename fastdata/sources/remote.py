"""Remote shards, by fsspec."""

import os
import secrets
from pathlib import Path
from typing import Any


def _fetch(url: str, destination: Path) -> None:
    """Copy `url` to `destination` under a name of its own first, then rename."""
    filesystem, remote = _filesystem(url)
    part = destination.with_name(f".{destination.name}.{secrets.token_hex(8)}.part")
    try:
        expected = filesystem.info(remote).get("size")
        filesystem.get_file(remote, str(part))
        with part.open("rb") as copied:
            os.fsync(copied.fileno())
        if expected is not None and part.stat().st_size != expected:
            raise OSError(f"{part.stat().st_size} bytes came of {expected}")
        part.replace(destination)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no shard {url}: check the URL") from error
    except Exception as error:  # each protocol's package has errors of its own
        raise OSError(f"could not copy {url} to {destination.parent}: {error or type(error).__name__}") from error
    finally:
        part.unlink(missing_ok=True)


def _filesystem(url: str) -> tuple[Any, str]:
    """fsspec's filesystem of a URL, and the URL's path in it."""
    import fsspec  # imports protocols' packages, which local shards don't need

    try:
        filesystem, path = fsspec.url_to_fs(url)
    except ImportError as error:
        raise ImportError(f"cannot read {url}: its protocol needs a package that is not installed: {error}") from error
    except ValueError as error:
        raise ValueError(f"cannot read {url}: {error}") from error
    return filesystem, str(path)
