"""Fields in files of their own: captions, json and masks that lie beside their images, under the same name."""

import dataclasses
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fastdata.errors import PackError
from fastdata.packing.origins.source import Missing, Source
from fastdata.sample import IMAGE_EXTENSIONS
from fastdata.sources.folder import FolderScan, refuse_empty, refuse_links_out
from fastdata.sources.paths import Paths, keys_of
from fastdata.sources.tars.webdataset import split_name
from fastdata.sources.walk import Folder, LocalFolder, join

ORPHAN = "{} without an image"
"""What a field's file is called among what is left out; `{}` is its extension."""


def with_fields(
    scan: FolderScan,
    fields: Iterable[str],
    missing: Missing = "error",
    *,
    follow_links: bool = True,
    folder: Folder | None = None,
) -> Source:
    """The samples with the files that lie beside their images: `1.txt` and `1.seg.png` beside `1.jpg`.

    `fields` are the extensions, such as "txt", "json" or "seg.png"; their case does not matter. A field's file has the
    path of its image up to the last dot, or up to the first dot of the basename, as WebDataset groups members. What
    ends in one of `fields` is no image of its own, whatever the scan took it for. `folder` is what was scanned, where
    that is no local folder.

    Raises PackError for an image without one of them, unless `missing` is "allow", and ValueError for a name that is
    no extension, a file that would be of two samples, two files for one field and, without `follow_links`, a link that
    takes a file from outside of the folder.
    """
    names = field_names(fields)
    if missing not in ("error", "allow"):
        raise ValueError(f"missing must be 'error' or 'allow', not {missing!r}")
    if not names:
        return Source(scan, left_out=scan.left_out)
    images, others = _apart(scan, names)
    found = _found(images, names, folder or LocalFolder(scan.root))
    lacking = {name: sum(not path for path in paths) for name, paths in found.items()}
    for name, count in lacking.items():
        if count and missing == "error":
            raise _lacks(images, name, found[name], count)
        if count == len(images):
            raise PackError(f"no image in {scan.root} has a field {name!r} beside it: check the name")
    if not follow_links:
        for paths in found.values():
            refuse_links_out(scan.root, [path for path in paths if path])
    left_out = _left_out(scan, others, found)
    return Source(images, found, left_out=left_out, lacking={name: count for name, count in lacking.items() if count})


def field_names(fields: Iterable[str]) -> tuple[str, ...]:
    """The extensions in lower case and without a leading dot. ValueError for what is none, or is there twice."""
    if isinstance(fields, str):
        raise ValueError(f"fields must be a list of extensions, as [{fields!r}], not the text {fields!r}")
    names = tuple(field.strip().removeprefix(".").lower() for field in fields)
    for name in names:
        if split_name(f"key.{name}") != ("key", name) or "" in name.split(".") or set(name) & set("/\\ \t\0"):
            raise ValueError(f"{name!r} is no extension: fields are named as in txt, json or seg.png")
    if len(set(names)) < len(names):
        raise ValueError(f"fields must differ, not {', '.join(names)}")
    return names


class Beside(NamedTuple):
    """How many files lie beside images and under their names, by extension: {"txt": 14}.

    `images` are those that the scan took for samples of their own.
    """

    others: Counter[str]
    images: Counter[str]


def extensions_beside(scan: FolderScan) -> Beside:
    """What `with_fields` would find beside the images, such as `1.txt`, or `1.seg.png`, which is taken for an image."""
    folder = LocalFolder(scan.root)
    beside = Beside(Counter(), Counter())
    images_in: dict[str, list[int]] = {}
    for directory in dict.fromkeys(path.rpartition("/")[0] for path in scan.paths):
        names = list(folder.files_in(directory))
        if len({name.partition(".")[0] for name in names}) == len(names):
            continue  # no two are named alike, as where images lie alone: what follows takes ten times as long
        images_in = images_in or _by_directory(scan)
        images = sorted((scan.paths[i].rpartition("/")[2] for i in images_in[directory]), key=_image_rank)
        first: dict[str, str] = {}
        for name in images:
            first.setdefault(_split_last(name)[0], name)
        own = set(images)
        for name in names:
            for stem, extension in {_split_last(name), _split_first(name)}:
                if extension and first.get(stem, name) != name:
                    (beside.images if name in own else beside.others)[extension.lower()] += 1
    return beside


def _image_rank(name: str) -> tuple[int, str]:
    """Of several images of one name the first in this order is what readers take for the sample's image."""
    extension = _split_last(name)[1].lower()
    return IMAGE_EXTENSIONS.index(extension) if extension in IMAGE_EXTENSIONS else len(IMAGE_EXTENSIONS), name


