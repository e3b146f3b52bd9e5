"""docs/reference.md from the docstrings: the public names with a sentence each, and the methods of what is used most.

    python tools/reference.py > docs/reference.md

A test says where the page is behind. For the site mkdocs adds each name's signature and its whole docstring.
"""

import importlib.util
import inspect
import re
from pathlib import Path
from typing import Any

import fastdata as fd

_HEAD = """# Names

All public names, by what they are about, and a sentence on each: `help(fd.Loader)` says more. The page is made of the
docstrings by `python tools/reference.py`.
"""
_ROOMS = {
    "datasets": "Datasets",
    "loading": "Loading",
    "transforms": "Transforms, views and fields",
    "epoch": "Orders",
    "sample": "Samples and batches",
    "sources": "Tables and caches",
    "images": "Images",
    "packing": "Packing",
    "commands": "Looking",
    "errors": "Errors",
}
_OF_DATASETS = ["num_samples", "key", "where", "fingerprint", "targets", "read", "load", "image_sizes", "set_epoch"]
_OF_RUNS = ["epoch", "set_epoch", "remaining", "state_dict", "load_state_dict"]
_MEMBERS = {
    "Loader": [*_OF_RUNS, "stats", "close"],
    "ImageDirectoryDataset": [*_OF_DATASETS, "samples", "select"],
    "TarImageDataset": [*_OF_DATASETS, "epoch", "remaining", "state_dict", "load_state_dict"],
    "EpochSampler": _OF_RUNS,
    "Batch": ["images", "targets", "keys", "views", "to", "pin_memory"],
    "Stats": ["images_per_second", "bottleneck"],
    "View": ["to_source"],
}


def page() -> str:
    """The whole page, as Markdown."""
    parts = [_HEAD]
    by_room = names_by_room()
    for room, title in _ROOMS.items():
        parts.append(f"\n## {title}\n\n| name | |\n|---|---|\n")
        parts += [f"| `{name}` | {sentence(value_of(name))} |\n" for name in by_room.pop(room)]
    assert not by_room, f"names of rooms that have no title here: {by_room}"
    parts += [members(name) for name in _MEMBERS]
    return "".join(parts)


def names_by_room() -> dict[str, list[str]]:
    """The public names by the folder, or file, of the package that they are in."""
    spec = importlib.util.find_spec("fastdata")
    assert spec is not None
    assert spec.origin is not None
    stub = Path(spec.origin).with_suffix(".pyi").read_text()
    rooms: dict[str, list[str]] = {}
    for room, name in re.findall(r"^from \.(\w+)\S* import (\w+) as \2$", stub, re.MULTILINE):
        rooms.setdefault(room, []).append(name)
    assert sorted(name for names in rooms.values() for name in names) == dir(fd)
    return rooms


def value_of(name: str) -> Any:
    return getattr(fd, name)


def members(name: str) -> str:
    """A table of what a class has."""
    values = {member: getattr(value_of(name), member) for member in _MEMBERS[name]}
    rows = [f"| `{m}{'()' if callable(v) else ''}` | {sentence(v)} |\n" for m, v in values.items()]
    return f"\n## What {name} has\n\n| name | |\n|---|---|\n{''.join(rows)}"


def sentence(value: Any) -> str:
    """The first one of its docstring, in a line that a table takes."""
    if isinstance(value, str):
        return "Which compiled kernel is in use, such as `avx2`; `none` where there is none."
    text = " ".join((inspect.getdoc(value) or "").partition("\n\n")[0].split())
    assert text, f"{value} has no docstring"
    return re.split(r"(?<=[.])\s+(?=[A-Z`])", text)[0].replace("|", "\\|")


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """What mkdocs calls for each page."""
    if page.file.src_uri != "reference.md":
        return markdown
    return markdown + "\n## In full\n" + "".join(in_full(name) for name in dir(fd) if name != "kernel")


def in_full(name: str) -> str:
    """Signature and docstring."""
    value = value_of(name)
    plain = inspect.isclass(value) and issubclass(value, Exception | dict)  # without a signature of their own
    signature = "" if plain else str(inspect.signature(value))
    return f"\n### {name}\n\n```python\n{name}{signature}\n```\n\n{inspect.getdoc(value)}\n"


if __name__ == "__main__":
    print(page(), end="")
