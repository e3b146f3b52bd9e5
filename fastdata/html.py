"""What notebooks show of a value: tables, in which all that was read is escaped."""

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastdata.sample import Pixels


class Picture:
    """A picture in a cell: pixels, uint8 of shape (height, width, 3), shown at most `side` pixels high or wide."""

    def __init__(self, pixels: "Pixels", side: int = 96) -> None:
        self._pixels, self._side = pixels, side

    def __str__(self) -> str:
        from PIL import Image

        image, file = Image.fromarray(self._pixels), io.BytesIO()
        image.thumbnail((self._side, self._side))
        image.save(file, "PNG")
        return f'<img src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'


def table(title: str, rows: Iterable[Sequence[object]]) -> str:
    """The HTML of a table; cells are pictures, or texts of what they are."""
    lines = ("".join(f"<td>{_cell(cell)}</td>" for cell in row) for row in rows)
    return f"<b>{escape(title)}</b><table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _cell(cell: object) -> str:
    text = str(cell)
    return text if isinstance(cell, Picture) else escape(text.encode(errors="backslashreplace").decode())
