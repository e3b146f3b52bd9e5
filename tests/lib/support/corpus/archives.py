"""Tars in every dialect and with every lie, block by block where no tool writes such."""

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Iterator
from typing import NamedTuple

from support.corpus.jpegs import by_opencv
from support.tars import END, FORMATS, archive, data, header, pax

IMAGE = by_opencv("4:2:0")
ITS = len(IMAGE)
ZSTD_OF_NOTHING = bytes.fromhex("28b52ffd2400010000 99e9d851")


class TarKind(NamedTuple):
    """A row of the table: `gets` is "" where all samples are read, else what the error says."""

    what: str
    gets: str = ""


class Archive(NamedTuple):
    """A tar, and the keys of its samples in their order, each with IMAGE as its jpg; or the offset of its error."""

    kind: TarKind
    name: str
    content: bytes
    keys: tuple[str, ...] = ()
    offset: int = 0


DIALECTS = TarKind("ustar, GNU, PAX and V7, with checksums of unsigned or signed bytes")
LONG_NAMES = TarKind("names that no header has room for, by GNU's long names, PAX or ustar's prefix, up to 4,000 bytes")
ODD_NAMES = TarKind("names that are absolute, lead upwards, are not UTF-8, or have blanks, newlines, escapes: keys as "
                    "they are, by which nothing is opened or written")  # fmt: skip
OVERRIDES = TarKind("PAX records that say another name or size, for one member or for all; sizes in base 256")
OTHERS = TarKind("directories, devices, pipes, labels, unknown types; names without extension and hidden ones: no "
                 "samples, passed over")  # fmt: skip
LINKS = TarKind("links with a sample's name, symbolic or hard", "is a link, whose bytes are elsewhere")
SPARSE = TarKind("sparse files, GNU's and PAX's", "is a GNU sparse file, whose bytes are not in one piece")
VOLUMES = TarKind("a file that goes on from another volume", "the continuation of a file on another volume")
SIZES = TarKind("sizes that are negative or no numbers", "a header's size is no number")
PAST_END = TarKind("members that run past the file's end", "runs past the file's end")
NO_END = TarKind(
    "tars that are cut off between members, or have no end", "the file ends without an end-of-archive marker"
)
BEHIND_END = TarKind("data behind the end: tars that were joined by `cat`", "data behind the end-of-archive marker")
NO_TAR = TarKind("wrong checksums, and what is no tar", "no tar header (bad checksum)")
COMPRESSED = TarKind("compressed tars", "not a plain tar")
DESCRIPTIONS = TarKind(
    "long names and PAX headers of more than 1 MiB, or that are cut off", "a long name or PAX header claims"
)
RECORDS = TarKind("malformed PAX records", "a malformed PAX record")
PAX_SIZES = TarKind("PAX sizes that are no numbers", "a PAX header gives the size")
WITHOUT_MEMBER = TarKind(
    "a long name or PAX header that nothing follows", "the archive ends where this header's member should be"
)
TWICE = TarKind("a key that comes back after another", "members of a sample must be consecutive, and keys unique")
COMPONENTS = TarKind("two components of one extension", "has two components")

KINDS = [
    DIALECTS,
    LONG_NAMES,
    ODD_NAMES,
    OVERRIDES,
    OTHERS,
    LINKS,
    SPARSE,
    VOLUMES,
    SIZES,
    PAST_END,
    NO_END,
    BEHIND_END,
    NO_TAR,
    COMPRESSED,
    DESCRIPTIONS,
    RECORDS,
    PAX_SIZES,
    WITHOUT_MEMBER,
    TWICE,
    COMPONENTS,
]


def table() -> list[str]:
    """The lines of the table of tars in docs/inputs.md."""
    rows = [f"| {kind.what} | {f'an error: `{kind.gets}`' if kind.gets else 'its samples'} |" for kind in KINDS]
    return ["| in a tar | gets |", "|---|---|", *rows]


def member(name: bytes, kind: bytes = b"0", **how: object) -> bytes:
    """IMAGE under a name."""
    return header(name, ITS, kind, **how) + data(IMAGE)  # type: ignore[arg-type]


A, B = member(b"a.jpg"), member(b"b.jpg")


def archives() -> Iterator[Archive]:
    yield from _good()
    yield from _odd_names()
    yield from _bad_headers()
    yield from _bad_descriptions()
    yield from _cut()


