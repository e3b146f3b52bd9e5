"""Fuzzes what Python parses of files that may be anybody's: a named error, or something that fits; nothing else.

    python tests/fuzz/fuzz_parsers.py [seconds] [seed] [target …]

Each target gets its share of the seconds. Atheris, where it is installed, looks for inputs that reach new lines; else
seeds are mutated at random. An input that fails is written to ./crash-* and printed by its target.
"""

import atexit
import io
import os
import random
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FunctionType

import numpy as np

from fastdata.errors import JpegError, ManifestError, TarError, TargetError
from fastdata.images.jpeg import read_jpeg_header
from fastdata.sources import manifest
from fastdata.sources.tables.coco import Coco
from fastdata.sources.tables.columns import read_columns
from fastdata.sources.targets import read_field
from fastdata.sources.tars import index_file
from fastdata.sources.tars.index import build, shard_rows
from fastdata.sources.tars.rows import are_within
from fastdata.transforms.fields import Boxes, Field, Json, Label, Npy, Points, Text
from support.corpus.archives import archives
from support.corpus.jpegs import by_opencv
from support.fuzzed import Fuzzed
from support.pictures import encoded, photo
from support.tars import END, data, header

SCRATCH = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
FIELDS: list[Field] = [Label("cls"), Text("txt"), Json("json"), Json("json", "a.b"), Npy("npy")]
FIELDS += [Boxes("json", "boxes", format, labels="labels") for format in ("xyxy", "xywh", "cxcywh")]
FIELDS += [
    Boxes("npy"),
    Boxes("json", "boxes", labels="labels", classes=("a", "b")),
    Points("json", "a.b"),
    Points("npy"),
]


def written(name: str, content: bytes) -> Path:
    path = SCRATCH / name
    path.write_bytes(content)
    return path


def tar(content: bytes) -> None:
    path = written("fuzzed.tar", content)
    fd = os.open(path, os.O_RDONLY)
    try:
        with suppress(TarError):
            assert are_within(build(fd, str(path)), len(content))
    finally:
        os.close(fd)


def good_shard() -> Path:
    path = SCRATCH / "good.tar"
    if not path.exists():
        members = [header(b"%d.%s" % (n, e), 3) + data(b"%d\n " % n) for n in range(5) for e in (b"cls", b"jpg")]
        path.write_bytes(b"".join(members) + END)
        os.utime(path, ns=(0, 0))
    return path


def index(content: bytes) -> None:
    path = good_shard()
    index_file.index_path(path).write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    try:
        rows = index_file.load(fd, str(path))
        assert rows is None or are_within(rows, path.stat().st_size)
    finally:
        os.close(fd)


def json(content: bytes) -> None:
    path = written("fuzzed.json", content)
    with suppress(ManifestError):
        found = manifest.load(path)
        assert 0 <= found.nsamples < manifest.MAX_COUNT
        assert all("/" not in shard.url for shard in found.shards)
    manifest.is_ours(path)


def fields(content: bytes) -> None:
    for field in FIELDS:
        with suppress(TargetError):
            read_field(field, content)


def coco(content: bytes) -> None:
    with suppress(ValueError):
        rows = Coco(written("fuzzed.coco.json", content)).read()
        for row in range(len(rows.names)):
            rows.value(row)


def tables(content: bytes) -> None:
    for suffix in (".csv", ".tsv", ".jsonl"):
        with suppress(ValueError):
            columns = read_columns(str(written(f"fuzzed{suffix}", content)))
            assert len({len(column) for column in columns.values()}) <= 1


def jpeg(content: bytes) -> None:
    with suppress(JpegError):
        found = read_jpeg_header(content)
        assert 1 <= found.orientation <= 8
        assert found.segments[-1][2] <= len(content)


def _seeds_of_index() -> list[bytes]:
    path = good_shard()
    fd = os.open(path, os.O_RDONLY)
    try:
        shard_rows(fd, str(path))
    finally:
        os.close(fd)
    return [index_file.index_path(path).read_bytes()]


def _seeds_of_json() -> list[bytes]:
    made = manifest.Made("1", 0, False, "1", "keep", 1, 0, 0, 1)
    entries = tuple(manifest.ShardEntry(f"train-{n:06}.tar", 5, 10_240, "0" * 64) for n in range(2))
    return [manifest.store(manifest.Manifest("train", entries, ("a", "b"), made), SCRATCH).read_bytes()]


def _seeds_of_fields() -> list[bytes]:
    arrays = [np.zeros((3, 4), np.float32), np.arange(6, dtype=">i2").reshape(2, 3, order="F"), np.array(1.0)]
    files = [io.BytesIO() for _ in arrays]
    for file, array in zip(files, arrays, strict=True):
        np.save(file, array)
    boxes = b'{"boxes": [[1, 2, 3.5, 1e9]], "labels": ["a"], "a": {"b": [[1, 2], [3, 4]]}}'
    return [*(file.getvalue() for file in files), boxes, boxes.replace(b'"a"]', b"7]"), b"17", "Straße".encode()]


