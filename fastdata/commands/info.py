"""`fastdata info`: what a dataset holds, from its json, its indexes, and the headers of some of its images."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fastdata.commands.counted import counted
from fastdata.commands.mixing import Mixing, mixing, pairs_alike
from fastdata.commands.named import named_shards
from fastdata.commands.terminal import printable
from fastdata.errors import DecodeError, NoImageError
from fastdata.images.cut import is_crop_ready
from fastdata.images.header import read_header
from fastdata.packing.to_verify import no_dataset
from fastdata.sample import IMAGE_EXTENSIONS
from fastdata.sources import manifest
from fastdata.sources.listing import list_shards
from fastdata.sources.manifest import Manifest
from fastdata.sources.node.cache import local
from fastdata.sources.remote_dataset import remote_manifest
from fastdata.sources.shard import Shard
from fastdata.sources.tars.index import NO_CLASS
from fastdata.sources.urls import Urls, expand, is_manifest, is_remote

_FETCHED = 100  # images at most that are fetched to look at them
_NAMED = 30  # of many classes or samples, so many are shown


class Images(NamedTuple):
    """What the headers of `looked_at` images say; `widths` and `heights` are (least, median, most) in pixels.

    `unreadable` names the samples whose images are none, and `crop_ready` counts the JPEGs that are.
    """

    looked_at: int
    widths: tuple[int, int, int]
    heights: tuple[int, int, int]
    crop_ready: int
    unreadable: list[str]


class Info(NamedTuple):
    """What a dataset holds: `classes` and `extensions` with their numbers of samples.

    And what `shuffle="window"` would mean for it.
    """

    name: str
    shards: int
    samples: int
    bytes: int
    classes: dict[str, int]
    unlabelled: int
    extensions: dict[str, int]
    images: Images
    window: Mixing
    made: str


def describe(what: str | os.PathLike[str], look_at: int = 1000) -> list[Info]:
    """Each dataset in `what`: a json, a folder with some (or with shards only), or shards by path, glob or braces.

    A json and shards may lie at URLs: of a json there 100 images are fetched at most, and of its shards nothing else.
    Of each dataset the headers of `look_at` images are read, evenly spread; nothing is written beside them.
    FileNotFoundError where there is none, IsADirectoryError for a folder at a URL, ManifestError or TarError where it
    is damaged, ValueError where a shard is not the json's.
    """
    path, text = Path(what), os.fspath(what)
    if is_remote(text):
        if is_manifest(text):
            return [_of_remote_json(text, look_at)]
        shards = expand(named_shards(text))
    elif path.is_dir():
        jsons = [file for file in sorted(path.glob("*.json")) if manifest.is_ours(file)]
        if jsons:
            return [_of_json(file, look_at) for file in jsons]
        shards = sorted(map(str, path.glob("*.tar")))
        if not shards:
            raise FileNotFoundError(no_dataset(path))
    elif path.suffix == ".json":
        return [_of_json(path, look_at)]
    else:
        shards = expand(what)
    return [_info(os.fspath(what), _shards(shards), None, look_at)]


def show(info: Info) -> None:
    """Prints it as a table."""
    table = Table(show_header=False, title=_shown(info.name), title_justify="left")
    table.add_row("shards", f"{info.shards:,}")
    table.add_row("samples", f"{info.samples:,}")
    table.add_row("bytes", f"{info.bytes:,}")
    table.add_row("components", _counts(info.extensions))
    table.add_row("classes", f"{len(info.classes)}: {_counts(info.classes)}" if info.classes else "none")
    if info.unlabelled:
        table.add_row("without class", f"{info.unlabelled:,}")
    table.add_row("shuffle='window'", str(info.window))
    if not any(info.extensions.get(extension) for extension in IMAGE_EXTENSIONS):
        table.add_row("images", f"none: no sample has a {', '.join(IMAGE_EXTENSIONS[:-1])} or {IMAGE_EXTENSIONS[-1]}")
    looked_at = f"of {counted(info.images.looked_at, 'image')}"
    if info.images.looked_at > len(info.images.unreadable):
        table.add_row(f"widths {looked_at}", "least {:,}, median {:,}, most {:,}".format(*info.images.widths))
        table.add_row(f"heights {looked_at}", "least {:,}, median {:,}, most {:,}".format(*info.images.heights))
        table.add_row(f"crop-ready {looked_at}", f"{info.images.crop_ready:,}")
    if info.images.unreadable:
        table.add_row(f"unreadable {looked_at}", _shown(", ".join(info.images.unreadable[:_NAMED])))
    if info.made:
        table.add_row("made by", _shown(info.made))
    Console().print(table)


def _shown(text: str) -> str:
    """Text that was read, without what rich or the terminal would act on."""
    return escape(printable(text))


def _counts(counts: dict[str, int]) -> str:
    named = _shown(", ".join(f"{name} {count:,}" for name, count in list(counts.items())[:_NAMED]))
    return named + (f", and {len(counts) - _NAMED:,} more" if len(counts) > _NAMED else "")


def _of_json(file: Path, look_at: int) -> Info:
    found = manifest.load(file)
    for entry in found.shards:
        shard = file.parent / entry.url
        size = shard.stat().st_size
        if size != entry.filesize:
            raise ValueError(f"{shard} has {size} bytes, not {entry.filesize} as {file} says: copy or pack it again")
    return _info(found.name, _shards(file), found, look_at)


def _of_remote_json(url: str, look_at: int) -> Info:
    found = remote_manifest(url)
    return _info(found.name, _shards(url), found, min(look_at, _FETCHED), far=url)


def _shards(urls: Urls) -> list[Shard]:
    """The shards, with what jsons say of them."""
    listing, _ = list_shards(urls)
    known = map(listing.known, range(len(listing.shards)))
    return [
        Shard(shard, keep_index=False, known=one, cache=listing.cache)
        for shard, one in zip(listing.shards, known, strict=True)
    ]


def _info(name: str, shards: list[Shard], found: Manifest | None, look_at: int, far: str | None = None) -> Info:
    """What these shards hold; `far` is their json's URL where they are elsewhere."""
    names = found.classes if found else ()
    classes, extensions = Counter[int](), Counter[str]()
    samples = size = 0
    pairs = np.zeros(2, np.int64)
    for shard in shards:
        rows = shard.rows
        samples += len(rows)
        in_shard = shard.known.entry.filesize if far and shard.known else Path(local(shard.path)).stat().st_size
        size += in_shard
        pairs += pairs_alike(rows["cls"], in_shard)
        values, counts = np.unique(rows["cls"], return_counts=True)
        classes.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        for extension in shard.extensions:
            extensions[extension] += int((rows["." + extension]["offset"] >= 0).sum())
        shard.close()
    window = mixing(classes.values(), size, pairs)
    unlabelled = classes.pop(NO_CLASS, 0)
    known = {*range(len(names)), *classes}  # those without a sample, too: they count for the model
    named = {names[c] if 0 <= c < len(names) else str(c): classes[c] for c in sorted(known)}
    made = f"fastdata {found.made.version}, seed {found.made.seed}, images: {found.made.jpeg}" if found else ""
    wanted = np.unique(np.linspace(0, samples - 1, min(look_at, samples)).astype(np.int64)).tolist()
    images = _look(_images_of(shards, wanted) if far is None else _far_images(far, wanted))
    return Info(name, len(shards), samples, size, named, unlabelled, dict(extensions), images, window, made)


