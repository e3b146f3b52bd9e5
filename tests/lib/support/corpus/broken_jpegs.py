"""JPEGs that are cut off, damaged, lie about themselves, or are bombs."""

import random
from collections.abc import Iterator

from support.corpus.jpegs import PHOTO, after_soi, by_opencv, segment
from support.corpus.kinds import AS_PILLOW, REFUSED, Case, Kind
from support.pictures import encoded

CUT = Kind("JPEG that is cut off within its pixels", "image file is truncated")
CUT_HEADER = Kind("JPEG that is cut off before its pixels", REFUSED)
FLIPPED = Kind("JPEG with damaged bytes", AS_PILLOW, "", "")
RESTARTS = Kind("JPEG whose restart markers are lost, doubled or out of order", AS_PILLOW, "", "")
LYING = Kind("JPEG whose header claims another size, other components or tables", AS_PILLOW, "", "")
ODD_MARKERS = Kind("JPEG with markers where none belong, or segments of a wrong length", AS_PILLOW, "", "")
UNSUPPORTED = Kind("JPEG of 12 or 16 bits, lossless or hierarchical", REFUSED)
TOO_LARGE = Kind("an image that claims more than `max_pixels`", "more than the limit of")
MANY_SCANS = Kind("JPEG of more than 500 scans, or more than 48 and up in a large one", "scans: a decompression bomb")

KINDS = [CUT, CUT_HEADER, FLIPPED, RESTARTS, LYING, ODD_MARKERS, UNSUPPORTED, TOO_LARGE, MANY_SCANS]


def broken_jpegs() -> Iterator[Case]:
    rng = random.Random(14)
    bases = {
        "baseline": encoded(PHOTO),
        "progressive": encoded(PHOTO, progressive=True),
        "4:4:4": by_opencv("4:4:4"),
        "restarts": by_opencv("4:2:0", interval=1),
        "grey": encoded(PHOTO, mode="L"),
    }
    for name, data in bases.items():
        yield from _cut(name, data)
        yield from _flipped(name, data, rng)
        yield from _lying(name, data)
    yield from _restarts(by_opencv("4:2:0", interval=1))
    yield from _markers(encoded(PHOTO))
    yield from _bombs()


def first_scan(data: bytes) -> int:
    """Where its entropy-coded data begin."""
    at = data.index(b"\xff\xda")
    return at + 2 + int.from_bytes(data[at + 2 : at + 4])


def frame(data: bytes) -> int:
    """Where its SOF lies."""
    return min(at for marker in (b"\xff\xc0", b"\xff\xc1", b"\xff\xc2") if (at := data.find(marker)) >= 0)


