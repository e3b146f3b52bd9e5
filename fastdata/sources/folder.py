"""Scan a directory into sorted (path, class)."""

import operator
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from hashlib import blake2b
from pathlib import Path

import numpy as np
from braceexpand import braceexpand
from numpy.typing import NDArray

from fastdata.sample import IMAGE_EXTENSIONS
from fastdata.sources.paths import Keys, Paths, keys_of

_SUFFIXES = tuple("." + extension for extension in IMAGE_EXTENSIONS)

_NO_LABELS = "labels=None (--labels none on the command line)"

Identity = tuple[int, int]  # a directory's device and inode
Patterns = frozenset[tuple[str, ...]]  # what may still follow below a directory, one segment a level
ANYTHING: Patterns = frozenset({("**", "*"), ("*",)})


@dataclass(frozen=True, eq=False)
class FolderScan:
    """The samples below `root`, in order: sample i is the file `paths[i]` with the target `targets[i]`.

    `targets` is int64 of shape (N,), -1 where there is none. `classes` are the class folders' names, each at
    the place that is its target, and `class_to_idx` the other way; both are empty without class folders.
    `left_out` counts the files that no pattern asked for and that are no samples, by what they are ('.gif').
    """

    root: str
    paths: Paths
    targets: NDArray[np.int64]
    classes: list[str]
    class_to_idx: dict[str, int]
    keys: Keys
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.paths)

    def key(self, index: int) -> str:
        """The key of sample `index`, unique in this scan."""
        return self.keys[index]

    def path(self, index: int) -> str:
        """The path of sample `index` to open: with the root."""
        return f"{self.root}/{self.paths[index]}"


def scan_classes(root: str | os.PathLike[str], pattern: str | None = None) -> FolderScan:
    """Images in class folders, as torchvision's ImageFolder has them, or the files in them that match `pattern`.

    The folders directly below `root`, sorted, are the classes; images lie at any depth below them, in the
    order of torchvision's `make_dataset` (by directory, then by name). Unlike there hidden files and folders
    are left out ('.ipynb_checkpoints', '._x.jpg'), and a symbolic link to a folder that it lies in ends there.
    Raises FileNotFoundError or NotADirectoryError for a missing root, no class folders or classes without
    images, and ValueError for two files with one key (see `keys_of`) or a match in no class folder.
    """
    base = _directory(root)
    if pattern is not None:
        return _scan_matching_classes(base, pattern)
    left_out: Counter[str] = Counter()
    classes = _class_folders(base, left_out)
    counts: list[int] = []
    paths = Paths.of(_class_images(base, classes, counts, left_out))
    _refuse_empty(base, [name for name, count in zip(classes, counts, strict=True) if not count])
    targets = np.repeat(np.arange(len(classes), dtype=np.int64), counts)
    class_to_idx = {name: i for i, name in enumerate(classes)}
    return FolderScan(base, paths, targets, classes, class_to_idx, keys_of(paths), left_out)


def _class_folders(base: str, left_out: Counter[str]) -> list[str]:
    """The folders directly below, sorted; counts the files beside them."""
    classes = []
    with os.scandir(base) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_directory(entry):
                classes.append(entry.name)
            elif entry.is_symlink() and not Path(entry).exists():  # a class whose images would be missing, perhaps
                raise FileNotFoundError(f"{entry.path} is a link to what is not there: mend it, or remove it")
            else:
                left_out["outside class folders"] += 1
    if not classes:
        raise FileNotFoundError(
            f"no class folders in {base}: it should hold a folder of images for each class; for images without "
            f"class folders say {_NO_LABELS}"
        )
    return sorted(classes)


def _scan_matching_classes(base: str, pattern: str) -> FolderScan:
    """Classes are the first folders of the paths that match."""
    paths = Paths.of(sorted(_matching(base, pattern, Counter()), key=_in_class_order))
    names = [path.partition("/") for path in paths]
    if loose := next((name for name, slash, _ in names if not slash), None):
        raise ValueError(f"{base}/{loose} matches the pattern {pattern!r} but is in no class folder: say {_NO_LABELS}")
    classes = sorted({name for name, _, _ in names})
    class_to_idx = {name: i for i, name in enumerate(classes)}
    targets = np.fromiter((class_to_idx[name] for name, _, _ in names), np.int64, len(paths))
    return FolderScan(base, paths, targets, classes, class_to_idx, keys_of(paths))


def _in_class_order(path: str) -> tuple[str, str, str]:
    """By class, then by directory, then by name: the order without a pattern."""
    directory, _, name = path.rpartition("/")
    return directory.partition("/")[0], directory, name


def scan_pattern(
    root: str | os.PathLike[str], pattern: str | None = None, label: Callable[[str], int] | None = None
) -> FolderScan:
    """Any files by a glob pattern relative to `root`, or all images at any depth, sorted by path.

    '*', '?' and '[...]' match within a name, '**' any number of folders, '{jpg,png}' either. As in a shell,
    case matters and hidden names match only a pattern that starts with a dot. `label` makes the target of a
    relative path; without it targets are -1. Raises FileNotFoundError when nothing matches, ValueError for a
    pattern that leaves `root` or two files with one key, TypeError for a label that is no integer.
    """
    base = _directory(root)
    left_out: Counter[str] = Counter()
    paths = _matching(base, pattern, left_out)
    if label is None:
        targets = np.full(len(paths), -1, np.int64)
    else:
        targets = np.fromiter((_target(label, path) for path in paths), np.int64, len(paths))
    return FolderScan(base, paths, targets, [], {}, keys_of(paths), left_out)


