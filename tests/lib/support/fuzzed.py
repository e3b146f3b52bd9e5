"""What tests/fuzz/fuzz_parsers.py gives any bytes: files that packing, caches and others have written.

Each target raises nothing but what is suppressed in it, whatever its bytes are.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
from xxhash import xxh3_64_digest, xxh3_64_hexdigest

from fastdata.epoch.state import EpochState
from fastdata.errors import ManifestError, PackError, StateError, TargetError
from fastdata.packing.origins.select import with_keys
from fastdata.packing.origins.source import Source
from fastdata.sources.columnar.parquet import read_files
from fastdata.sources.columnar.row_groups import RowGroups
from fastdata.sources.dataset_index import DatasetIndex
from fastdata.sources.folder import scan_pattern
from fastdata.sources.node.ledger import Ledger
from fastdata.sources.tars.index_layout import _TRAILER, _TRAILER_SIZE, CHUNK, IndexEntry
from fastdata.sources.tars.index_writer import write_index
from fastdata.sources.tars.rows import dtype_of
from support.parquets import IMAGE, features, write_columns

Targets = dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]]

COLUMNS = ["image", "label"]
NAME = "0" * 32 + "-a.tar"  # of a file in a cache


class Fuzzed:
    """The targets, with a folder for their files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in "abc":
            (folder / f"{name}.jpg").touch()
        self._samples = Source(scan_pattern(folder, "*.jpg"))

    @property
    def targets(self) -> Targets:
        """Each target with what makes its seeds."""
        return {
            "parquet": (self.parquet, self._parquets),
            "ledger": (self.ledger, lambda: [b"0 2 %b\n2 1 %bb\n\n" % (NAME.encode(), NAME.encode()) + bytes(4200)]),
            "dataset-index": (self.dataset_index, self._indexes),
            "state": (self.state, lambda: [json.dumps(EpochState(1, 2, 3, True, 9, "a", 1, "b").to_dict()).encode()]),
            "keys": (self.keys, lambda: [b"a\nb\r\n\nc", b"\xff\xfea\n"]),
        }

    def parquet(self, content: bytes) -> None:
        """By pyarrow, which ends this process where it crashes."""
        with suppress(OSError, ValueError):
            (file,) = read_files([str(self._written("a.parquet", content))], COLUMNS)
            groups = RowGroups([file], COLUMNS, 1 << 20)
            for number in range(min(file.num_rows, 20)):
                with suppress(OSError):
                    groups.file(number, "image")
                with suppress(OSError, TargetError):
                    values, row = groups.values(number, "label")
                    values.value(row)

    def ledger(self, content: bytes) -> None:
        """Of a cache: the file of names, an empty line, and the file of numbers."""
        names, _, numbers = content.partition(b"\n\n")
        self._written("files", names + b"\n")
        self._written("ledger", numbers)
        ledger = Ledger(self._folder)
        try:
            with suppress(OSError), ledger.locked():
                regions = [region.number for region in ledger.oldest_first()]
                assert len(set(regions)) == len(regions)
                new = ledger.register(NAME + "new", 3 << 20)
                assert ledger.look_up(NAME + "new") == new
        finally:
            ledger.close()

    def dataset_index(self, content: bytes) -> None:
        """With the hashes that make it the one which a json means."""
        content = content[:-8] + xxh3_64_digest(content[-_TRAILER_SIZE:-8])
        size = _TRAILER.unpack(content[-_TRAILER_SIZE:-8])[2] if len(content) >= _TRAILER_SIZE else 0
        table = content[-_TRAILER_SIZE - 8 * (1 + -(-size // CHUNK)) : -_TRAILER_SIZE]
        with suppress(ManifestError, OSError):
            entry = IndexEntry(len(content), f"xxh3_64:{xxh3_64_hexdigest(table)}")
            index = DatasetIndex(str(self._written("a.index.npy", content)), entry)
            assert len(index.rows(0, min(len(index), 9))) == min(len(index), 9)
            index.entries(np.arange(min(len(index), 3)))

    def state(self, content: bytes) -> None:
        with suppress(ValueError, RecursionError):
            found = json.loads(content)
            if isinstance(found, dict):
                with suppress(StateError):
                    state = EpochState.from_dict(found)
                    assert EpochState.from_dict(state.to_dict()) == state
                    assert state.position <= state.samples

    def keys(self, content: bytes) -> None:
        """Of the samples to pack."""
        path = self._written("keys.txt", content)
        with suppress(PackError):
            assert 1 <= len(with_keys(self._samples, path, "allow").scan) <= 3

    def _written(self, name: str, content: bytes) -> Path:
        path = self._folder / name
        path.write_bytes(content)
        return path

    def _parquets(self) -> list[bytes]:
        path, images = self._folder / "seed.parquet", [b"GIF89a%d" % n for n in range(6)]
        structs = pa.array([{"bytes": image, "path": None} for image in images], IMAGE)
        labels = [range(6), [[1.0, None], [], None, [2.0], [3.0], [4.0]], list("abcdef"), [{"a": [1]}] * 6]
        made = []
        for compression in ("none", "snappy", "zstd", "gzip"):
            for label in labels:
                columns = {"image": structs, "label": pa.array(label)}
                write_columns(path, columns, features(label="abcdef"), compression=compression)
                made.append(path.read_bytes())
                write_columns(path, columns | {"image": images}, compression=compression, data_page_version="2.0")
                made.append(path.read_bytes())
        return made

    def _indexes(self) -> list[bytes]:
        made = []
        for extensions in (["jpg", "cls"], ["a.ü'\udce9"]):
            rows = np.zeros(5, dtype_of(extensions, sealed=True))
            write_index(self._folder / "seed.index.npy", 1, [rows].__getitem__)
            made.append((self._folder / "seed.index.npy").read_bytes())
        return made
