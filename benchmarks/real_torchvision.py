"""torchvision, for contestants that use it: the installed one, or that of the folder FASTDATA_TORCHVISION.

Its wheel brings a torch of its own kind along, or does not import beside the one that is here, for want of its compiled
operators. Its data sets and transforms are Python; `pip install --no-deps --target FOLDER torchvision` gives them, and
the operators need only be declared.
"""

import functools
import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import Any

import torch

FORKED = "fork"
"""How a DataLoader's workers start that use it: in a process that is spawned the operators would not be declared."""


def why_not() -> str | None:
    """What is missing, where there is none."""
    if importlib.util.find_spec("torchvision") or _folder() is not None:
        return None
    return "torchvision is neither installed nor in the folder FASTDATA_TORCHVISION"


def _folder() -> Path | None:
    folder = os.environ.get("FASTDATA_TORCHVISION")
    return Path(folder) if folder and Path(folder, "torchvision").is_dir() else None


def torchvision() -> Any:
    """The package, with its `datasets` and `transforms.v2`."""
    folder = _folder()
    if folder is not None and not importlib.util.find_spec("torchvision"):
        sys.path.append(str(folder))
        _declare_operators(folder)
    importlib.import_module("torchvision.transforms.v2")
    return importlib.import_module("torchvision")


@functools.cache
def _declare_operators(folder: Path) -> torch.library.Library:
    """By their names, which `_meta_registrations` tells; the library lives as long as what is returned."""
    source = (folder / "torchvision" / "_meta_registrations.py").read_text()
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in sorted(set(re.findall(r'(?:register_meta\("|torchvision::)(\w+)"', source))):
        library.define(f"{name}() -> ()")  # type: ignore[no-untyped-call]
    return library
