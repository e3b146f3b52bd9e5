"""What the doctor says of remote data: clients of object stores, and the cache on this machine's disk."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from fastdata.commands.finding import Finding, in_gigabytes, version_of

_CLIENTS = ("s3fs", "gcsfs", "adlfs", "huggingface_hub")  # of fsspec, besides its own
_SPACE = 10 << 30  # bytes: half of them are the cache's by default
_SHARED_DISKS = ("nfs", "nfs4", "cifs", "lustre", "ceph", "fuse.sshfs", "9p", "beegfs", "gpfs")


def object_stores() -> Iterator[Finding]:
    """Which packages could read URLs."""
    others = ", ".join(f"{name} {number}" for name in ("fsspec", *_CLIENTS) if (number := version_of(name)))
    obstore = version_of("obstore")
    if obstore is None:
        said = "no obstore, which reads s3, gs, az, http and https URLs"
        said += f"; {others} for other protocols" if others else ""
        yield Finding("object stores", "note", said, "pip install 'fastdata-images[remote]', where shards are at URLs")
    else:
        yield Finding("object stores", "good", "; ".join(filter(None, [f"obstore {obstore}", others])))


def cache(mounts: Path = Path("/proc/mounts")) -> Iterator[Finding]:
    """Room and kind of the disk below the cache; the cache itself is not made."""
    given = os.environ.get("FASTDATA_CACHE")
    folder = Path(given).expanduser() if given else platformdirs.user_cache_path("fastdata", appauthor=False)
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free, kind = shutil.disk_usage(there).free, _file_system(there, mounts)
    said = f"{folder}, {in_gigabytes(free)} are free"
    if not os.access(there, os.W_OK):
        yield Finding(
            "cache", "bad", f"{folder} can't be written", "say another by FASTDATA_CACHE=/where/there/is/room"
        )
    elif kind in _SHARED_DISKS:
        remedy = "FASTDATA_CACHE=/a/folder/on/this/node's/disk"
        yield Finding("cache", "note", f"{said}, on {kind}: remote data would go over the network twice", remedy)
    elif free < _SPACE:
        yield Finding("cache", "note", f"{said}: remote data are soon fetched again", "FASTDATA_CACHE=/a/larger/disk")
    else:
        yield Finding("cache", "good", said)


def _file_system(path: Path, mounts: Path) -> str:
    """The kind of the file system that a path lies on, "" where the system doesn't tell."""
    if not mounts.exists():
        return ""
    found, longest = "", -1
    for line in mounts.read_text(errors="replace").splitlines():
        _, point, kind, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        if path.is_relative_to(point) and len(point) > longest:
            found, longest = kind, len(point)
    return found
