"""Remote shards, by fsspec."""

from pathlib import Path
from typing import Any

from fastdata.files import whole_file
from fastdata.sources.content_hash import hash_of


def fetch(url: str, destination: Path, content: str = "") -> None:
    """Copies `url` to `destination`, which appears whole, with bytes of this hash, or not at all; raises as `cache.local`.
    """
    filesystem, remote = _filesystem(url)
    try:
        expected = filesystem.info(remote).get("size")
        with whole_file(destination) as file:
            filesystem.get_file(remote, file.name)
            size = Path(file.name).stat().st_size
            if expected is not None and size != expected:
                raise OSError(f"{size} bytes came of {expected}")
            if content:
                _compare(file.name, content)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no shard {url}: check the URL") from error
    except Exception as error:  # each protocol's package has errors of its own
        raise OSError(f"could not copy {url} to {destination.parent}: {error or type(error).__name__}") from error


def _compare(path: str, content: str) -> None:
    with open(path, "rb") as file:
        if hash_of(file.fileno(), like=content) != content:
            raise OSError("what came is not what the dataset's json says: replaced, or damaged on its way")


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
