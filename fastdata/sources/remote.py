"""Remote shards, by fsspec."""

from pathlib import Path
from typing import Any

from fastdata.files import whole_file


def fetch(url: str, destination: Path) -> None:
    """Copies `url` to `destination`, which appears whole or not at all; raises as `cache.local`."""
    filesystem, remote = _filesystem(url)
    try:
        expected = filesystem.info(remote).get("size")
        with whole_file(destination) as file:
            filesystem.get_file(remote, file.name)
            size = Path(file.name).stat().st_size
            if expected is not None and size != expected:
                raise OSError(f"{size} bytes came of {expected}")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no shard {url}: check the URL") from error
    except Exception as error:  # each protocol's package has errors of its own
        raise OSError(f"could not copy {url} to {destination.parent}: {error or type(error).__name__}") from error


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