def _matching(base: str, pattern: str | None, left_out: Counter[str]) -> Paths:
    """The sorted paths below `base` that match, without a pattern those of all images; counts the other files."""
    found = _walk(base, "", ANYTHING if pattern is None else _patterns(pattern), frozenset())
    chosen = ((d, names if pattern is not None else _images(names, left_out)) for d, names in found)
    paths = Paths.of(sorted(_join(directory, name) for directory, names in chosen for name in names))
    if not len(paths) and pattern is None:
        raise FileNotFoundError(f"no images in {base}: they end in {', '.join(_SUFFIXES)}")
    if not len(paths):
        raise FileNotFoundError(
            f"no file in {base} matches the pattern {pattern!r}: case matters, and '**/' stands for any depth"
        )
    return paths


def _is_image(name: str) -> bool:
    return name.lower().endswith(_SUFFIXES)


def _images(names: list[str], left_out: Counter[str]) -> list[str]:
    """Those that are images; counts the others by extension."""
    left_out.update(Path(n).suffix.lower() or "without extension" for n in names if not _is_image(n))
    return [n for n in names if _is_image(n)]


def fingerprint(scan: FolderScan) -> str:
    """16 hex digits of what was scanned: paths, targets and classes. Moving the folder keeps it."""
    digest = blake2b(digest_size=8)
    for part in (scan.paths.offsets, scan.targets):
        digest.update(part.astype("<i8").tobytes())
    digest.update(scan.paths.joined.tobytes())
    digest.update(b"\0".join(map(os.fsencode, scan.classes)))
    return digest.hexdigest()


def _directory(root: str | os.PathLike[str]) -> str:
    path = Path(root).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"no folder {path}: check the path")
    if not path.is_dir():
        raise NotADirectoryError(f"{path} is no folder: give the folder that holds the images")
    return str(path)


def _class_images(root: str, classes: Iterable[str], counts: list[int], left_out: Counter[str]) -> Iterator[str]:
    """The images of one class after the other; appends how many it found of each to `counts`."""
    above = frozenset({_identity(root)})
    for name in classes:
        count = 0
        # Sorted by the directory's whole path, as torchvision sorts os.walk: 'a b' lies between 'a' and 'a/c'.
        for directory, names in sorted(_walk(root, name, ANYTHING, above)):
            images = sorted(_images(names, left_out))
            count += len(images)
            yield from (f"{directory}/{image}" for image in images)
        counts.append(count)


def _refuse_empty(root: str, empty: list[str]) -> None:
    if empty:
        named = ", ".join(empty[:10]) + (f" and {len(empty) - 10} more" if len(empty) > 10 else "")
        raise FileNotFoundError(
            f"no images for the classes {named} in {root}: remove these folders, or give a pattern; images end "
            f"in {', '.join(_SUFFIXES)}"
        )


def _walk(root: str, top: str, patterns: Patterns, above: frozenset[Identity]) -> Iterator[tuple[str, list[str]]]:
    """Each directory from `top` down that `patterns` lead to, with its files that they match; unsorted.

    Follows symbolic links, but into none of the directories that it is in (`above`, those above `top`).
    Listings tell files from directories, so only directories and links cost a stat.
    """
    pending = [(top, patterns, above)]
    while pending:
        directory, patterns, above = pending.pop()
        place = _join(root, directory) if directory else root
        identity = _identity(place)
        if identity in above:
            continue
        names = []
        with os.scandir(place) as entries:
            for entry in entries:
                if not _is_directory(entry):
                    if any(len(p) == 1 and _matches(entry.name, p[0]) for p in patterns):
                        names.append(entry.name)
                elif below := _below(patterns, entry.name):
                    pending.append((_join(directory, entry.name), below, above | {identity}))
        yield directory, names


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: like any broken link a file, whose name the error on reading it says
        return False


def _identity(directory: str) -> Identity:
    status = Path(directory).stat()
    return status.st_dev, status.st_ino


def _patterns(pattern: str) -> Patterns:
    """The pattern's alternatives, each as its segments."""
    segments = {tuple(p.split("/")) for p in braceexpand(pattern, escape=False)}
    for parts in segments:
        if not all(parts) or not {".", ".."}.isdisjoint(parts):
            raise ValueError(f"pattern {pattern!r} must be a path below the root, without '.', '..' or '//'")
    return _with_none_for_stars((*p, "*") if p[-1] == "**" else p for p in segments)


def _with_none_for_stars(patterns: Iterable[tuple[str, ...]]) -> Patterns:
    """The patterns, and what they are where a leading '**' stands for no folder at all."""
    closed = set()
    for parts in patterns:
        closed.add(parts)
        while parts[0] == "**":
            parts = parts[1:]
            closed.add(parts)
    return frozenset(closed)


def _below(patterns: Patterns, folder: str) -> Patterns:
    """What is left of the patterns below `folder`; empty when they do not lead there."""
    deeper = (p if p[0] == "**" else p[1:] for p in patterns if len(p) > 1 and _matches(folder, p[0]))
    return _with_none_for_stars(deeper)


def _matches(name: str, segment: str) -> bool:
    return fnmatchcase(name, segment) and (segment[0] == "." or name[0] != ".")


def _target(label: Callable[[str], int], path: str) -> int:
    target = label(path)
    try:
        return operator.index(target)
    except TypeError:
        raise TypeError(f"the label of {path} must be an int, not {target!r}") from None


def _join(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name
