"""A photo's random crop and flip, for peers that leave decoding to their users: by Pillow, OpenCV or torchcodec.

Pillow always antialiases and OpenCV never does, so which of the two decodes depends on the contest.
"""

import io
import random
from collections.abc import Callable

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

import fastdata as fd
from work import STEPS, Work

Decode = Callable[[bytes], Tensor]


def drawn(size: tuple[int, int]) -> fd.View:
    """A random crop and flip for a peer that has none of its own."""
    return fd.draw(STEPS, size, random.getrandbits(64))


def usual(work: Work) -> Decode:
    """To a uint8 tensor of shape (3, 224, 224)."""
    return by_pillow if work.antialias else by_opencv


def by_pillow(data: bytes) -> Tensor:
    with Image.open(io.BytesIO(data)) as image:
        view = drawn(image.size)
        cropped = image.convert("RGB").resize(view.size, Image.Resampling.BILINEAR, box=view.box)
    if view.flip:
        cropped = cropped.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return torch.from_numpy(np.array(cropped)).permute(2, 0, 1)


def by_opencv(data: bytes) -> Tensor:
    cv2.setNumThreads(0)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert pixels is not None, "OpenCV refuses a photo"
    view = drawn((pixels.shape[1], pixels.shape[0]))
    cropped = pixels[view.box.top : view.box.bottom, view.box.left : view.box.right]
    resized = cv2.resize(cropped, view.size, interpolation=cv2.INTER_LINEAR)
    return torch.from_numpy(cv2.flip(resized, 1) if view.flip else resized).permute(2, 0, 1)


def by_torchcodec(data: bytes, antialias: bool) -> Tensor:
    """Resized as torchvision resizes tensors."""
    from torchcodec.decoders import decode_jpeg

    pixels: Tensor = decode_jpeg(data)
    view = drawn((pixels.shape[2], pixels.shape[1]))
    cropped = pixels[None, :, view.box.top : view.box.bottom, view.box.left : view.box.right]
    resized = interpolate(cropped, view.size[::-1], mode="bilinear", antialias=antialias)[0]
    return resized.flip(2) if view.flip else resized
