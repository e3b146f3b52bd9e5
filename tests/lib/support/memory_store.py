"""A store of files in this process's memory, by fsspec."""

from typing import Any

import pytest


def empty_memory(monkeypatch: pytest.MonkeyPatch) -> Any:
    """fsspec's filesystem of `memory://` URLs, in which nothing is when the test begins."""
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setattr(MemoryFileSystem, "store", {})
    return MemoryFileSystem
