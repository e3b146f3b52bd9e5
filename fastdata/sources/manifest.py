"""A dataset's `<name>.json`: its shards, its classes and how it was made.

It is written last, so while it is missing the dataset is not there. webdataset's wids reads it as a shard index.
"""

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fastdata.errors import ManifestError
from fastdata.files import whole_file

WIDS = {"__kind__": "wids-shard-index-v1", "wids_version": 1}
"""What wids knows its shard indexes by."""

_SHARD_NAME = re.compile(r"(.+)-\d+\.tar")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HEAD = 4096  # bytes at the start of a json in which `_OURS` stands, if fastdata wrote it
_OURS = '"fastdata"'


class ShardEntry(NamedTuple):
    """One shard: `url` is relative to the json, `filesize` in bytes, `sha256` in hex."""

    url: str
    nsamples: int
    filesize: int
    sha256: str


@dataclass(frozen=True)
class Made:
    """How a dataset was made; nothing of when or where, so that the same input gives the same json.

    `split` is the fraction of the source's samples, as '9/10'. `jpeg` says what happened to the images: of
    `source_bytes` bytes, `changed` of them were written anew, and `refused` kept as they were because that was not
    possible; in the shards they have `image_bytes`.
    """

    version: str
    seed: int
    shuffle: bool
    split: str
    jpeg: str
    source_bytes: int
    changed: int
    refused: int
    image_bytes: int


@dataclass(frozen=True)
class Manifest:
    """What a dataset consists of. `classes` are names at the place of their class index, empty where unknown."""

    name: str
    shards: tuple[ShardEntry, ...]
    classes: tuple[str, ...]
    made: Made

    @property
    def nsamples(self) -> int:
        """Samples in all shards."""
        return sum(shard.nsamples for shard in self.shards)


def manifest_path(directory: str | os.PathLike[str], name: str) -> Path:
    """Where the json of the dataset `name` in `directory` lies."""
    return Path(directory) / f"{name}.json"


def store(manifest: Manifest, directory: str | os.PathLike[str]) -> Path:
    """Writes `<name>.json` into `directory`, whole or not at all; gives its path."""
    document = {
        **WIDS,
        "fastdata": asdict(manifest.made),
        "name": manifest.name,
        "classes": list(manifest.classes),
        "shardlist": [shard._asdict() for shard in manifest.shards],
    }
    path = manifest_path(directory, manifest.name)
    with whole_file(path) as file:
        file.write(json.dumps(document, indent=1).encode("ascii") + b"\n")
    return path


def load(path: str | os.PathLike[str]) -> Manifest:
    """The manifest in a json that `store` wrote.

    ManifestError, which names the file and the field, for anything else; OSError where it can't be read.
    """
    file = os.fspath(path)
    try:
        document = json.loads(Path(file).read_bytes())
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{file}: no JSON ({error}); pack the dataset again") from None
    top = _Fields(file, "", document)
    for field, known in WIDS.items():
        if top.any(field) != known:
            raise ManifestError(f"{file}: {field} is {top.any(field)!r}, this fastdata reads {known!r}")
    made = _Fields(file, "fastdata", top.any("fastdata"))
    manifest = Manifest(
        name=top.text("name"),
        shards=tuple(_shard(_Fields(file, f"shardlist[{i}]", s)) for i, s in enumerate(top.items("shardlist"))),
        classes=tuple(_string(file, f"classes[{i}]", name) for i, name in enumerate(top.items("classes"))),
        made=Made(
            version=made.text("version"),
            seed=made.count("seed"),
            shuffle=made.flag("shuffle"),
            split=made.text("split"),
            jpeg=made.text("jpeg"),
            source_bytes=made.count("source_bytes"),
            changed=made.count("changed"),
            refused=made.count("refused"),
            image_bytes=made.count("image_bytes"),
        ),
    )
    urls = [shard.url for shard in manifest.shards]
    if len(set(urls)) < len(urls):
        twice = next(url for url in urls if urls.count(url) > 1)
        raise ManifestError(f"{file}: shardlist has {twice!r} twice: its samples would be repeated")
    return manifest


def json_of(shard: str | os.PathLike[str]) -> Path | None:
    """The json that a shard's name points to, `train.json` beside `train-000003.tar`, if fastdata wrote one there."""
    path = Path(shard)
    match = _SHARD_NAME.fullmatch(path.name)
    file = match and manifest_path(path.parent, match[1])
    return file if file and file.is_file() and is_ours(file) else None


