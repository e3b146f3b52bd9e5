"""Decoded pixels become a view: resize, turn upright, window and flip."""

from typing import NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from fastdata.images.header import Header
from fastdata.sample import Pixels
from fastdata.transforms.view import Box, View


class Source(NamedTuple):
    """Decoded pixels, in stored orientation, that hold a view's box at (left, top, right, bottom) in them."""

    pixels: Pixels
    box: tuple[float, float, float, float]


def resample(source: Source, view: View, header: Header, out: Pixels | None = None) -> Pixels:
    """The second half of `decode`: resize, turn upright, window and flip."""
    shape = (view.window.height, view.window.width, 3)
    if out is None:
        out = np.empty(shape, np.uint8)
    elif out.shape != shape or out.dtype != np.uint8 or not out.flags.writeable:
        raise ValueError(f"out must be a writable uint8 array of shape {shape}, got {out.dtype} of {out.shape}")
    mirrored = view.flip or view.flip_vertical
    at_once = view.window == (0, 0, *view.size) and not mirrored and header.orientation == 1
    into = out if at_once and out.flags.c_contiguous else None
    pixels = _resize(source, stored_size(view, header), view, into)
    if pixels is into:
        return out
    if header.orientation != 1:
        transposed, flip_x, flip_y = _ORIENTATION[header.orientation]
        pixels = pixels.transpose(1, 0, 2) if transposed else pixels
        pixels = pixels[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
    _finish(pixels, view, out)
    return out


_PLAIN = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
_ANTIALIASED = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

# How to turn stored pixels upright, by EXIF orientation: transpose?, then mirror in x?, in y?
_ORIENTATION = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}


def stored_size(view: View, header: Header) -> tuple[int, int]:
    """The view's size (width, height) before EXIF orientation is applied."""
    transposed = _ORIENTATION[header.orientation][0]
    return (view.size[1], view.size[0]) if transposed else view.size


def _resize(source: Source, size: tuple[int, int], view: View, into: Pixels | None) -> Pixels:
    """The source's box, resized to `size` (width, height) as the view says, in the memory of `into` where it can be."""
    left, top = int(source.box[0]), int(source.box[1])
    right, bottom = -int(-source.box[2] // 1), -int(-source.box[3] // 1)
    box = source.pixels[top:bottom, left:right]
    if source.box != (left, top, right, bottom):
        inside = (source.box[0] - left, source.box[1] - top, source.box[2] - left, source.box[3] - top)
        return _resize_between_pixels(Source(box, inside), size, view)
    if size == (right - left, bottom - top):
        return box
    if not view.antialias:
        return np.asarray(cv2.resize(box, size, into, interpolation=_PLAIN[view.interpolation]), np.uint8)
    # Contiguous, since torch's AVX2 kernel starts threads to make it so; and with strides of which torch says
    # "channels last": else it gives planes, and interleaving them takes as long again. By numpy, since each of torch's
    # own views lets go of the interpreter's lock, and waits for it.
    height, width = box.shape[:2]
    tensor = torch.from_numpy(np.ascontiguousarray(box).reshape(1, height, width, 3).transpose(0, 3, 1, 2))
    resized = F.interpolate(tensor, (size[1], size[0]), mode=view.interpolation, antialias=True)
    return np.asarray(resized.numpy()[0].transpose(1, 2, 0), np.uint8)


def _resize_between_pixels(source: Source, size: tuple[int, int], view: View) -> Pixels:
    """The same for a box that ends between pixels, as boxes do in a JPEG decoded at a fraction of its size."""
    left, top, right, bottom = source.box
    if view.antialias:
        image, how = Image.fromarray(np.ascontiguousarray(source.pixels)), _ANTIALIASED[view.interpolation]
        # First across, as torch does, whatever the shape: Pillow takes whichever is less work, and bicubic's overshoots
        # are cut off between the two.
        image = image.resize((size[0], image.height), how, box=(left, 0, right, image.height))
        return np.asarray(image.resize(size, how, box=(0, top, size[0], bottom)))
    step_x, step_y = (right - left) / size[0], (bottom - top) / size[1]
    # From the centres of output pixels to the source's, as cv2.resize does for whole boxes.
    to_source = np.array([[step_x, 0, left + step_x / 2 - 0.5], [0, step_y, top + step_y / 2 - 0.5]])
    flags = _PLAIN[view.interpolation] | cv2.WARP_INVERSE_MAP
    resized = cv2.warpAffine(source.pixels, to_source, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(resized, np.uint8)


def _finish(pixels: Pixels, view: View, out: Pixels) -> None:
    """Window and flip, copied into `out`."""
    window = view.window
    if window.left < 0 or window.top < 0 or window.right > view.size[0] or window.bottom > view.size[1]:
        pixels = _padded(pixels, window)
    else:
        pixels = pixels[window.top : window.bottom, window.left : window.right]
    if not (view.flip or view.flip_vertical):
        np.copyto(out, pixels)
    elif out.flags.c_contiguous:  # a thirtieth of the time that numpy takes for negative strides
        cv2.flip(pixels, -1 if view.flip and view.flip_vertical else 1 if view.flip else 0, dst=out)
    else:
        np.copyto(out, pixels[:: -1 if view.flip_vertical else 1, :: -1 if view.flip else 1])


def _padded(pixels: Pixels, window: Box) -> Pixels:
    """The window of `pixels`, black where it reaches beyond them."""
    padded = np.zeros((window.height, window.width, 3), np.uint8)
    shown = pixels[max(window.top, 0) : window.bottom, max(window.left, 0) : window.right]
    top, left = max(-window.top, 0), max(-window.left, 0)
    padded[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
    return padded