def replaced(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def _cut(name: str, data: bytes) -> Iterator[Case]:
    scan = first_scan(data)
    for tenth in range(10):
        at = scan + (len(data) - 8 - scan) * tenth // 9
        yield Case(CUT, f"{name}, cut at {at}", data[:at])
    for at in range(3, scan, max(1, scan // 25)):
        yield Case(CUT_HEADER, f"{name}, cut at {at}", data[:at])


def _flipped(name: str, data: bytes, rng: random.Random) -> Iterator[Case]:
    for number in range(120):
        at = rng.randrange(2, len(data))
        value = rng.choice([data[at] ^ 1 << rng.randrange(8), 0, 0xFF, rng.randrange(256)])
        yield Case(FLIPPED, f"{name}, {number}: {value:02X} at {at}", replaced(data, at, bytes([value])))
    for number in range(40):
        at, length = rng.randrange(2, len(data)), rng.choice([1, 2, 7, 60])
        yield Case(FLIPPED, f"{name}, {number}: {length} lost at {at}", data[:at] + data[at + length :])
        junk = rng.randbytes(length)
        yield Case(FLIPPED, f"{name}, {number}: {length} more at {at}", data[:at] + junk + data[at:])
        yield Case(FLIPPED, f"{name}, {number}: {length} others at {at}", replaced(data, at, junk)[: len(data)])


def _lying(name: str, data: bytes) -> Iterator[Case]:
    at = frame(data)
    for width, height in ((1, 1), (47, 39), (49, 41), (48, 39), (48, 41), (96, 40), (48, 400), (0, 40), (65000, 1)):
        size = height.to_bytes(2) + width.to_bytes(2)
        yield Case(LYING, f"{name}, {width}x{height}", replaced(data, at + 5, size))
    for components in (0, 1, 2, 4, 5, 255):
        yield Case(LYING, f"{name}, {components} components", replaced(data, at + 9, bytes([components])))
    for sampling in (0x00, 0x12, 0x44, 0x51, 0xFF):
        yield Case(LYING, f"{name}, sampled {sampling:02X}", replaced(data, at + 11, bytes([sampling])))
    for table in (1, 3, 4, 255):
        yield Case(LYING, f"{name}, quantized by {table}", replaced(data, at + 12, bytes([table])))
    no_huffman = data.index(b"\xff\xc4")
    yield Case(LYING, f"{name}, without a Huffman table", replaced(data, no_huffman + 1, b"\xfe"))
    no_quantization = data.index(b"\xff\xdb")
    yield Case(LYING, f"{name}, without quantization", replaced(data, no_quantization + 1, b"\xfe"))
    for precision in (9, 12, 16):
        yield Case(UNSUPPORTED, f"{name}, {precision} bits", replaced(data, at + 4, bytes([precision])))
    for sof in (0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF):
        yield Case(UNSUPPORTED, f"{name}, SOF{sof - 0xC0}", replaced(data, at + 1, bytes([sof])))


def _restarts(data: bytes) -> Iterator[Case]:
    places = [at for at in range(first_scan(data), len(data) - 1) if data[at] == 0xFF and 0xD0 <= data[at + 1] <= 0xD7]
    for number, at in enumerate(places):
        yield Case(RESTARTS, f"{number} lost", data[:at] + data[at + 2 :])
        yield Case(RESTARTS, f"{number} doubled", data[:at] + data[at : at + 2] + data[at:])
        yield Case(RESTARTS, f"{number} out of order", replaced(data, at + 1, bytes([0xD0 + (data[at + 1] + 3) % 8])))
    interval = data.index(b"\xff\xdd")
    for value in (0, 2, 5, 65535):
        yield Case(RESTARTS, f"an interval of {value}", replaced(data, interval + 4, value.to_bytes(2)))


def _markers(data: bytes) -> Iterator[Case]:
    scan, sof = first_scan(data), frame(data)
    start = data.index(b"\xff\xda")
    for marker in (0x00, 0x01, 0xC0, 0xC4, 0xC8, 0xCC, 0xD0, 0xD8, 0xD9, 0xDA, 0xDC, 0xDE, 0xF0, 0xFE):
        for place, at in {
            "SOI": 2,
            "SOF": sof,
            "SOS": start,
            "its scan's begin": scan,
            "its scan's midst": scan + 90,
        }.items():
            bare = bytes([0xFF, marker])
            yield Case(ODD_MARKERS, f"{marker:02X} before {place}", data[:at] + bare + data[at:])
            yield Case(
                ODD_MARKERS, f"{marker:02X} of 4 bytes before {place}", data[:at] + segment(marker, b"abcd") + data[at:]
            )
    for length in (0, 1, 2, 9, 65535):
        yield Case(
            ODD_MARKERS, f"an APP of length {length}", after_soi(data, b"\xff\xe5" + length.to_bytes(2) + b"abc")
        )
        yield Case(ODD_MARKERS, f"a SOF of length {length}", replaced(data, sof + 2, length.to_bytes(2)))
        yield Case(ODD_MARKERS, f"a SOS of length {length}", replaced(data, start + 2, length.to_bytes(2)))
    yield Case(ODD_MARKERS, "two headers", data[:start] + data[2:])
    yield Case(ODD_MARKERS, "bytes between segments", after_soi(data, b"\0\0\0"))


def _bombs() -> Iterator[Case]:
    for name, data in (("baseline", encoded(PHOTO)), ("progressive", encoded(PHOTO, progressive=True))):
        yield Case(TOO_LARGE, f"{name} of 65535x65535", replaced(data, frame(data) + 5, b"\xff" * 4))
        yield Case(TOO_LARGE, f"{name} of 13378x13378", replaced(data, frame(data) + 5, (13378).to_bytes(2) * 2))
        last = data.rindex(b"\xff\xda")
        scan = data[last:-2]
        if name == "baseline":
            scan = bytes.fromhex("ffda0008010100003f0000000000")  # of one component
        many = data[:last] + scan * 501 + data[-2:]
        yield Case(MANY_SCANS, name, many)
        yield Case(MANY_SCANS, f"{name}, FF 00 after SOI", after_soi(many, b"\xff\0"))
        yield Case(MANY_SCANS, f"{name}, in 13000x13000", replaced(many, frame(many) + 5, (13000).to_bytes(2) * 2))