def _split_last(name: str) -> tuple[str, str]:
    stem, _, extension = name.rpartition(".")
    return stem, extension


def _split_first(name: str) -> tuple[str, str]:
    stem, _, extension = name.partition(".")
    return stem, extension


def _field_of(name: str, fields: Iterable[str]) -> str | None:
    """The field that a file's name ends in, the longest of several."""
    lower = name.lower()
    return max((field for field in fields if lower.endswith(f".{field}")), key=len, default=None)


def _apart(scan: FolderScan, names: Sequence[str]) -> tuple[FolderScan, list[str]]:
    """The scan of what is in none of these fields, and the paths that are. Raises for classes without an image left."""
    endings = tuple(f".{name}" for name in names)
    kept = np.fromiter((not path.lower().endswith(endings) for path in scan.paths), np.bool_, len(scan))
    if kept.all():
        return scan, []
    paths = Paths.of(path for path, keep in zip(scan.paths, kept.tolist(), strict=True) if keep)
    targets = scan.targets[kept]
    if not len(paths):
        raise PackError(f"all images in {scan.root} end in {', '.join(names)}: a field lies beside an image")
    counts = np.bincount(targets[targets >= 0], minlength=len(scan.classes))
    refuse_empty(scan.root, [name for name, count in zip(scan.classes, counts, strict=False) if not count])
    others = [path for path, keep in zip(scan.paths, kept.tolist(), strict=True) if not keep]
    return dataclasses.replace(scan, paths=paths, targets=targets, keys=keys_of(paths)), others


def _found(scan: FolderScan, names: Sequence[str], folder: Folder) -> dict[str, Paths]:
    """For each field the path of each sample's file, '' where there is none."""
    found = {name: [""] * len(scan) for name in names}
    for directory, numbers in _by_directory(scan).items():
        there = _fields_in(folder, directory, names)
        owners: dict[str, int] = {}
        for i in numbers:
            image = scan.paths[i].rpartition("/")[2]
            for field in names:
                name = there.get((_split_last(image)[0], field)) or there.get((_split_first(image)[0], field))
                if name is None:
                    continue
                if (owner := owners.setdefault(name, i)) != i:
                    problem = f"{scan.path(owner)} and {scan.path(i)} are both named as {name}, which can be of one"
                    raise ValueError(f"{problem} only: rename one of them, or choose images by a pattern")
                found[field][i] = join(directory, name)
    return {name: Paths.of(paths) for name, paths in found.items()}


def _by_directory(scan: FolderScan) -> dict[str, list[int]]:
    numbers: dict[str, list[int]] = {}
    for i, path in enumerate(scan.paths):
        numbers.setdefault(path.rpartition("/")[0], []).append(i)
    return numbers


def _fields_in(folder: Folder, directory: str, names: Sequence[str]) -> dict[tuple[str, str], str]:
    """The fields' files in a directory, by stem and field."""
    there: dict[tuple[str, str], str] = {}
    for name in sorted(folder.files_in(directory)):
        field = _field_of(name, names)
        if field is None:
            continue
        first = there.setdefault((name[: -len(field) - 1], field), name)
        if first != name:
            raise ValueError(
                f"{first} and {name} in {join(folder.root, directory)} are one field, {field!r}: remove one"
            )
    return there


def _lacks(scan: FolderScan, name: str, paths: Paths, count: int) -> PackError:
    """The error that names the first image without this field."""
    path = scan.path(next(i for i, found in enumerate(paths) if not found))
    expected = f"{path.rpartition('.')[0]}.{name}"
    return PackError(
        f"{path} has no field {name!r}: there is no {expected} ({count} of {len(scan)} images lack one); add it, or "
        f"say --missing-fields allow (missing='allow')"
    )


def _left_out(scan: FolderScan, others: Sequence[str], found: Mapping[str, Paths]) -> dict[str, int]:
    """What is in no sample once these fields are packed, by what it is."""
    counts = Counter(scan.left_out)
    taken = {path for paths in found.values() for path in paths if path}
    counts.update(ORPHAN.format(f".{_field_of(path, found)}") for path in others if path not in taken)
    for path in taken.difference(others):
        suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122 -- what the scan counted it by
        if counts[suffix]:
            counts[suffix] -= 1
    for field in found:
        if count := counts.pop(f".{field}", 0):
            counts[ORPHAN.format(f".{field}")] += count
    return {what: count for what, count in counts.items() if count}
