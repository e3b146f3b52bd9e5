"""The file that a command is to write: looked at before the work begins, not when it is done."""

import os
from pathlib import Path


def check_out(file: Path) -> None:
    """FileNotFoundError where its folder is missing, IsADirectoryError where it is a folder itself, PermissionError
    where nothing may be written into its folder."""
    if not file.parent.is_dir():
        raise FileNotFoundError(f"no folder {file.parent} for {file.name}: make it first")
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder: name the file to write")
    if not os.access(file.parent, os.W_OK):
        raise PermissionError(
            f"nothing may be written into the folder {file.parent}: name another place for {file.name}"
        )
