"""Images are read to their ends when they are packed, so that training need not do it in every epoch."""

from fastdata.errors import DecodeError
from fastdata.images import kernel


def can_check() -> bool:
    """Whether the compiled kernel is there, which does it in a tenth of the time of decoding."""
    return kernel.KERNEL is not None


def is_undamaged(data: bytes | memoryview) -> bool:
    """Whether the kernel would find nothing wrong with a JPEG anywhere; true of what only the reference decodes."""
    return kernel.is_undamaged(data) or int(kernel.headers([data])[0, 3]) != kernel.Kind.DECODABLE


def image_problem(data: bytes) -> str:
    """Why an image can't be decoded to its end; '' where it can."""
    if kernel.KERNEL is not None and kernel.is_undamaged(data):
        return ""
    from fastdata.images.decode import decode  # takes, with torch, longer than verifying many a shard
    from fastdata.images.header import read_header
    from fastdata.transforms.view import Box, View

    try:
        header = read_header(data)
        whole = Box(0, 0, header.width, header.height)
        decode(data, View(whole, header.size, whole, flip=False), header=header)
    except DecodeError as error:
        return error.cause
    return ""
