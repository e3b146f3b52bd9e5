"""A view: one draw of a transform for one image, as whatever decodes the image carries it out."""

from typing import Any, Literal, NamedTuple, TypeVar

Interpolation = Literal["bilinear", "bicubic"]

Boxes = TypeVar("Boxes", bound=Any)
"""A tensor or an array: what comes in goes out."""


class Box(NamedTuple):
    """A rectangle in pixels, as Pillow has it: `right` and `bottom` are the first ones outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top


class View(NamedTuple):
    """One draw of a transform for one image: all that a decoder needs to know.

    The `box` of the upright image (EXIF orientation applied) is resized to `size` (width, height); `window` is
    cut out of that, black where it reaches beyond; then it is mirrored left to right if `flip`, top to bottom if
    `flip_vertical`. `antialias` and `reducing_gap` are the transform's, `interpolation` that of the step that resizes.
    """

    box: Box
    size: tuple[int, int]
    window: Box
    flip: bool
    antialias: bool = True
    reducing_gap: float | None = 2.0
    flip_vertical: bool = False
    interpolation: Interpolation = "bilinear"

    def to_source(self, boxes: Boxes) -> Boxes:
        """Boxes in the image that came out, as they lie in the upright source image: predictions mapped back.

        A tensor or float array of shape (..., 4), each (left, top, right, bottom) in pixels; so is the result, anew.
        What lies in padding maps beyond the box.
        """
        source: Boxes = boxes * 1.0
        left, top, right, bottom = (boxes[..., edge] for edge in range(4))
        if self.flip:
            left, right = self.window.width - right, self.window.width - left
        if self.flip_vertical:
            top, bottom = self.window.height - bottom, self.window.height - top
        across = self.box.width / self.size[0]
        down = self.box.height / self.size[1]
        source[..., 0] = (left + self.window.left) * across + self.box.left
        source[..., 1] = (top + self.window.top) * down + self.box.top
        source[..., 2] = (right + self.window.left) * across + self.box.left
        source[..., 3] = (bottom + self.window.top) * down + self.box.top
        return source
