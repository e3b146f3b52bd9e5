"""Tar files that tests make for themselves: by Python's tarfile, and block by block where no tool writes such."""

import io
import os
import shutil
import tarfile
from pathlib import Path
from typing import Literal

import pytest

from fastdata.sources.shard import Shard
from fastdata.sources.tars.tar import members

FORMATS: dict[str, Literal[0, 1, 2]] = {
    "ustar": tarfile.USTAR_FORMAT,
    "gnu": tarfile.GNU_FORMAT,
    "pax": tarfile.PAX_FORMAT,
}
END = bytes(1024)
Files = list[tuple[str, bytes]]


def archive(files: Files, format: int = tarfile.PAX_FORMAT, **pax_headers: str) -> bytes:
    """A tar file of these names and contents, by Python's tarfile."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format, pax_headers=pax_headers) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def packed(path: Path, files: Files, format: int = tarfile.PAX_FORMAT) -> Path:
    """That tar file at `path`."""
    path.write_bytes(archive(files, format))
    return path


def samples(count: int, size: int = 700) -> Files:
    """Members of `count` samples with a jpg of about `size` bytes, different in each, and a cls."""
    parts = [((f"a/{i}.jpg", bytes([i]) * (size + i)), (f"a/{i}.cls", b"%d" % (i % 10))) for i in range(count)]
    return [member for sample in parts for member in sample]


def header(
    name: bytes,
    size: int | bytes = 0,
    kind: bytes = b"0",
    *,
    prefix: bytes = b"",
    magic: bytes = b"ustar\x0000",
    signed: bool = False,
) -> bytes:
    """A header block with a right checksum; `size` as a number or as the field's bytes."""
    field = size if isinstance(size, bytes) else b"%011o\0" % size
    block = bytearray(512)
    for at, value in ((0, name), (100, b"0000644\0"), (124, field), (156, kind), (257, magic), (345, prefix)):
        block[at : at + len(value)] = value
    return checksummed(bytes(block), signed=signed)


def checksummed(block: bytes, *, signed: bool = False) -> bytes:
    """A header block with its checksum put right."""
    block = block[:148] + b" " * 8 + block[156:]
    total = sum(byte - 256 * (signed and byte > 127) for byte in block)
    return bytes(block[:148] + b"%06o\0 " % total + block[156:])


def data(content: bytes) -> bytes:
    """Contents, padded to blocks."""
    return content + bytes(-len(content) % 512)


def as_tarfile_sees(path: Path) -> list[tuple[str, int, int]]:
    """Name, data offset and size of the regular files in a tar, as Python's tarfile has them."""
    with tarfile.open(path, "r:") as tar:
        return [(info.name, info.offset_data, info.size) for info in tar if info.isreg()]


def tool(name: str) -> str:
    """The path of a program that a test needs: skips where there is none, fails if FASTDATA_REQUIRE_TOOLS is set."""
    found = shutil.which(name)
    if found is None and os.environ.get("FASTDATA_REQUIRE_TOOLS"):
        pytest.fail(f"{name} is not installed, and FASTDATA_REQUIRE_TOOLS is set")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def contents(shard: Shard) -> Files:
    """All members of all samples of a shard, read one by one."""
    return [
        (f"{shard.key(row)}.{extension}", shard.read(row, extension))
        for row in range(len(shard))
        for extension in shard.extensions
        if shard.has(row, extension)
    ]


def open_shards(folder: Path) -> int:
    """How many descriptors this process has open on tar files in the folder."""
    links = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{fd}"))
        except FileNotFoundError:  # the listing's own
            continue
    return sum(link.startswith(str(folder)) and ".tar" in link for link in links)


def in_file(tmp_path: Path, content: bytes) -> Path:
    """A file of this content."""
    path = tmp_path / "crafted.tar"
    path.write_bytes(content)
    return path


def pax(kind: bytes, **records: str) -> bytes:
    """A PAX header and its records; `__` stands for a dot in a keyword."""

    def line(length: int, record: str) -> bytes:
        whole = f"{length} {record}\n".encode()
        return whole if len(whole) == length else line(len(whole), record)

    payload = b"".join(line(0, f"{keyword.replace('__', '.')}={value}") for keyword, value in records.items())
    return header(b"pax", len(payload), kind) + data(payload)


def seen(path: Path) -> list[tuple[str, int, int]]:
    """Name, data offset and size of the members that we see."""
    return [(member.name, member.offset, member.size) for member in members(path)]