def _look(images: Iterable[tuple[str, bytes]]) -> Images:
    """What the headers of some images say, each of which comes with its key."""
    sizes: list[tuple[int, int]] = []
    unreadable: list[str] = []
    crop_ready = 0
    for key, image in images:
        try:
            sizes.append(read_header(image).size)
        except DecodeError:
            unreadable.append(key)
        crop_ready += is_crop_ready(image)
    widths, heights = (_spread([size[axis] for size in sizes]) for axis in (0, 1))
    return Images(len(sizes) + len(unreadable), widths, heights, crop_ready, unreadable)


def _images_of(shards: list[Shard], numbers: Iterable[int]) -> Iterator[tuple[str, bytes]]:
    """Keys and images of the samples of these numbers, counted over all shards."""
    wanted = iter(numbers)
    following, first = next(wanted, None), 0
    for shard in shards:
        while following is not None and following < first + len(shard):
            row = following - first
            extension = next((e for e in IMAGE_EXTENSIONS if shard.has(row, e)), None)
            if extension is not None:
                yield shard.read_sample(row, extension)
            following = next(wanted, None)
        first += len(shard)
        shard.close()


def _far_images(url: str, numbers: Sequence[int]) -> Iterator[tuple[str, bytes]]:
    """The same of a dataset that lies elsewhere; they are fetched together. ReadError for one that can't be."""
    from fastdata.datasets.store import TarImageMapDataset  # which imports torch

    dataset = TarImageMapDataset(url, target=None)
    dataset.expect(numbers)
    try:
        for number in numbers:
            with suppress(NoImageError):
                sample = dataset.read(number)
                yield sample.key, sample.image
    finally:
        dataset.expect_nothing()


def _spread(values: list[int]) -> tuple[int, int, int]:
    return (min(values), int(np.median(values)), max(values)) if values else (0, 0, 0)
