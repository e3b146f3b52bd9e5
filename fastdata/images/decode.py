"""Bytes and views become pixels, on the CPU: by the compiled kernel where it is there, else by its reference in Python.

The content decides what a file is, never its name. What the kernel refuses goes through the reference, whose verdict
counts, so that an image is good or bad whatever decodes it.
"""

from collections.abc import Sequence
from itertools import compress

import numpy as np

from fastdata.errors import DecodeError
from fastdata.images import kernel, reference
from fastdata.images.header import Header, read_header
from fastdata.images.jobs import JOB
from fastdata.images.reference import Decoded, Encoded
from fastdata.sample import Pixels
from fastdata.transforms.view import View


def decode(data: bytes, view: View, out: Pixels | None = None, header: Header | None = None) -> Pixels:
    """The pixels of one view: uint8, shape (height, width, 3), RGB, written into `out` where it is given.

    `header` is `read_header(data)`, where the caller has it. DecodeError where the image can't be decoded,
    ValueError where `out` is not a writable uint8 array of the view's window, or the view is not of this image.
    """
    shape = (view.window.height, view.window.width, 3)
    if out is not None and (out.shape != shape or out.dtype != np.uint8 or not out.flags.writeable):
        raise ValueError(f"out must be a writable uint8 array of shape {shape}, got {out.dtype} of {out.shape}")
    row = np.empty(shape, np.uint8) if out is None or not out.flags.c_contiguous else out
    (error,) = decode_into([Encoded(data, header or read_header(data), view)], [row]).errors
    if error is not None:
        raise error
    if out is None or out is row:
        return row
    np.copyto(out, row)
    return out


def decode_into(images: Sequence[Encoded], rows: Sequence[Pixels]) -> Decoded:
    """Each image's view, as uint8 RGB, into its row: C-contiguous, shape (window's height, window's width, 3)."""
    if kernel.KERNEL is None:
        return reference.decode_into(images, rows)
    jobs = np.frombuffer(b"".join([image.job for image in images]), JOB)
    nanoseconds = np.zeros(2, np.int64)
    refused = kernel.decode([image.data for image in images], jobs, rows, nanoseconds) != kernel.Status.DONE
    errors: list[DecodeError | None] = [None] * len(images)
    decode_ns, resize_ns = nanoseconds.tolist()
    if refused.any():
        again = reference.decode_into(list(compress(images, refused)), list(compress(rows, refused)))
        for number, error in zip(refused.nonzero()[0].tolist(), again.errors, strict=True):
            errors[number] = error
        decode_ns, resize_ns = decode_ns + again.decode_ns, resize_ns + again.resize_ns
    return Decoded(errors, decode_ns, resize_ns)
