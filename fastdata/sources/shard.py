"""A shard to read from: any component of any sample, at random."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastdata.errors import TarError
from fastdata.sources.node.node_cache import Cache
from fastdata.sources.opened_shard import Known, OpenedShard
from fastdata.sources.regular import MAX_BYTES
from fastdata.sources.tars.index import ABSENT, NO_CLASS, Rows
from fastdata.sources.tars.rows import MAX_CLASS_BYTES, Entry, class_in
from fastdata.sources.tars.tar import BLOCK, REGULAR, is_header, number, plain_name, pread, walk
from fastdata.sources.tars.webdataset import key_hash, split_name

_NEAR = 4096  # bytes behind an image: as a rule what holds the class begins there, behind padding and a header


class Shard:
    """A shard to read from, by row: the position of a sample in it.

    The file is opened, and indexed if need be, when first needed; with `keep_index` an index that was built is stored
    beside it. Where it is `known` its rows are those of its dataset's index, unless it has another size than the json
    says: then it was replaced, and is indexed for itself. Where `path` is a URL the file is a sparse one in the cache,
    which has those samples whose pieces the reader has leased, or, where no index says where samples end, a copy whose
    bytes are those of which the json has the hash. Both lie in the `cache`'s folder. It has `count` samples, if that is
    given. Any number of threads may read at once; a copy in another process, forked or unpickled, reads on its own. The
    file stays open as long as something reads it.

    Methods raise TarError when the shard is damaged, cut short or changed under way, IndexError for a row that is
    not there, OSError if the file can't be opened.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        keep_index: bool = True,
        known: Known | None = None,
        count: int | None = None,
        cache: Cache = Cache(),  # noqa: B008 - a value
    ) -> None:
        self.path = os.fspath(path)
        self.keep_index, self.known, self.count, self.cache = keep_index, known, count, cache
        self._opened: OpenedShard | None = None

    def __reduce__(self) -> tuple[type["Shard"], tuple[object, ...]]:
        return Shard, (self.path, self.keep_index, self.known, self.count, self.cache)

    def __repr__(self) -> str:
        return f"Shard({self.path!r})"

    def __len__(self) -> int:
        return self._open().count

    @property
    def rows(self) -> Rows:
        """The index: a structured array, one row a sample, as `index.Rows` says. One of a dataset's is read anew."""
        opened = self._open()
        return opened.rows if isinstance(opened.rows, np.ndarray) else opened.rows.rows(self.path)

    @property
    def extensions(self) -> tuple[str, ...]:
        """The extensions of all components in the shard, or in all of its dataset, in order of first appearance."""
        return tuple(self._open().columns)

    def has(self, row: int, extension: str) -> bool:
        """Whether the sample has this component."""
        opened = self._open()
        return extension in opened.columns and opened.entry(row)[opened.columns[extension]][0] != ABSENT

    def extensions_of(self, row: int) -> list[str]:
        """Those of the components that the sample has."""
        return [name for name in self.extensions if self.has(row, name)]

    def start(self, row: int) -> int:
        """Where the sample begins in the shard."""
        return int(self._open().entry(row)[1])

    def cls(self, row: int) -> int:
        """The integer in the sample's cls component, as it is there now; NO_CLASS if it has none."""
        opened = self._open()
        component = self.find(row, ("cls",))
        if component is None or component.cls == NO_CLASS:
            return NO_CLASS
        return self.checked_class(component, pread(opened.fd, component.cls_size, component.cls_offset))

    def key(self, row: int) -> str:
        """The sample's key, read again from its first header."""
        opened = self._open()
        hashed, start = opened.entry(row)[:2]
        header = pread(opened.fd, BLOCK, start)
        return self._plain_key(header, hashed) or self._walked_key(opened, hashed, start, start)

    def read(self, row: int, extension: str) -> bytes:
        """The bytes of one component."""
        return self.read_sample(row, extension)[1]

    def read_sample(self, row: int, extension: str) -> tuple[str, bytes]:
        """The sample's key and the bytes of one component, as `read_component` gives them."""
        return self.read_component(self.component(row, extension))

    def read_component(self, component: "Component") -> tuple[str, bytes]:
        """The sample's key and the component's bytes.

        The header before the bytes is read, too, and must still name this key, extension and size.
        """
        fd, offset, size = component.opened.fd, component.offset, component.size
        # Two reads, since cutting the header off one would copy the rest, which takes longer for megabytes.
        header, data = pread(fd, BLOCK, offset - BLOCK), pread(fd, size, offset)
        return self.checked_key(component, header, len(data)), data

    def component(self, row: int, extension: str) -> "Component":
        """Where a component of a sample lies, for who reads it. TarError where the sample has none such."""
        component = self.find(row, (extension,))
        if component is None:
            have = ", ".join(self.extensions_of(row))
            problem = f"sample {self.key(row)!r} has no component {extension!r} (it has {have})"
            raise TarError.at(self.path, self.start(row), problem)
        return component

    def find(self, row: int, extensions: Sequence[str], entry: Entry | None = None) -> "Component | None":
        """Where the first of these components that the sample has lies; None where it has none of them.

        `entry` is its row, where that is known already.
        """
        opened = self._opened or self._open()
        values = entry if entry is not None and opened.is_indexed else opened.entry(row)
        columns = opened.columns
        for extension in extensions:
            if extension in columns and (span := values[columns[extension]])[0] != ABSENT:
                offset, size = span
                hashed, start, cls = values[:3]
                if not (
                    0 <= start < opened.size and offset >= BLOCK and 0 <= size <= min(MAX_BYTES, opened.size - offset)
                ):
                    raise self._out_of_bounds(extension, offset, size)
                if cls == NO_CLASS:
                    return Component(self, opened, row, extension, offset, size, hashed, start, cls, ABSENT, 0, 0)
                cls_offset, cls_size = values[columns["cls"]] if "cls" in columns else (ABSENT, 0)
                if not (cls_offset >= BLOCK and 0 <= cls_size <= min(MAX_CLASS_BYTES, opened.size - cls_offset)):
                    raise self._out_of_bounds("cls", cls_offset, cls_size)
                behind = cls_offset - offset - size
                tail = behind + cls_size if 0 <= behind <= _NEAR else 0
                of_cls = cls, cls_offset, cls_size, tail
                return Component(self, opened, row, extension, offset, size, hashed, start, *of_cls)
        return None

    def checked_key(self, component: "Component", header: bytes, received: int) -> str:
        """The sample's key, from the header that was read; TarError where the shard changed since it was indexed."""
        _, opened, _, extension, offset, size, hashed, start, *_ = component
        if received < size:
            raise self._changed(offset, f"only {max(received, 0)} of a component's {size} bytes are left")
        key = self._plain_key(header, hashed, extension)
        if key is None or (header[124:136] != b"%011o\0" % size and number(header[124:136]) != size):
            key = self._walked_key(opened, hashed, start, offset, (extension, size))
        return key

    def checked_class(self, component: "Component", content: bytes) -> int:
        """The sample's class, by what was read of its cls component; TarError where the index has another."""
        if class_in(content) != component.cls:
            raise self._changed(component.cls_offset, f"its class is {content!r} now, and was {component.cls}")
        return component.cls

    def close(self) -> None:
        """Lets go of the file, which closes when its last reader is done; reading again opens it again."""
        self._opened = None

    def _open(self) -> OpenedShard:
        # There is no lock here, since a fork could leave it held for ever: threads that meet each open the file, and
        # all of these but the last close again when they have been read.
        opened = self._opened
        if opened is None:
            opened = OpenedShard(self.path, self.keep_index, self.known, self.cache)
            if self.count not in (None, opened.count):
                counted = f"{opened.count} samples where {self.count} were counted"
                raise TarError.at(self.path, 0, f"has {counted}: replaced, or another's json")
            self._opened = opened
        return opened

    def _plain_key(self, header: bytes, hashed: int, extension: str | None = None) -> str | None:
        """The key in a header that holds its name whole; None if it is another's, or stands in a header before."""
        if len(header) < BLOCK or not is_header(header) or header[156:157] not in REGULAR:
            return None
        split = split_name(plain_name(header))
        if split is None or extension not in (None, split[1]) or key_hash(split[0]) != hashed:
            return None
        return split[0]

    def _walked_key(
        self, opened: OpenedShard, hashed: int, start: int, offset: int, expected: tuple[str, int] | None = None
    ) -> str:
        """The key with this hash, from its member with data at `offset` of this extension and size, or from its first.

        Walks the headers from the sample's first one. Where that disagrees it walks them from the archive's first
        one, since PAX headers that hold for all members may lie there.
        """
        try:
            for origin in dict.fromkeys([start, 0]):
                found = next((member for member in walk(opened.fd, self.path, origin) if member.offset >= offset), None)
                key, extension = (found and split_name(found.name)) or ("", "")
                agrees = expected is None or (found and (extension, found.size) == expected and found.offset == offset)
                if agrees and key_hash(key) == hashed:
                    return key
        except TarError as error:
            raise self._changed(offset, "its headers can't be read") from error
        raise self._changed(offset, "another member lies here now")

    def _out_of_bounds(self, extension: str, offset: int, size: int) -> TarError:
        if size > MAX_BYTES:
            problem = f"a component {extension!r} of {size} bytes: more than {MAX_BYTES} are no sample's"
        else:
            problem = f"by its index a component {extension!r} of {size} bytes is here, which can't be: pack it again"
        return TarError.at(self.path, offset, problem)

    def _changed(self, offset: int, what: str) -> TarError:
        problem = f"shard changed or damaged since it was indexed: {what}"
        again = "copy or pack it again" if self.known else "remove the shard's index and try again"
        todo = f"don't write into shards in use; if it persists {again}"
        return TarError.at(self.path, offset, f"{problem}; {todo}")


class Component(NamedTuple):
    """A component's `size` bytes at `offset` of the file that `opened` holds open; and what its sample's row says.

    That is the hash of its key, where it starts, its class, and where the component lies that holds it; ABSENT where
    `cls` is NO_CLASS. `tail` are the bytes from this component's end to that one's, where it begins a little behind,
    else 0.
    """

    shard: Shard
    opened: OpenedShard
    row: int
    extension: str
    offset: int
    size: int
    hashed: int
    start: int
    cls: int
    cls_offset: int
    cls_size: int
    tail: int
