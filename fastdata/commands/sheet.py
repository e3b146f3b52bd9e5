"""Contact sheets: images in rows, with what they are drawn in and written below."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from fastdata.commands.drawing import Drawing, as_array, drawn_in
from fastdata.commands.lettering import Lettering, lettering
from fastdata.sample import Batch

_GAP = 6  # pixels around tiles
_LINE = 14  # pixels for a line of text


class Tile(NamedTuple):
    """An image, and the lines below it: the last part of a key tells most, the first part of a `cause`."""

    image: Image.Image
    lines: tuple[str, ...]
    cause: str = ""

    @property
    def height(self) -> int:
        """With its lines, in pixels."""
        return self.image.height + _LINE * (len(self.lines) + bool(self.cause))


def contact_sheet(tiles: Sequence[Tile], columns: int) -> Image.Image:
    """All tiles in rows of so many, each in a cell of the size of the largest. ValueError where there are none."""
    if not tiles:
        raise ValueError("no images to show")
    width = max(tile.image.width for tile in tiles) + _GAP
    height = max(tile.height for tile in tiles) + _GAP
    columns = min(columns, len(tiles))
    sheet = Image.new("RGB", (columns * width + _GAP, -(-len(tiles) // columns) * height + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for place, tile in enumerate(tiles):
        x, y = _GAP + place % columns * width, _GAP + place // columns * height
        sheet.paste(tile.image, (x, y))
        texts = [_ending(lettering(line, _LINE - 3), width - _GAP) for line in tile.lines]
        if tile.cause:
            texts.insert(0, _beginning(lettering(tile.cause, _LINE - 3), width - _GAP))
        for number, (text, font) in enumerate(texts):
            draw.text((x, y + tile.image.height + number * _LINE), text, "black", font)
    return sheet


def _ending(letters: Lettering, width: int) -> Lettering:
    """What of a text's end fits."""
    text, font = letters
    if font.getlength(text) <= width:
        return letters
    while text and font.getlength("…" + text) > width:
        text = text[1 + len(text) // 16 :]
    return Lettering("…" + text, font)


def _beginning(letters: Lettering, width: int) -> Lettering:
    """What of a text's beginning fits."""
    text, font = letters
    if font.getlength(text) <= width:
        return letters
    while text and font.getlength(text + "…") > width:
        text = text[: -1 - len(text) // 16]
    return Lettering(text + "…", font)


def show(batch: Batch, columns: int = 8, classes: Sequence[str] = ()) -> Image.Image:
    """A contact sheet of a batch, as a Pillow image, which notebooks display.

    Images are uint8 of shape (N, 3, H, W); of several views, a dict of (N, count, 3, H, W), each is a tile. Below stand
    targets that are numbers (by name where `classes` has it) or texts, and the key. Masks of the images' size, boxes
    (n, 4), with their labels, and points (n, 2) or (n, 3) among the targets are drawn in.

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
    texts, drawings = [view] if view else [], list[Drawing]()
    for value in _values(target):
        if isinstance(value, int) and not isinstance(value, bool):
            texts.append(classes[value] if 0 <= value < len(classes) else str(value))
        elif isinstance(value, str):
            texts.append(value)
        elif getattr(value, "ndim", 0) == 0 and hasattr(value, "item"):
            number = value.item()
            texts.append(classes[number] if isinstance(number, int) and 0 <= number < len(classes) else f"{number}")
        elif isinstance(value, Drawing):
            drawings.append(value)
    return Tile(drawn_in(pixels, drawings), (", ".join(texts), key))


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
    """What a target consists of: numbers, texts, and what is to be drawn, boxes with their labels."""
    if isinstance(target, dict):
        of_boxes = target["labels"].tolist() if {"boxes", "labels"} <= target.keys() else []
        for name, value in target.items():
            if name == "boxes" and of_boxes:
                yield Drawing(as_array(value), of_boxes)
            else:
                yield from _values(value)
    elif getattr(target, "ndim", 0) == 2:
        yield Drawing(as_array(target), [])
    else:
        yield target
