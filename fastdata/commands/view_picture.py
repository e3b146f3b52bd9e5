"""Where the picture of `fastdata view` goes: into a file, or into the terminal."""

import io
import os
import sys
from pathlib import Path

from PIL import Image

from fastdata.commands.as_json import as_json
from fastdata.commands.inline import inline, protocol
from fastdata.commands.outcome import check_out
from fastdata.commands.terminal import echo, printable
from fastdata.commands.view import Sheet
from fastdata.files import whole_file

_DEFAULT = Path("view.png")


def show_picture(sheet: Sheet, out: Path | None, json: bool) -> None:
    """Writes it to `out`, or without that shows it in a terminal that can, else writes view.png; says where it is.

    Of a sheet on which nothing can be shown there is no picture: as JSON its `out` is null.

    `check_picture` says what is wrong with `out`.
    """
    if sheet.is_grey:
        if json:
            echo(as_json({"out": None, "width": 0, "height": 0, "samples": sheet.samples}))
        return
    by = protocol(os.environ) if out is None and not json and sys.stdout.isatty() else None
    if by is not None:
        sys.stdout.write(inline(_encoded(sheet.picture, "PNG"), by))
        return
    path = out or _DEFAULT
    picture = _encoded(sheet.picture, _format_of(path))
    with whole_file(path) as file:
        file.write(picture)
    size = sheet.picture.size
    if json:
        echo(as_json({"out": str(path), "width": size[0], "height": size[1], "samples": sheet.samples}))
    else:
        echo(f"{printable(path)}: {size[0]} x {size[1]} pixels")


def _encoded(picture: Image.Image, format: str) -> bytes:
    file = io.BytesIO()
    picture.save(file, format)
    return file.getvalue()


def check_picture(out: Path | None) -> None:
    """ValueError for an extension that Pillow writes no format for; OSError where the picture's folder is missing."""
    _format_of(out or _DEFAULT)
    check_out(out or _DEFAULT)


def _format_of(path: Path) -> str:
    format = Image.registered_extensions().get(path.suffix.lower(), "")
    if format not in Image.SAVE:
        raise ValueError(f"{path}: no picture is written with this extension: say .png, .jpg or .webp")
    return format
