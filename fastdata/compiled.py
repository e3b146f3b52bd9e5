"""The compiled extensions, each of which is optional: where one is missing, or turned off, Python does the same."""

import os
from importlib import import_module
from types import ModuleType


def is_turned_off() -> bool:
    """Whether FASTDATA_KERNEL says that all is to be done in Python."""
    return os.environ.get("FASTDATA_KERNEL", "").lower() in ("no", "0", "off")


def extension(name: str) -> ModuleType | None:
    """The module of this name; None where it was not built, as without a compiler, or is turned off."""
    if is_turned_off():
        return None
    try:
        return import_module(name)
    except ImportError:
        return None