def _good() -> Iterator[Archive]:
    for name, format in FORMATS.items():
        yield Archive(DIALECTS, name, archive([("x/a.jpg", IMAGE), ("x/b.jpg", IMAGE)], format), ("x/a", "x/b"))
        if name != "ustar":
            for length in (101, 256, 4000):
                key = "d/" + "n" * (length - 6)
                made = archive([(key + ".jpg", IMAGE), ("b.jpg", IMAGE)], format)
                yield Archive(LONG_NAMES, f"{name}, {length}", made, (key, "b"))
    yield Archive(
        DIALECTS, "V7", member(b"a.jpg", b"\0", magic=b"") + member(b"b.jpg", b"\0", magic=b"") + END, ("a", "b")
    )
    signed = member("é.jpg".encode(), signed=True)
    yield Archive(DIALECTS, "signed checksums", signed + B + END, ("é", "b"))
    yield Archive(DIALECTS, "one block of zeros at its end", A + bytes(512), ("a",))
    yield Archive(DIALECTS, "many blocks of zeros at its end", A + bytes(20_480), ("a",))
    yield Archive(DIALECTS, "no members", END)
    yield Archive(LONG_NAMES, "prefix", member(b"a.jpg", prefix=b"p" * 155) + END, ("p" * 155 + "/a",))
    named = header(b"L", 7, b"L") + data(b"c.jpg\0\0") + A
    yield Archive(LONG_NAMES, "GNU's, with zeros behind it", named + B + END, ("c", "b"))
    renamed = pax(b"x", path="c.jpg") + A + B
    yield Archive(OVERRIDES, "a name", renamed + END, ("c", "b"))
    yield Archive(
        OVERRIDES, "a size", pax(b"x", size=str(ITS)) + header(b"a.jpg", 3) + data(IMAGE) + B + END, ("a", "b")
    )
    yield Archive(
        OVERRIDES, "both, for all", pax(b"g", size=str(ITS)) + header(b"a.jpg") + data(IMAGE) + B + END, ("a", "b")
    )
    base_256 = b"\x80" + ITS.to_bytes(11)
    yield Archive(OVERRIDES, "base 256", header(b"a.jpg", base_256) + data(IMAGE) + B + END, ("a", "b"))
    for kind in b"3456":
        yield Archive(OTHERS, f"type {kind:c}", header(b"c.jpg", 0, bytes([kind])) + A + END, ("a",))
    for kind in b"V?":
        yield Archive(OTHERS, f"type {kind:c}", header(b"c.jpg", 5, bytes([kind])) + data(b"label") + A + END, ("a",))
    for no_key in (b"README", b".hidden.jpg", b"c/.d.jpg", b"__meta__/c.jpg", b"c/", b"c."):
        yield Archive(OTHERS, no_key.decode(), member(no_key) + A + END, ("a",))
    yield Archive(DIALECTS, "contiguous files", member(b"a.jpg", b"7") + END, ("a",))


def _odd_names() -> Iterator[Archive]:
    for name in (
        "/etc/passwd",
        "../../up",
        "a/../../b",
        "C:\\x",
        "blank \n\t",
        "\x1b[2J\x1b]0;x\x07",
        "$(rm -rf x)",
        "ü猫",
        "%s{0}",
    ):
        made = archive([(f"{name}.jpg", IMAGE)], tarfile.PAX_FORMAT)
        yield Archive(ODD_NAMES, repr(name), made, (name,))
    yield Archive(ODD_NAMES, "not UTF-8", member(b"caf\xe9.jpg") + END, ("caf\udce9",))
    not_utf8 = header(b"L", 9, b"L") + data(b"caf\xe9.jpg\0") + A
    yield Archive(ODD_NAMES, "not UTF-8, by a long name", not_utf8 + END, ("caf\udce9",))
    yield Archive(ODD_NAMES, "./", archive([("./a.jpg", IMAGE)]), ("a",))
    yield Archive(ODD_NAMES, "upper case", member(b"a.JPG") + END, ("a",))


