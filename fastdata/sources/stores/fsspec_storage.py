"""Every protocol that obstore does not know, by fsspec: hf://, sftp://, memory://, whatever package is installed."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fastdata.cpus import beginning_for_others
from fastdata.files import whole_file
from fastdata.sources.stores.retry import TransientError, retry
from fastdata.sources.stores.stored import (
    Entry,
    Range,
    Stat,
    Storage,
    at,
    may_go_better,
    not_allowed,
    not_there,
    replaced,
)

# What a filesystem's `info` may have that changes with the content.
_OF_CONTENT = ("ETag", "etag", "e_tag", "checksum", "md5", "blob_id")
_TIMES = ("mtime", "modified", "LastModified", "created")  # which listings may write in another way

# What a filesystem's package gets wrong, or can't do: another try would not help.
_OURS = (TypeError, ValueError, AttributeError, LookupError, NotImplementedError, AssertionError)
_FINAL = (FileExistsError, IsADirectoryError, NotADirectoryError, *_OURS)


class FsspecStorage(Storage):
    """Stateless: fsspec keeps its connections, and starts anew in a forked child."""

    def _stat(self, url: str) -> Stat:
        filesystem, path = _filesystem(url)
        try:
            info = filesystem.info(path)
        except Exception as error:
            raise _meaning(error, url) from error
        if info.get("size") is None:
            raise OSError(f"{url}: its server does not say its size, so nobody could tell whether all of it came")
        return Stat(int(info["size"]), _version(info, _OF_CONTENT + _TIMES))

    def _ranges(
        self, url: str, ranges: Sequence[Range], etag: str | None, alone: bool
    ) -> Sequence[memoryview | OSError]:
        filesystem, path = _filesystem(url)
        starts, ends = [offset for offset, _ in ranges], [offset + size for offset, size in ranges]
        found = filesystem.cat_ranges([path] * len(ranges), starts, ends, on_error="return")
        if etag is not None and self.stat(url).etag != etag:
            raise replaced(url)
        return [
            _meaning(each, url, at(url, wanted)) if isinstance(each, Exception) else memoryview(each)
            for wanted, each in zip(ranges, found, strict=True)
        ]

    def get_file(self, url: str, path: Path) -> None:
        filesystem, remote = _filesystem(url)

        def get() -> None:
            stat = self.stat(url)
            with whole_file(path) as file:
                try:
                    filesystem.get_file(remote, file.name)
                except Exception as error:
                    raise _meaning(error, url) from error
                size = Path(file.name).stat().st_size
                if size != stat.size:
                    raise TransientError(f"{url}: {size} bytes came of {stat.size}")
                if self.stat(url) != stat:
                    raise replaced(url)

        retry(get)

    def put_file(self, path: Path, url: str) -> None:
        filesystem, remote = _filesystem(url)
        size = path.stat().st_size

        def put() -> None:
            try:
                filesystem.put_file(str(path), remote)
            except Exception as error:
                raise _meaning(error, url) from error
            if self.size(url) != size:
                raise TransientError(f"{url}: {self.size(url)} bytes arrived of {size}")

        retry(put)

    def put_if_absent(self, url: str, data: bytes) -> bool:
        filesystem, path = _filesystem(url)
        lost = False

        def put() -> bool:
            nonlocal lost
            try:
                _create(filesystem, path, data)
            except FileExistsError:
                return lost and bytes(self.get_ranges(url, [(0, self.size(url))])[0]) == data
            except Exception as error:
                lost = True
                raise _meaning(error, url) from error
            return True

        return retry(put)

    def entries(self, url_prefix: str) -> Iterator[Entry]:
        filesystem, path = _filesystem(url_prefix)

        def find() -> dict[str, Any]:
            filesystem.invalidate_cache()  # of listings: what was put since is there
            try:
                found = filesystem.find(path, detail=True)
            except Exception as error:
                raise _meaning(error, url_prefix) from error
            return dict(found)

        for name, info in retry(find).items():
            below = name.removeprefix(path.rstrip("/")).lstrip("/")
            if below:  # else it is a file, and not a folder
                yield Entry(f"{url_prefix.rstrip('/')}/{below}", int(info["size"]), _version(info, _OF_CONTENT))


def _version(info: dict[str, Any], names: Sequence[str]) -> str | None:
    """What tells a file's content from what it was before, where the filesystem knows such."""
    return next((str(info[name]) for name in names if info.get(name)), None)


def _filesystem(url: str) -> tuple[Any, str]:
    """fsspec's filesystem of a URL, and the URL's path in it."""
    import fsspec  # imports protocols' packages, which local shards don't need
    from fsspec.asyn import get_loop

    with beginning_for_others():
        get_loop()  # its thread is one for all who use fsspec in this process
    try:
        filesystem, path = fsspec.url_to_fs(url)
    except ImportError as error:
        raise ImportError(f"cannot read {url}: its protocol needs a package that is not installed: {error}") from error
    except ValueError as error:
        raise ValueError(f"cannot read {url}: {error}") from error
    return filesystem, str(path)


def _create(filesystem: Any, path: str, data: bytes) -> None:
    """Makes a file, or raises FileExistsError; at once, not by looking first, as fsspec's own `pipe_file` does."""
    from fsspec import AbstractFileSystem

    if filesystem.async_impl or type(filesystem).pipe_file is not AbstractFileSystem.pipe_file:
        filesystem.pipe_file(path, data, mode="create")
        return
    with filesystem.open(path, "xb") as file:
        file.write(data)


def _meaning(error: Exception, url: str, where: str = "") -> OSError:
    """The error in our words; TransientError if the request may go better another time."""
    cause = str(error) or type(error).__name__
    status = getattr(error, "status", None) or getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return not_there(url)
    if isinstance(error, PermissionError) or status in (401, 403):
        return not_allowed(url, cause)
    if isinstance(error, _FINAL) or (isinstance(status, int) and not may_go_better(status)):
        return OSError(f"{where or url}: {cause}")
    return TransientError(f"{where or url}: {cause}")
