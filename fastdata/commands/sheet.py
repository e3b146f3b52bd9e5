"""Contact sheets: images in rows, with what they are drawn in and written below."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from fastdata.commands.terminal import printable
from fastdata.sample import Batch

_GAP = 6  # pixels around tiles
_LINE = 14  # pixels for a line of text
_NO_CLASS = 255  # of masks
_COLOURS = np.array([(230, 25, 75), (60, 180, 75), (0, 130, 200), (245, 130, 48), (145, 30, 180), (70, 240, 240)])


class Tile(NamedTuple):
    """An image, and the lines below it."""

    image: Image.Image
    lines: tuple[str, ...]


def contact_sheet(tiles: Sequence[Tile], columns: int) -> Image.Image:
    """All tiles in rows of so many, each in a cell of the size of the largest. ValueError where there are none."""
    if not tiles:
        raise ValueError("no images to show")
    width = max(tile.image.width for tile in tiles) + _GAP
    height = max(tile.image.height + _LINE * len(tile.lines) for tile in tiles) + _GAP
    columns = min(columns, len(tiles))
    sheet = Image.new("RGB", (columns * width + _GAP, -(-len(tiles) // columns) * height + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_LINE - 3)
    for place, tile in enumerate(tiles):
        x, y = _GAP + place % columns * width, _GAP + place // columns * height
        sheet.paste(tile.image, (x, y))
        for number, line in enumerate(tile.lines):
            text = _shortened(printable(line), width - _GAP, font)
            draw.text((x, y + tile.image.height + number * _LINE), text, "black", font)
    return sheet


def _shortened(text: str, width: int, font: Any) -> str:
    """What of a text's end fits: of a key that tells most."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength("…" + text) > width:
        text = text[1 + len(text) // 16 :]
    return "…" + text


def show(batch: Batch, columns: int = 8, classes: Sequence[str] = ()) -> Image.Image:
    """A contact sheet of a batch, as a Pillow image, which notebooks display.

    Images are uint8 of shape (N, 3, H, W); of several views, a dict of (N, count, 3, H, W), each is a tile. Below stand
    targets that are numbers (by name where `classes` has it) or texts, and the key. Masks of the images' size, boxes
    (n, 4) and points (n, 2) or (n, 3) among the targets are drawn in.

    ValueError for other images: what `normalize=` has made is no picture any more.
    """
    tiles = [
        tile_of(image, _of_row(batch.targets, row), batch.keys[row], classes, name)
        for row in range(len(batch.keys))
        for name, image in _views(batch.images, row)
    ]
    return contact_sheet(tiles, columns)


def tile_of(image: Any, target: Any, key: str, classes: Sequence[str], view: str = "") -> Tile:
    """The tile of an image, a uint8 tensor (3, H, W), with its target and key. ValueError for another image."""
    if str(image.dtype) != "torch.uint8":
        raise ValueError(f"images are shown as uint8, these are {image.dtype}: take the Loader's without normalize=")
    pixels = np.ascontiguousarray(image.cpu().numpy().transpose(1, 2, 0))
    texts, drawings = [view] if view else [], []
    for value in _values(target):
        if isinstance(value, int) and not isinstance(value, bool):
            texts.append(classes[value] if 0 <= value < len(classes) else str(value))
        elif isinstance(value, str):
            texts.append(value)
        elif getattr(value, "ndim", 0) == 0 and hasattr(value, "item"):
            number = value.item()
            texts.append(classes[number] if isinstance(number, int) and 0 <= number < len(classes) else f"{number}")
        elif getattr(value, "ndim", 0) == 2:
            drawings.append(np.asarray(value.cpu() if hasattr(value, "cpu") else value))
    return Tile(_drawn_in(pixels, drawings), (", ".join(texts), key))


def _views(images: Any, row: int) -> Iterator[tuple[str, Any]]:
    """A sample's images: one without a name, or all of its views."""
    if not isinstance(images, dict):
        yield "", images[row]
        return
    for name, views in images.items():
        yield from ((f"{name} {number}", view) for number, view in enumerate(views[row]))


def _of_row(targets: Any, row: int) -> Any:
    return {name: _of_row(value, row) for name, value in targets.items()} if isinstance(targets, dict) else targets[row]


def _values(target: Any) -> Iterator[Any]:
    """What a target consists of."""
    if isinstance(target, dict):
        for value in target.values():
            yield from _values(value)
    else:
        yield target


def _drawn_in(pixels: npt.NDArray[np.uint8], drawings: list[npt.NDArray[Any]]) -> Image.Image:
    """The image with masks, boxes and points, told apart by their shapes."""
    for mask in drawings:
        if mask.shape == pixels.shape[:2]:
            coloured = (_COLOURS[mask.astype(np.int64) % len(_COLOURS)] + pixels.astype(np.int64)) // 2
            pixels = np.where(((mask != 0) & (mask != _NO_CLASS))[:, :, np.newaxis], coloured, pixels).astype(np.uint8)
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    for drawing in drawings:
        colours = [tuple(_COLOURS[number % len(_COLOURS)].tolist()) for number in range(len(drawing))]
        if drawing.shape == pixels.shape[:2]:
            continue
        if drawing.shape[1] == 4:
            for (left, top, right, bottom), colour in zip(drawing.tolist(), colours, strict=True):
                draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour, width=2)
        elif drawing.shape[1] in (2, 3):
            for (x, y, *visible), colour in zip(drawing.tolist(), colours, strict=True):
                if visible != [0]:
                    draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colour)
    return image