def _bad_headers() -> Iterator[Archive]:
    for kind, name in ((b"1", "hard"), (b"2", "symbolic")):
        yield Archive(LINKS, name, A + header(b"c.jpg", 0, kind) + END, offset=len(A))
    yield Archive(SPARSE, "GNU's", A + header(b"s", 0, b"S") + END, offset=len(A))
    yield Archive(SPARSE, "PAX's", pax(b"x", GNU__sparse__major="1") + header(b"s") + END, offset=1024)
    yield Archive(VOLUMES, "another volume", A + header(b"s", 0, b"M") + END, offset=len(A))
    for name, size in {"negative": b"\xff" * 12, "letters": b"12three\0\0\0\0\0", "nines": b"00000000999\0"}.items():
        yield Archive(SIZES, name, A + header(b"a", size) + END, offset=len(A))
    yield Archive(PAST_END, "by far", header(b"a.jpg", 4000) + data(b"abc") + END)
    yield Archive(PAST_END, "by a byte", header(b"a.jpg", 600) + bytes(599))
    yield Archive(PAST_END, "base 256 without end", header(b"a", b"\xbf" + b"\xff" * 11) + END)
    yield Archive(NO_END, "an empty file", b"")
    yield Archive(NO_END, "none", A, offset=len(A))
    yield Archive(NO_END, "half of it", A + bytes(100), offset=len(A))
    yield Archive(BEHIND_END, "another tar", A + END + B + END, offset=len(A) + 1024)
    yield Archive(BEHIND_END, "another tar, after half an end", A + bytes(512) + B + END, offset=len(A) + 512)
    yield Archive(BEHIND_END, "a byte", A + END + bytes(77) + b"!", offset=len(A) + 1024 + 77)
    yield Archive(NO_TAR, "HTML", b"<html>" * 200)
    yield Archive(NO_TAR, "a JPEG", IMAGE + bytes(512))
    yield Archive(NO_TAR, "gzip in the midst", A + b"\x1f\x8b" * 256 + END, offset=len(A))
    yield Archive(NO_TAR, "a link's size is no data", header(b"l", 512, b"2") + data(b"abc") + END, offset=512)
    for name, at in (("name", 3), ("size", 130), ("type", 156), ("prefix", 400)):
        flipped = bytearray(A + B + END)
        flipped[len(A) + at] ^= 1
        yield Archive(NO_TAR, f"a flipped bit in its {name}", bytes(flipped), offset=len(A))
    for name, compressed in {
        "gzip": gzip.compress(A + END),
        "bzip2": bz2.compress(A + END),
        "xz": lzma.compress(A + END),
        "zstd": ZSTD_OF_NOTHING + A + END,
    }.items():
        yield Archive(COMPRESSED, name, compressed)
    yield Archive(TWICE, "a, b, a", A + B + A + END, offset=len(A + B))
    yield Archive(COMPONENTS, "a, a", A + A + END, offset=len(A))
    yield Archive(COMPONENTS, "in two cases", A + member(b"a.JPG") + END, offset=len(A))


def _bad_descriptions() -> Iterator[Archive]:
    yield Archive(DESCRIPTIONS, "of gigabytes", header(b"L", 1 << 31, b"L") + END)
    yield Archive(DESCRIPTIONS, "of megabytes", header(b"L", 2 << 20, b"L") + bytes(2 << 20) + A + END)
    yield Archive(DESCRIPTIONS, "cut off", header(b"L", 600, b"L") + bytes(512))
    yield Archive(DESCRIPTIONS, "PAX of gigabytes", header(b"x", b"\x80" + (1 << 40).to_bytes(11), b"x") + END)
    for record in (
        b"99 path=\n",
        b"0 path=a\n",
        b"pathology",
        b"-5 a=b\n",
        b"9 path=ab",
        b"\xff" * 40,
        b"11 path a\n\n",
    ):
        content = header(b"x", len(record), b"x") + data(record) + A + END
        yield Archive(RECORDS, repr(record), content, offset=512)
    yield Archive(PAX_SIZES, "letters", pax(b"x", size="ten") + A + END, offset=1024)
    yield Archive(PAX_SIZES, "negative", pax(b"x", size="-1") + A + END, offset=1024)
    yield Archive(PAX_SIZES, "without end", pax(b"x", size="9" * 5000) + A + END, offset=5632)
    yield Archive(WITHOUT_MEMBER, "a long name", A + header(b"L", 2, b"L") + data(b"ab") + END, offset=len(A))
    yield Archive(WITHOUT_MEMBER, "a PAX header", A + pax(b"x", path="b.jpg") + END, offset=len(A))


def _cut() -> Iterator[Archive]:
    for name in ("gnu", "pax"):
        whole = archive([("n" * 120 + ".jpg", IMAGE), ("b.jpg", IMAGE)], FORMATS[name])
        last = whole.rindex(b"b.jpg")
        yield Archive(PAST_END, f"{name}, cut in its last member", whole[: last + 512 + ITS - 1], offset=last)
        yield Archive(NO_END, f"{name}, cut in a header", whole[: last + 300], offset=last)
        yield Archive(NO_END, f"{name}, cut before a header", whole[:last], offset=last)
