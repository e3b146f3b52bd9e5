"""Headers of a tar file that describe the members after them: GNU's long names, and PAX records of names and sizes."""

from fastdata.errors import TarError

OF_ALL = b"g"
DESCRIPTIONS = frozenset([b"L", b"K", b"x", b"X", OF_ALL])
"""Kinds of headers whose data describe the next member, or all that follow."""


class Descriptions:
    """What was said of the next member of a tar file, and of all that follow; `path` is for messages."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._of_all: dict[str, str] = {}
        self._of_next: dict[str, str] = {}
        self.any = False

    def add(self, kind: bytes, payload: bytes, offset: int) -> None:
        """What the data at `offset` say, behind a header of this kind. TarError where they are malformed."""
        if kind == OF_ALL:
            self._of_all |= _records(payload, self._path, offset)
        elif kind == b"L":
            self._of_next.setdefault("path", text_in(payload))
        elif kind != b"K":  # a link's long target
            self._of_next = _records(payload, self._path, offset) | self._of_next
        self.any = bool(self._of_all or self._of_next)

    def applied(self, name: str, size: int, at: int) -> tuple[str, int]:
        """Name and size of the next member, whose header is at `at` and has these. TarError where they can't be."""
        records, self._of_next = self._of_all | self._of_next, {}
        self.any = bool(self._of_all)
        return _overridden(records, name, size, self._path, at)


def text_in(field: bytes) -> str:
    """Up to the first NUL; what is not UTF-8 by surrogateescape."""
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _records(payload: bytes, path: str, offset: int) -> dict[str, str]:
    """What a PAX header says of names and sizes, from its records `<length> <keyword>=<value>\\n`.

    A record's length counts all of it, with the length's own digits.
    """
    records = {}
    begin = 0
    while begin < len(payload):
        digits, _, _ = payload[begin : begin + 20].partition(b" ")
        end = begin + int(digits) if digits.isdigit() else begin
        keyword, equals, value = payload[begin + len(digits) + 1 : max(end - 1, 0)].partition(b"=")
        if not equals or payload[end - 1 : end] != b"\n":
            raise TarError.at(path, offset + begin, "a malformed PAX record: damaged; write or copy the file again")
        if keyword in (b"path", b"size") or keyword.startswith(b"GNU.sparse."):
            records[keyword.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        begin = end
    return records


def _overridden(records: dict[str, str], name: str, size: int, path: str, at: int) -> tuple[str, int]:
    """Name and size of a member with what PAX and GNU headers before it say."""
    if records.keys() - {"path", "size"}:
        problem = f"member {name!r} is a GNU sparse file, whose bytes are not in one piece"
        raise TarError.at(path, at, f"{problem}; repack without --sparse")
    stated = records.get("size", str(size))
    if not (stated.isascii() and stated.isdigit() and len(stated) < 20):
        problem = f"a PAX header gives the size {stated[:20]!r}: damaged; write or copy the file again"
        raise TarError.at(path, at, problem)
    return records.get("path", name).rstrip("/"), int(stated)
