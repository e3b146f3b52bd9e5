"""Which shards are verified, with what jsons and indexes say of them: in a folder, or at a URL."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from fastdata.errors import ManifestError
from fastdata.packing.origins.near import near
from fastdata.sources import manifest
from fastdata.sources.dataset_index import DatasetIndex, IndexPart
from fastdata.sources.manifest import Manifest, ShardEntry
from fastdata.sources.remote_dataset import remote_manifest
from fastdata.sources.stores.remote_glob import remote_matches
from fastdata.sources.stores.storage import storage_of
from fastdata.sources.urls import beside, expand, is_manifest, is_remote, path_of


class Fault(NamedTuple):
    """What is wrong with a shard: `key` and `offset` say where in it, '' and -1 where it is the file as a whole."""

    shard: str
    key: str
    offset: int
    problem: str

    def __str__(self) -> str:
        where = f", offset {self.offset}" if self.offset >= 0 else ""
        return f"{self.shard}{where}{f', sample {self.key!r}' if self.key else ''}: {self.problem}"


class Listed(NamedTuple):
    """A shard to verify, a path or URL, the json of the dataset whose name it has, and what that says of it.

    `json` is '', and `entry` None, without one. `part` are its rows in the dataset's index; what is wrong with that
    index is said of the first of its shards.
    """

    path: str
    json: str = ""
    entry: ShardEntry | None = None
    part: IndexPart | None = None
    of_index: Fault | None = None


def shards_of(what: str) -> list[Listed]:
    """The shards of a dataset's json, of all datasets in a folder, or those that a path, URL or glob stands for.

    In a folder without a json these are all `*.tar`. Beside a json those that have the dataset's name belong to it,
    whether it lists them or not; but over HTTP nobody knows these. Raises as `manifest.load` and `expand`,
    FileNotFoundError where there is nothing, OSError that names a URL that can't be read.
    """
    if is_remote(what):
        return _at_url(what)
    path = Path(what)
    if path.suffix == ".json":
        return _of_json(str(path))
    if not path.is_dir():
        return [Listed(url) for url in expand(what)]
    listed = [shard for file in sorted(path.glob("*.json")) if manifest.is_ours(file) for shard in _of_json(str(file))]
    return listed or _or_nothing(sorted(map(str, path.glob("*.tar"))), what)


def _at_url(url: str) -> list[Listed]:
    if is_manifest(url):
        return _of_json(url)
    if "*" in url:
        return list(map(Listed, remote_matches(url)))
    if path_of(url).endswith(".tar"):
        return list(map(Listed, expand(url)))
    folder = url.rstrip("/")
    names = sorted(_names_in(folder))
    jsons = [f"{folder}/{name}" for name in names if name.endswith(".json")]
    listed = [shard for json in jsons if _is_ours(json) for shard in _of_json(json)]
    return listed or _or_nothing([f"{folder}/{name}" for name in names if name.endswith(".tar")], url)


def _or_nothing(shards: Iterable[str], what: str) -> list[Listed]:
    listed = list(map(Listed, shards))
    if not listed:
        raise FileNotFoundError(no_dataset(what))
    return listed


def no_dataset(what: object) -> str:
    """What is said of a folder, or of a URL, without shards."""
    packs = "of photos fastdata report tells, and fastdata shard packs them"
    return f"no dataset in {what}: neither a json of fastdata's nor *.tar; {packs}"


def _names_in(folder: str) -> list[str]:
    """The names of what lies directly in a folder, or at a URL."""
    if not is_remote(folder):
        return [path.name for path in Path(folder).iterdir()]
    found = (entry.url.removeprefix(f"{folder}/") for entry in storage_of(folder).entries(folder))
    return [name for name in found if "/" not in name]


def _is_ours(json: str) -> bool:
    with near(json) as copy:
        return manifest.is_ours(Path(copy))


def _of_json(file: str) -> list[Listed]:
    found = remote_manifest(file) if is_remote(file) else manifest.load(file)
    listed = {entry.url: entry for entry in found.shards}
    named = re.compile(rf"{re.escape(found.name)}-\d{{6}}\.tar")
    can_list = not file.startswith(("http://", "https://"))
    folder = path_of(file).rpartition("/")[0] if "/" in file else "."
    there = set(filter(named.fullmatch, _names_in(folder))) if can_list else set[str]()
    index, fault = _index_of(file, found)
    shards, first = list[Listed](), 0
    for name in [*listed, *sorted(there - listed.keys())]:
        entry = listed.get(name)
        part = IndexPart(index, first, entry.nsamples, entry.filesize) if index and entry else None
        shards.append(Listed(beside(file, name), file, entry, part, None if shards else fault))
        first += entry.nsamples if entry else 0
    return shards


def _index_of(file: str, found: Manifest) -> tuple[DatasetIndex | None, Fault | None]:
    """The index that a json means, or what is wrong with it. Of one at a URL a copy stays open that has no name."""
    if found.index is None:
        return None, None
    name = path_of(file).rpartition("/")[2]
    where, todo = beside(file, manifest.index_name(name.removesuffix(".json"))), "copy it again, or pack it again"
    try:
        with near(where) as path:
            index = DatasetIndex(path, found.index)
            damaged = index.damaged() if len(index) == found.nsamples else []
    except (OSError, ManifestError) as error:
        return None, Fault(where, "", -1, f"{error}: {todo}")
    if len(index) != found.nsamples:
        return None, Fault(where, "", -1, f"it has {len(index)} samples, not {found.nsamples} as {name} says: {todo}")
    if damaged:
        return None, Fault(where, "", damaged[0], f"its bytes from there on are not those that were written: {todo}")
    return index, None
