"""A shard to read from: any component of any sample, at random."""

import os
import resource
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from fastdata.errors import TarError
from fastdata.sources.index import ABSENT, NO_CLASS, Rows, extensions, shard_rows
from fastdata.sources.regular import MAX_BYTES
from fastdata.sources.rows import class_in
from fastdata.sources.tar import BLOCK, REGULAR, is_header, number, plain_name, pread, walk
from fastdata.sources.webdataset import key_hash, split_name

_NEAR = 4096  # bytes behind an image: as a rule what holds the class begins there, behind padding and a header


class Shard:
    """A shard to read from, by row: the position of a sample in it.

    The file is opened, and indexed if need be, when first needed; with `keep_index` an index that was built is stored
    beside it. Any number of threads may read at once; a copy in another process, forked or unpickled, reads on its
    own. The file stays open as long as something reads it.

    Methods raise TarError when the shard is damaged, cut short or changed under way, IndexError for a row that is
    not there, OSError if the file can't be opened.
    """

    def __init__(self, path: str | os.PathLike[str], keep_index: bool = True) -> None:
        self.path = os.fspath(path)
        self.keep_index = keep_index
        self._opened: _Opened | None = None

    def __reduce__(self) -> tuple[type["Shard"], tuple[str, bool]]:
        return Shard, (self.path, self.keep_index)

    def __repr__(self) -> str:
        return f"Shard({self.path!r})"

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def rows(self) -> Rows:
        """The index: a structured array, one row a sample, as `index.Rows` says."""
        return self._open().rows

    @property
    def extensions(self) -> tuple[str, ...]:
        """The extensions of all components in the shard, in order of their first appearance."""
        return tuple(self._open().spans)

    def has(self, row: int, extension: str) -> bool:
        """Whether the sample has this component."""
        spans = self._open().spans
        return extension in spans and int(spans[extension][row]["offset"]) != ABSENT

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
        hashed, start = int(opened.rows["key"][row]), int(opened.rows["start"][row])
        header = pread(opened.fd, BLOCK, start)
        return self._plain_key(header, hashed) or self._find(opened, row, start)

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
            have = ", ".join(name for name in self.extensions if self.has(row, name))
            problem = f"sample {self.key(row)!r} has no component {extension!r} (it has {have})"
            raise TarError.at(self.path, int(self.rows["start"][row]), problem)
        return component

    def find(self, row: int, extensions: Sequence[str]) -> "Component | None":
        """Where the first of these components that the sample has lies; None where it has none of them."""
        opened = self._open()
        values = opened.rows[row].item()  # all at once, in a third of the time of one by one
        for extension in extensions:
            column = opened.columns.get(extension)
            if column is not None and values[column][0] != ABSENT:
                offset, size = values[column]
                if size > MAX_BYTES:
                    problem = f"a component {extension!r} of {size} bytes: more than {MAX_BYTES} are no sample's"
                    raise TarError.at(self.path, offset, problem)
                cls_offset, cls_size = (ABSENT, 0) if values[2] == NO_CLASS else values[opened.columns["cls"]]
                behind = cls_offset - offset - size
                tail = behind + cls_size if 0 <= behind <= _NEAR else 0
                of_row = values[0], values[2], cls_offset, cls_size, tail
                return Component(self, opened, row, extension, offset, size, *of_row)
        return None

    def checked_key(self, component: "Component", header: bytes, received: int) -> str:
        """The sample's key, from the header that was read; TarError where the shard changed since it was indexed."""
        _, opened, row, extension, offset, size, hashed, *_ = component
        if received < size:
            raise self._changed(offset, f"only {max(received, 0)} of a component's {size} bytes are left")
        key = self._plain_key(header, hashed, extension)
        if key is None or number(header[124:136]) != size:
            key = self._find(opened, row, offset, (extension, size))
        return key

    def checked_class(self, component: "Component", content: bytes) -> int:
        """The sample's class, by what was read of its cls component; TarError where the index has another."""
        if class_in(content) != component.cls:
            raise self._changed(component.cls_offset, f"its class is {content!r} now, and was {component.cls}")
        return component.cls

    def close(self) -> None:
        """Lets go of the file, which closes when its last reader is done; reading again opens it again."""
        self._opened = None

    def _open(self) -> "_Opened":
        # There is no lock here, since a fork could leave it held for ever: threads that meet each open the file, and
        # all of these but the last close again when they have been read.
        opened = self._opened
        if opened is None:
            opened = self._opened = _Opened(self.path, self.keep_index)
        return opened

    def _plain_key(self, header: bytes, hashed: int, extension: str | None = None) -> str | None:
        """The key in a header that holds its name whole; None if it is another's, or stands in a header before."""
        if len(header) < BLOCK or not is_header(header) or header[156:157] not in REGULAR:
            return None
        split = split_name(plain_name(header))
        if split is None or extension not in (None, split[1]) or key_hash(split[0]) != hashed:
            return None
        return split[0]

    def _find(self, opened: "_Opened", row: int, offset: int, expected: tuple[str, int] | None = None) -> str:
        """The row's key, from its member with data at `offset` of this extension and size, or from its first.

        Walks the headers from the sample's first one. Where that disagrees it walks them from the archive's first
        one, since PAX headers that hold for all members may lie there.
        """
        hashed, start = int(opened.rows["key"][row]), int(opened.rows["start"][row])
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

    def _changed(self, offset: int, what: str) -> TarError:
        problem = f"shard changed or damaged since it was indexed: {what}"
        todo = "don't write into shards in use; if it persists remove the shard's index and try again"
        return TarError.at(self.path, offset, f"{problem}; {todo}")


class _Opened:
    """What a Shard has open; the file is closed when its last user is gone."""

    fd = -1

    def __init__(self, path: str, keep_index: bool) -> None:
        self.fd = os.open(path, os.O_RDONLY)
        self.rows = shard_rows(self.fd, path, keep_index)
        self.spans = {name: self.rows["." + name] for name in extensions(self.rows)}
        names = self.rows.dtype.names or ()
        self.columns = {name: names.index("." + name) for name in self.spans}

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


class Component(NamedTuple):
    """A component's `size` bytes at `offset` of the file that `opened` holds open; and what its sample's row says.

    That is its class, and where the component lies that holds it; ABSENT where `cls` is NO_CLASS. `tail` are the bytes
    from this component's end to that one's, where it begins a little behind, else 0.
    """

    shard: Shard
    opened: _Opened
    row: int
    extension: str
    offset: int
    size: int
    hashed: int
    cls: int
    cls_offset: int
    cls_size: int
    tail: int


class ShardCache:
    """Shards by position, of which the last used `max_open` stay open, but no more than a quarter of the files that
    this process may open.

    For any number of shards, threads and processes; a shard that is still being read stays open all the same.
    """

    def __init__(self, paths: Sequence[str], max_open: int = 64) -> None:
        if max_open < 1:
            raise ValueError(f"max_open must be at least 1, not {max_open}")
        self.paths, self.max_open = paths, max_open
        self._shard = lru_cache(min(max_open, _share_of_files()))(Shard)

    def __reduce__(self) -> tuple[type["ShardCache"], tuple[Sequence[str], int]]:
        return ShardCache, (self.paths, self.max_open)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int) -> Shard:
        return self._shard(self.paths[position])


def _share_of_files() -> int:
    """A quarter of the descriptors that this process may have, by `ulimit -n`: threads hold others while they read."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, soft // 4) if soft != resource.RLIM_INFINITY else 1 << 20
