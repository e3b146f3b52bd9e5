"""The real torchvision, for tests that compare with it.

Its wheel for CPUs can't be had beside every torch, and one whose compiled operators don't fit torch's version does not
import. Its transforms are Python, so it suffices to declare those operators. FASTDATA_TORCHVISION is the folder that
`pip install --no-deps --target FOLDER torchvision` filled: a folder of its own, as Lightning and others look for an
installed one, and would fail.
"""

import functools
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
import torch


@contextmanager
def torchvision() -> Iterator[ModuleType]:
    """`torchvision`, importable while this lasts; a skip where there is none, a failure with FASTDATA_REQUIRE_TOOLS."""
    if importlib.util.find_spec("torchvision"):
        yield importlib.import_module("torchvision")
        return
    folder = os.environ.get("FASTDATA_TORCHVISION")
    if not folder or not Path(folder, "torchvision").is_dir():
        missing = f"no torchvision at FASTDATA_TORCHVISION={folder!r}"
        if os.environ.get("FASTDATA_REQUIRE_TOOLS"):
            pytest.fail(f"{missing}, and FASTDATA_REQUIRE_TOOLS is set")
        pytest.skip(missing)
    sys.path.append(folder)
    try:
        if _modules:
            sys.modules.update(_modules)
        else:
            _declare_operators(Path(folder))
        yield importlib.import_module("torchvision.transforms.v2") and sys.modules["torchvision"]
    finally:
        sys.path.remove(folder)
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            _modules[name] = sys.modules.pop(name)


_modules: dict[str, ModuleType] = {}


@functools.cache
def _declare_operators(folder: Path) -> torch.library.Library:
    """Those that `_meta_registrations` describes, by their names; the library lives as long as what is returned."""
    source = (folder / "torchvision" / "_meta_registrations.py").read_text()
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in sorted(set(re.findall(r'(?:register_meta\("|torchvision::)(\w+)"', source))):
        library.define(f"{name}() -> ()")  # type: ignore[no-untyped-call]
    return library