COCO = b"""{"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}], "categories":
[{"id": 7, "name": "cat"}], "annotations": [{"image_id": 2, "category_id": 7, "bbox": [1, 2, 3.5, 4], "iscrowd": 0}]}"""
CSV = b'path,label,"a b"\n1.jpg,7,0.5\n"2,\n.jpg",,1e+5\n'
JSONL = b'{"path": "1.jpg", "label": 7}\n\n{"path": "2.jpg", "x": [null, {"y": -1.5e-7}]}\n'

Target = tuple[Callable[[bytes], None], Callable[[], list[bytes]]]
TARGETS: dict[str, Target] = {
    "tar": (tar, lambda: [case.content for case in archives() if len(case.content) < 8000]),
    "index": (index, _seeds_of_index),
    "json": (json, _seeds_of_json),
    "fields": (fields, _seeds_of_fields),
    "coco": (coco, lambda: [COCO]),
    "tables": (tables, lambda: [CSV, JSONL, CSV.replace(b",", b"\t")]),
    "jpeg": (jpeg, lambda: [by_opencv("4:2:0", interval=1)[:800], encoded(photo(9, 9), orientation=6)[:800]]),
    **Fuzzed(SCRATCH).targets,
}


def mutated(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 4])):
        at, length = rng.randrange(len(changed) + 1), rng.choice([1, 1, 2, 8, 40])
        match rng.randrange(5):
            case 0:
                changed[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del changed[at : at + length]
            case 2:
                changed[at:at] = changed[(other := rng.randrange(len(changed) + 1)) : other + length]
            case 3:
                changed[at : at + length] = rng.choice(
                    [b"-1", b"[[", b"{", b'"', b"\0", b"9" * length, b"1e999", b"null"]
                )
            case _:
                changed[at : at + 1] = bytes([changed[at] ^ 1 << rng.randrange(8)]) if at < len(changed) else b""
    return bytes(changed)


def inputs(seeds: list[bytes], seconds: float, seed: int) -> Iterator[bytes]:
    rng, end = random.Random(seed), time.monotonic() + seconds
    while time.monotonic() < end:
        yield mutated(rng.choice(seeds), rng)


def by_mutation(name: str, seconds: float, seed: int) -> None:
    target, seeds = TARGETS[name]
    rounds = 0
    for content in inputs(seeds(), seconds, seed):
        try:
            target(content)
        except BaseException:
            Path(f"crash-{name}").write_bytes(content)
            print(f"{name}: round {rounds} of seed {seed} failed: crash-{name}", file=sys.stderr, flush=True)
            raise
        rounds += 1
    print(f"{name}: {rounds} inputs, by mutation", flush=True)


def by_atheris(name: str, seconds: float, seed: int) -> None:
    """In this process, which libFuzzer ends."""
    import atheris

    target, seeds = TARGETS[name]
    corpus = SCRATCH / "seeds"
    corpus.mkdir()
    for number, content in enumerate(seeds()):
        (corpus / f"{number:04}").write_bytes(content)
    options = [
        f"-max_total_time={max(1, round(seconds))}",
        f"-seed={seed + 1}",
        "-max_len=8192",
        "-print_final_stats=1",
    ]
    for module in [
        module
        for known, module in sys.modules.items()
        if known.startswith(("fastdata.sources", "fastdata.images.jpeg", "json."))
    ]:
        for function in [function for function in vars(module).values() if isinstance(function, FunctionType)]:
            atheris.instrument_func(function)
    failed = []

    def guarded(content: bytes) -> None:
        try:
            target(content)
        except BaseException:
            failed.append(content)
            raise

    # Not Python's own end, at which libraries may crash under libFuzzer.
    atexit.register(lambda: os._exit(len(failed)))
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix=crash-{name}-", str(corpus)], guarded)
    atheris.Fuzz()


def main(seconds: float = 20, seed: int = 0, *names: str) -> None:
    warnings.simplefilter("ignore")
    names = names or tuple(TARGETS)
    try:
        import atheris  # noqa: F401
    except ImportError:
        for name in names:
            by_mutation(name, seconds / len(names), seed)
        return
    if len(names) == 1:
        by_atheris(names[0], seconds, seed)
    for name in names:  # each in a process of its own
        share = [str(seconds / len(names)), str(seed), name]
        done = subprocess.run([sys.executable, __file__, *share], capture_output=True, text=True, check=False)
        said = [line for line in done.stderr.splitlines() if "number_of_executed_units" in line]
        print(f"{name}: {''.join(said).rpartition(' ')[2]} inputs, by atheris", flush=True)
        if done.returncode:
            sys.exit(f"{name} failed:\n{done.stdout}{done.stderr[-6000:]}")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(*map(float, arguments[:1]), *map(int, arguments[1:2]), *arguments[2:])  # type: ignore[arg-type]
