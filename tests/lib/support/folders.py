"""Folders of files in which nothing is."""

from pathlib import Path


def grow(root: Path, *files: str) -> Path:
    """Empty files below `root`, with their folders."""
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root
