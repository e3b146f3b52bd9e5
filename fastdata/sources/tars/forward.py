"""A stream that can't be sought, read by offsets all the same."""

from typing import BinaryIO

_CHUNK = 1 << 20


class Forward:
    """A stream, read by offsets, none of which may lie before the last one.

    `ended` is whether its end was met.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.ended = False
        self._stream, self._at, self._held = stream, 0, b""

    def read(self, size: int, offset: int) -> bytes:
        """`size` bytes at `offset`, fewer only where the stream ends."""
        while self._at + len(self._held) < offset:
            skipped = len(self._held)
            self._held = self._more(min(_CHUNK, offset - self._at - skipped))
            self._at += skipped
            if not self._held:
                return b""
        self._held = self._held[offset - self._at :]
        self._at = offset
        if len(self._held) < size:
            self._held += self._more(size - len(self._held))
        return self._held[:size]

    def _more(self, size: int) -> bytes:
        parts, left = [], size
        while left and (part := self._stream.read(min(left, _CHUNK))):  # so much that is claimed need not come
            parts.append(part)
            left -= len(part)
        self.ended = self.ended or left > 0
        return b"".join(parts)