def find(shard: str | os.PathLike[str]) -> Manifest | None:
    """The manifest of the dataset that a shard belongs to; None where there is none, or it does not list the shard.

    ManifestError where fastdata wrote it but it is damaged.
    """
    file = json_of(shard)
    manifest = load(file) if file else None
    return manifest if manifest and any(entry.url == Path(shard).name for entry in manifest.shards) else None


class Listed(NamedTuple):
    """What the jsons beside shards say of them: the numbers of their samples, by path, and the classes."""

    counts: dict[str, int]
    classes: tuple[str, ...]


def listed(shards: list[str], whole: bool) -> Listed:
    """ValueError where the shards' datasets have different classes: one number would mean two of them.

    FileNotFoundError where a json lists more shards than there are, if `whole` datasets are meant.
    """
    manifests: dict[tuple[str, str], dict[str, int]] = {}  # of each directory and name
    classes: dict[tuple[str, ...], Path] = {}
    for shard in shards:
        directory, name = os.path.split(shard)
        dataset = (directory, name.rpartition("-")[0])
        if dataset in manifests:
            continue
        file = json_of(shard)
        found = load(file) if file else None
        manifests[dataset] = {entry.url: entry.nsamples for entry in found.shards} if found else {}
        if file and found:
            classes.setdefault(found.classes, file)
            missing = [url for url in manifests[dataset] if whole and not (file.parent / url).exists()]
            if missing:
                raise FileNotFoundError(f"{file} lists {missing[0]} and {len(missing) - 1} more that are not there")
    if len(classes) > 1:
        first, second, *_ = classes.values()
        raise ValueError(f"{first} and {second} have different classes: pack both with the same class folders")
    split = [(shard, *os.path.split(shard)) for shard in shards]
    counts = {shard: manifests[directory, name.rpartition("-")[0]].get(name) for shard, directory, name in split}
    known = {shard: count for shard, count in counts.items() if count is not None}
    return Listed(known, next(iter(classes), ()))


def is_ours(file: Path) -> bool:
    """Whether fastdata wrote this json; others keep annotations of any size under such a name."""
    with file.open("rb") as stream:
        return _OURS.encode() in stream.read(_HEAD)


def _shard(fields: "_Fields") -> ShardEntry:
    entry = ShardEntry(fields.text("url"), fields.count("nsamples"), fields.count("filesize"), fields.text("sha256"))
    if not _SHA256.fullmatch(entry.sha256):
        raise fields.wrong("sha256", "64 hex digits", entry.sha256)
    return entry


def _string(file: str, field: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ManifestError(f"{file}: {field} must be a string, not {value!r:.60}")
    return value


class _Fields:
    """The fields of one JSON object; each way to read one raises ManifestError where it is missing or wrong."""

    def __init__(self, file: str, name: str, value: Any) -> None:
        self._file, self._name = file, name
        if not isinstance(value, dict):
            raise ManifestError(f"{file}: {name or 'the whole'} must be an object, not {value!r:.60}")
        self._values: dict[str, Any] = value

    def any(self, field: str) -> Any:
        if field not in self._values:
            raise ManifestError(f"{self._file}: {self._path(field)} is missing: not a dataset's json, or damaged")
        return self._values[field]

    def text(self, field: str) -> str:
        value = _string(self._file, self._path(field), self.any(field))
        if not value:
            raise self.wrong(field, "a non-empty string", value)
        return value

    def count(self, field: str) -> int:
        value = self.any(field)
        if type(value) is not int or value < 0:
            raise self.wrong(field, "a whole number from 0 on", value)
        return value

    def flag(self, field: str) -> bool:
        value = self.any(field)
        if not isinstance(value, bool):
            raise self.wrong(field, "true or false", value)
        return value

    def items(self, field: str) -> list[Any]:
        value = self.any(field)
        if not isinstance(value, list):
            raise self.wrong(field, "a list", value)
        return value

    def wrong(self, field: str, expected: str, value: Any) -> ManifestError:
        return ManifestError(f"{self._file}: {self._path(field)} must be {expected}, not {value!r:.60}")

    def _path(self, field: str) -> str:
        return f"{self._name}.{field}" if self._name else field
