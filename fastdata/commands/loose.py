"""Images that lie directly in a folder."""

from pathlib import Path

from fastdata.sample import IMAGE_EXTENSIONS


def has_loose_images(folder: str) -> bool:
    """Whether images lie directly in it, so that its folders are no classes."""
    return any(path.suffix[1:].lower() in IMAGE_EXTENSIONS for path in Path(folder).iterdir())
