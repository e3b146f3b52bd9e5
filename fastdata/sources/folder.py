"""Find the samples of a folder: its images or other files, in a fixed order, with their classes."""

import operator
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray

from fastdata.sample import IMAGE_EXTENSIONS
from fastdata.sources.paths import Keys, Paths, keys_of
from fastdata.sources.walk import ANYTHING, Folder, LocalFolder, join, patterns_of

_SUFFIXES = tuple("." + extension for extension in IMAGE_EXTENSIONS)
_NO_LABELS = "labels=None (--labels none on the command line)"


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

    def key_and_path(self, index: int) -> tuple[str, str]:
        """Both, in the time of one."""
        path = self.paths[index]
        return self.keys.of(index, path), f"{self.root}/{path}"


def scan_classes(
    root: str | os.PathLike[str] | Folder, pattern: str | None = None, *, follow_links: bool = True
) -> FolderScan:
    """Images in class folders, as torchvision's ImageFolder has them, or the files in them that match `pattern`.

    The folders directly below `root`, sorted, are the classes; images lie at any depth below them, in the
    order of torchvision's `make_dataset` (by directory, then by name). Unlike there hidden files and folders
    are left out ('.ipynb_checkpoints', '._x.jpg'), and a symbolic link to a folder that it lies in ends there.
    Raises FileNotFoundError or NotADirectoryError for a missing root, no class folders or classes without
    images, and ValueError for two files with one key (see `keys_of`), a match in no class folder or, without
    `follow_links`, a sample that a symbolic link takes from outside of `root`.
    """
    folder = _folder(root)
    scan = _scan_class_folders(folder) if pattern is None else _scan_matching_classes(folder, pattern)
    if not follow_links and folder.has_links:
        refuse_links_out(folder.root, scan.paths)
    return scan


def _scan_class_folders(folder: Folder) -> FolderScan:
    left_out: Counter[str] = Counter()
    classes = _class_folders(folder, left_out)
    counts: list[int] = []
    paths = Paths.of(_class_images(folder, classes, counts, left_out))
    base = folder.root
    if not len(paths) and left_out[".tar"]:
        raise _of_shards(base, "**/*.tar")
    refuse_empty(base, [name for name, count in zip(classes, counts, strict=True) if not count])
    targets = np.repeat(np.arange(len(classes), dtype=np.int64), counts)
    class_to_idx = {name: i for i, name in enumerate(classes)}
    return FolderScan(base, paths, targets, classes, class_to_idx, keys_of(paths), left_out)


def _class_folders(folder: Folder, left_out: Counter[str]) -> list[str]:
    """The folders directly below, sorted; counts the files beside them."""
    top = folder.top()
    if top.files:
        left_out["outside class folders"] += top.files
    if not top.folders:
        if any(name.endswith(".tar") for name in folder.files_in("")):
            raise _of_shards(folder.root, "*.tar")
        raise FileNotFoundError(
            f"no class folders in {folder.root}: it should hold a folder of images for each class; for images without "
            f"class folders say {_NO_LABELS}, and pattern='*.jpg' for some of them"
        )
    return sorted(top.folders)


def _scan_matching_classes(folder: Folder, pattern: str) -> FolderScan:
    """Classes are the first folders of the paths that match."""
    base = folder.root
    paths = Paths.of(sorted(_matching(folder, pattern, Counter()), key=_in_class_order))
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
    root: str | os.PathLike[str] | Folder,
    pattern: str | None = None,
    label: Callable[[str], SupportsIndex] | None = None,
    *,
    follow_links: bool = True,
) -> FolderScan:
    """Any files by a glob pattern relative to `root`, or all images at any depth, sorted by path.

    '*', '?' and '[...]' match within a name, '**' any number of folders, '{jpg,png}' either. As in a shell,
    case matters and hidden names match only a pattern that starts with a dot. `label` makes the target of a
    relative path; without it targets are -1. Raises FileNotFoundError when nothing matches, TypeError for a
    label that is no integer, and ValueError for a pattern that leaves `root`, two files with one key or,
    without `follow_links`, a sample that a symbolic link takes from outside of `root`.
    """
    folder = _folder(root)
    left_out: Counter[str] = Counter()
    paths = _matching(folder, pattern, left_out)
    if not follow_links and folder.has_links:
        refuse_links_out(folder.root, paths)
    if label is None:
        targets = np.full(len(paths), -1, np.int64)
    else:
        targets = np.fromiter((_target(label, path) for path in paths), np.int64, len(paths))
    return FolderScan(folder.root, paths, targets, [], {}, keys_of(paths), left_out)


def selected(scan: FolderScan, numbers: NDArray[np.int64]) -> FolderScan:
    """Some samples of a scan, with the keys and the classes that they had."""
    paths = Paths.of(scan.paths[number] for number in numbers.tolist())
    return replace(scan, paths=paths, targets=scan.targets[numbers], keys=Keys(paths, scan.keys.apart[numbers]))


