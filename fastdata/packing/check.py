"""Images are read to their ends when they are packed, so that training need not do it in every epoch."""

from fastdata.images import kernel


def can_check() -> bool:
    """Whether the compiled kernel is there, which does it in half the time of decoding."""
    return kernel.KERNEL is not None


def is_undamaged(data: bytes | memoryview) -> bool:
    """Whether the kernel would find nothing wrong with a JPEG anywhere; true of what only the reference decodes."""
    return kernel.is_undamaged(data) or int(kernel.headers([data])[0, 3]) != kernel.Kind.DECODABLE
