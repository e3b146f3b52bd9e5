"""A dataset's `<name>.json`: its shards, its classes and how it was made.

It is written last, so while it is missing the dataset is not there. webdataset's wids reads it as a shard index.
"""

import json
import os
import re
import stat
from collections import Counter
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import force_setattr

from fastdata.errors import ManifestError
from fastdata.files import whole_file
from fastdata.sources.tars import content_hash
from fastdata.sources.tars.index_layout import SUFFIX, IndexEntry

WIDS: Final = {"__kind__": "wids-shard-index-v1", "wids_version": 1}
"""What wids knows its shard indexes by."""

MAX_COUNT: Final = 2**48
"""Samples and bytes stay below it, in each shard and in all together: sums of them fit into 64 bits."""

MAX_BYTES: Final = 2**30
"""Of a json: a million shards take a quarter of it."""

_SHARD_NAME = re.compile(r"(.+)-\d+\.tar")
_HEAD = 4096  # bytes at the start of a json in which `_OURS` stands, if fastdata wrote it
_OURS = b'"fastdata"'

Text = Annotated[str, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=0, lt=MAX_COUNT)]
AtLeastOne = Annotated[int, Meta(ge=1, lt=MAX_COUNT)]
Hash = Annotated[str, Meta(pattern=content_hash.PATTERN)]
Crc = Annotated[int, Meta(ge=0, lt=2**32)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]

FileName = Annotated[str, Meta(pattern=r"^\w[\w.-]*\.tar\Z")]
"""A plain name: no '/', no '..' and no leading dot, so that a json can't lead out of its folder."""


class ShardEntry(Struct, frozen=True):
    """One shard: `url` is its file's name in the json's folder, `filesize` is in bytes, `hash` as in `content_hash`.

    Where it is `checked`, all of its JPEGs were read to their end when it was packed, and nothing is wrong with them.
    Jsons of earlier versions have a field `sha256`, in hex, which becomes the `hash` here. `rows` is a checksum of the
    shard's own index, of which fingerprints of datasets are made; it lacks where the dataset has no index.
    """

    url: FileName
    nsamples: AtLeastOne
    filesize: AtLeastOne
    hash: Hash = ""
    checked: bool = False
    sha256: Sha256 | UnsetType = UNSET
    rows: Crc | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.sha256 is not UNSET:
            hashed = self.hash or content_hash.named("sha256", self.sha256)
            force_setattr(self, "hash", hashed)
            force_setattr(self, "sha256", UNSET)
        if not self.hash:
            raise ValueError("Object missing required field `hash`")


class Made(Struct, frozen=True):
    """How a dataset was made; nothing of when or where, so that the same input gives the same json.

    `split` is the fraction of the source's samples, as '9/10'. `jpeg` says what happened to the images: `changed` of
    them were written anew, and `refused` were kept as they were, because they could not be converted. The images had
    `source_bytes` bytes together, and have `image_bytes` in the shards. `damaged` is the number of those in which
    something was found wrong, where shards were checked. `rejected` files of the source could not be packed, and were
    left out.
    """

    version: Text
    seed: Annotated[int, Meta(ge=0)]
    shuffle: bool
    split: Text
    jpeg: Text
    source_bytes: Count
    changed: Count
    refused: Count
    image_bytes: Count
    damaged: Count = 0
    rejected: Count = 0


class Manifest(Struct, frozen=True):
    """What a dataset consists of. `classes` are names at the place of their class index, empty where unknown.

    `index` is that of all samples, in `<name>.index.npy` beside the json; jsons of earlier versions have none.
    """

    name: Text
    shards: tuple[ShardEntry, ...] = msgspec.field(name="shardlist")
    classes: tuple[str, ...]
    made: Made = msgspec.field(name="fastdata")
    index: IndexEntry | None = None

    @property
    def nsamples(self) -> int:
        """Samples in all shards."""
        return sum(shard.nsamples for shard in self.shards)

    @property
    def filesize(self) -> int:
        """Bytes of all shards."""
        return sum(shard.filesize for shard in self.shards)


class _Wids(Struct):
    """The fields by which wids knows its shard indexes."""

    kind: Literal["wids-shard-index-v1"] = msgspec.field(name="__kind__")
    wids_version: Literal[1]


def manifest_path(directory: str | os.PathLike[str], name: str) -> Path:
    """Where the json of the dataset `name` in `directory` lies."""
    return Path(directory) / f"{name}.json"


def index_name(name: str) -> str:
    """The name of the file of the dataset's index: `train.index.npy`."""
    return name + SUFFIX


def store(manifest: Manifest, directory: str | os.PathLike[str]) -> Path:
    """Writes `<name>.json` into `directory`, whole or not at all; gives its path."""
    document = {
        **WIDS,
        "fastdata": msgspec.to_builtins(manifest.made),
        "name": manifest.name,
        "classes": manifest.classes,
        "index": msgspec.to_builtins(manifest.index),
        "shardlist": msgspec.to_builtins(manifest.shards),
    }
    path = manifest_path(directory, manifest.name)
    with whole_file(path) as file:
        file.write(json.dumps(document, indent=1).encode("ascii") + b"\n")
    return path


def load(path: str | os.PathLike[str]) -> Manifest:
    """The manifest in a json that `store` wrote.

    ManifestError, which names the file and the field, for anything else; OSError where it can't be read, such as
    FileNotFoundError.
    """
    file = Path(path)
    try:
        status = file.stat()
    except FileNotFoundError:
        raise FileNotFoundError(f"no json {file}: check the path") from None
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
        raise ManifestError(f"{file}: no dataset's json: no regular file, or one of more than {MAX_BYTES} bytes")
    return parse(file.read_bytes(), file)


def parse(content: bytes, file: str | os.PathLike[str]) -> Manifest:
    """The manifest in a json's bytes; ManifestError as `load`, with the file's name or URL."""
    try:
        # By json, not by msgspec, which refuses the lone surrogates of class names that are not UTF-8.
        document = json.loads(content)
        msgspec.convert(document, _Wids)
        manifest = msgspec.convert(document, Manifest)
    except msgspec.ValidationError as error:
        raise ManifestError(f"{file}: {error}: not a dataset's json, or damaged; pack the dataset again") from None
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{file}: no JSON ({error}); pack the dataset again") from None
    url, times = Counter(shard.url for shard in manifest.shards).most_common(1)[0] if manifest.shards else ("", 0)
    if times > 1:
        raise ManifestError(f"{file}: `$.shardlist` has {url!r} {times} times: its samples would be repeated")
    if max(manifest.nsamples, manifest.filesize) >= MAX_COUNT:
        raise ManifestError(f"{file}: the samples or bytes of `$.shardlist` are {MAX_COUNT} or more together: damaged")
    return manifest


def json_of(shard: str | os.PathLike[str]) -> Path | None:
    """The json that a shard's name points to, `train.json` beside `train-000003.tar`, if fastdata wrote one there."""
    path = Path(shard)
    match = _SHARD_NAME.fullmatch(path.name)
    file = match and manifest_path(path.parent, match[1])
    return file if file and is_ours(file) else None


def find(shard: str | os.PathLike[str]) -> Manifest | None:
    """The manifest of the dataset that a shard belongs to; None where there is none, or it does not list the shard.

    ManifestError where fastdata wrote it but it is damaged.
    """
    file = json_of(shard)
    manifest = load(file) if file else None
    return manifest if manifest and any(entry.url == Path(shard).name for entry in manifest.shards) else None


def is_ours(file: Path) -> bool:
    """Whether fastdata wrote this json; others keep annotations of any size under such a name."""
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return _OURS in stream.read(_HEAD)
