"""Files that appear whole, or not at all: this is how everything is written."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that appears under its name when it is complete and on disk, or not at all."""
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.tmp")
    try:
        unwritten = temporary.open("xb")
    except OSError as error:
        error.filename = str(path)  # the name that is known to whoever asked for it
        raise
    try:
        with unwritten as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