def refuse_links_out(base: str, paths: Iterable[str]) -> None:
    """Raises ValueError for the first path of which a link, or a folder that is a link, leads out of `base`."""
    inside = os.path.realpath(base)
    folders: dict[str, bool] = {}
    links: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        if folder not in folders:
            folders[folder] = _is_within(inside, os.path.realpath(f"{base}/{folder}"))
            links |= _links_in(base, folder)
        is_link = path in links
        if not is_link and folders[folder]:
            continue
        place = os.path.realpath(f"{base}/{path if is_link else folder}")
        if not _is_within(inside, place):
            raise ValueError(
                f"a link takes {base}/{path} from outside of {base}, from {place}: remove it, or say --follow-links "
                f"(follow_links=True)"
            )


def _is_within(folder: str, place: str) -> bool:
    return place == folder or place.startswith(folder.rstrip("/") + "/")


def _links_in(base: str, folder: str) -> set[str]:
    """The paths of the links in a folder below `base`: a listing tells them, which takes less than asking for each."""
    with os.scandir(join(base, folder)) as entries:
        return {join(folder, entry.name) for entry in entries if entry.is_symlink()}


def _matching(folder: Folder, pattern: str | None, left_out: Counter[str]) -> Paths:
    """The sorted paths below `base` that match, without a pattern those of all images; counts the other files."""
    base, found = folder.root, folder.walk("", ANYTHING if pattern is None else patterns_of(pattern))
    chosen = ((d, names if pattern is not None else _images(names, left_out)) for d, names in found)
    paths = Paths.of(sorted(join(directory, name) for directory, names in chosen for name in names))
    if not len(paths) and left_out[".tar"]:
        raise _of_shards(base, "**/*.tar")
    if not len(paths) and pattern is None:
        raise FileNotFoundError(f"no images in {base}: they end in {', '.join(_SUFFIXES)}")
    if not len(paths):
        raise FileNotFoundError(
            f"no file in {base} matches the pattern {pattern!r}: case matters, and '**/' stands for any depth"
        )
    return paths


def _of_shards(base: str, pattern: str) -> FileNotFoundError:
    shards = f"{base.rstrip('/')}/{pattern}"
    return FileNotFoundError(
        f"{base} holds tar shards, no images: say TarImageDataset({shards!r}), and {shards!r} on the command line"
    )


def _is_image(name: str) -> bool:
    return name.lower().endswith(_SUFFIXES)


def _images(names: list[str], left_out: Counter[str]) -> list[str]:
    """Those that are images; counts the others by extension."""
    images = [n for n in names if _is_image(n)]
    if len(images) < len(names):
        left_out.update(Path(n).suffix.lower() or "without extension" for n in names if not _is_image(n))
    return images


def fingerprint(scan: FolderScan) -> str:
    """16 hex digits of what was scanned: paths, targets and classes. Moving the folder keeps it."""
    digest = blake2b(digest_size=8)
    for part in (scan.paths.offsets, scan.targets):
        digest.update(part.astype("<i8").tobytes())
    digest.update(scan.paths.joined.tobytes())
    digest.update(b"\0".join(map(os.fsencode, scan.classes)))
    return digest.hexdigest()


def _folder(root: str | os.PathLike[str] | Folder) -> Folder:
    if not isinstance(root, str | os.PathLike):
        return root
    path = Path(root).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"no folder {path}: check the path")
    if not path.is_dir():
        raise NotADirectoryError(f"{path} is no folder: give the folder that holds the images")
    return LocalFolder(str(path))


def _class_images(folder: Folder, classes: Iterable[str], counts: list[int], left_out: Counter[str]) -> Iterator[str]:
    """The images of one class after the other; appends how many it found of each to `counts`."""
    for name in classes:
        count = 0
        # Sorted by the directory's whole path, as torchvision sorts os.walk: 'a b' lies between 'a' and 'a/c'.
        for directory, names in sorted(folder.walk(name, ANYTHING)):
            images = sorted(_images(names, left_out))
            count += len(images)
            yield from (f"{directory}/{image}" for image in images)
        counts.append(count)


def refuse_empty(root: str, empty: list[str]) -> None:
    """Raises FileNotFoundError that names the classes without images, if there are any."""
    if empty:
        named = ", ".join(empty[:10]) + (f" and {len(empty) - 10} more" if len(empty) > 10 else "")
        raise FileNotFoundError(
            f"no images for the classes {named} in {root}: remove these folders, or give a pattern; images end "
            f"in {', '.join(_SUFFIXES)}"
        )


def _target(label: Callable[[str], SupportsIndex], path: str) -> int:
    target = label(path)
    try:
        return operator.index(target)
    except TypeError:
        raise TypeError(f"the label of {path} must be an int, not {target!r}") from None
