"""Shards that come by streams give the samples, views and targets of the same shards in files, and promise no more."""

import os
import shlex
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader

from fastdata.datasets.shards import TarImageDataset
from fastdata.datasets.streams import TarImageStream
from fastdata.errors import ReadError, StateError, TarError
from fastdata.loading.loader import Loader
from fastdata.sources.node.node_cache import Cache
from fastdata.sources.streams import stream_samples
from fastdata.sources.tables.table import Table
from support.numbered import TRAIN, image, iterable, write_shards
from support.processes import PATIENCE
from support.tars import END, archive, packed

Samples = list[tuple[np.ndarray[Any, Any], int, str]]


def by_pipe(shards: list[str], **options: Any) -> TarImageStream:
    urls = [f"pipe:cat {shlex.quote(shard)}" for shard in shards]
    return TarImageDataset(urls, **{"transform": TRAIN, "seed": 5, "allow_pipe": True, **options})  # type: ignore[return-value]


def of_pairs(pairs: Any) -> Samples:
    return [(image.numpy(), target, pair.key) for pair in pairs for image, target in [pair]]


def of_batches(batches: Any) -> Samples:
    found = []
    for batch in batches:
        found += [(image.numpy(), int(target), key) for image, target, key in zip(*batch[:2], batch.keys, strict=True)]
    return found


def assert_same(one: Samples, two: Samples) -> None:
    assert [each[1:] for each in one] == [each[1:] for each in two]
    assert all(np.array_equal(a, b) for (a, *_), (b, *_) in zip(one, two, strict=True))


def ways(dataset: Any) -> dict[str, Callable[[], Samples]]:
    """The samples of the next epoch, by all that iterates."""
    loader = Loader(dataset(), 4, num_threads=2)
    batches = DataLoader(dataset(batch_size=4), batch_size=None)
    pairs = dataset()
    return {
        "itself": lambda: of_pairs(pairs),
        "DataLoader": lambda: of_batches(batches),
        "Loader": lambda: of_batches(loader),
    }


def test_samples_come_in_the_files_order_with_the_same_views(shards: list[str]) -> None:
    expected = ways(lambda **options: iterable(shards, **options))
    for name, epoch in ways(lambda **options: by_pipe(shards, **options)).items():
        for _ in range(2):
            assert_same(epoch(), expected[name]())


def test_webdataset_reads_the_same_samples(shards: list[str]) -> None:
    wds = pytest.importorskip("webdataset")
    ours = by_pipe(shards, image="jpg;png")
    urls = [f"pipe:cat {shlex.quote(shard)}" for shard in shards]
    theirs = [(sample["__key__"], int(sample["cls"])) for sample in wds.WebDataset(urls, shardshuffle=False)]
    assert [(pair.key, pair[1]) for pair in ours] == theirs


@pytest.mark.usefixtures("ready_forkserver")
@pytest.mark.parametrize("context", ["fork", "forkserver"])
def test_workers_and_ranks_have_whole_streams(shards: list[str], context: str) -> None:
    keys = []
    for rank in range(2):
        dataset = by_pipe(shards, batch_size=3, rank=rank, world_size=2)
        loader = DataLoader(dataset, batch_size=None, num_workers=2, multiprocessing_context=context)
        of_rank = [key for batch in loader for key in batch.keys]
        assert set(of_rank) == {pair.key for shard in shards[rank::2] for pair in by_pipe([shard])}
        keys += of_rank
    assert sorted(keys) == [f"{number:03}" for number in range(37)]
    with pytest.raises(ValueError, match="4 streams can't be shared by 5 ranks: write it into a file"):
        next(iter(by_pipe(shards, rank=0, world_size=5)))


def test_epochs_have_their_own_views_and_can_be_said(shards: list[str]) -> None:
    stream, loader = by_pipe(shards[2:3]), Loader(by_pipe(shards[2:3]), 4)
    first, second = of_pairs(stream), of_pairs(stream)
    assert not all(np.array_equal(a, b) for (a, *_), (b, *_) in zip(first, second, strict=True))
    stream.set_epoch(0)
    loader.set_epoch(1)
    assert_same(of_pairs(stream), first)
    assert_same(of_batches(loader), second)


def test_what_nobody_knows_of_a_stream_is_an_error(shards: list[str]) -> None:
    stream = by_pipe(shards)
    loader = Loader(stream, 4)
    for asked in (lambda: len(stream), lambda: len(loader), lambda: loader.remaining, loader.state_dict):
        with pytest.raises(TypeError, match="can't be had of a stream: write it into a file, and name that"):
            asked()
    with pytest.raises(StateError, match="nothing can be resumed in a stream"):
        stream.state_dict(batches=1)
    for options in ({"shuffle": True}, {"last": "drop"}, {"cache": Cache()}):
        with pytest.raises(TypeError, match="can't be had of a stream"):
            by_pipe(shards, **options)
    for of_loader in ({"shuffle": True}, {"last": "pad"}, {"decoder": "dali"}, {"on_error": "skip"}):
        with pytest.raises(TypeError, match="can't be had of a stream"):
            Loader(stream, 4, **of_loader)
    with pytest.raises(ValueError, match="a table is joined with all samples at once"):
        by_pipe(shards, target=Table("labels.csv", "key", "label"))


def test_commands_run_only_where_that_is_allowed(shards: list[str], tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    with pytest.raises(ValueError, match=r"would run a command: say allow_pipe=True if you trust it"):
        TarImageDataset(f"pipe:touch {mark}")
    with pytest.raises(ValueError, match="is a shard among streams: name shards, which can be sought, by themselves"):
        TarImageDataset([f"pipe:touch {mark}", shards[0]], allow_pipe=True)
    assert not mark.exists()
    assert isinstance(TarImageDataset(shards, allow_pipe=True), TarImageDataset)


def jpegs(shards: list[str]) -> list[tuple[str, bytes]]:
    with tarfile.open(shards[0]) as tar:
        return [(name, tar.extractfile(name).read()) for name in tar.getnames()]  # type: ignore[union-attr]


@pytest.mark.parametrize("way", ["itself", "Loader"])
@pytest.mark.parametrize(
    ("command", "error", "problem"),
    [
        ("cat {shard}; exit 3", OSError, "the command ended with status 3: what it wrote may not be all"),
        ("head -c 3000 {shard}; exit 3", OSError, "the command ended with status 3"),
        ("cat {shard}.none 2>/dev/null", OSError, "the command ended with status 1"),
        ("head -c 1536 {shard}", TarError, "runs past the stream's end: cut short"),
        ("head -c 1024 {shard}", TarError, "ends without an end-of-archive marker"),
        ("gzip -c {shard}", TarError, "a gzip file, not a plain tar"),
        ("cat {shard} {shard}", TarError, "data behind the end-of-archive marker"),
        ("cat {damaged}", TarError, r"offset \d+: no tar header \(bad checksum\)"),
        ("cat {linked}", TarError, "'b.jpg' is a link"),
    ],
)
def test_a_stream_that_is_not_whole_is_an_error(
    shards: list[str], tmp_path: Path, way: str, command: str, error: type[Exception], problem: str
) -> None:
    small = tmp_path / "small.tar"
    name, data = next((name, data) for name, data in jpegs(shards) if name.endswith(".jpg"))
    files = [(f"a/{number}{name[-4:]}", data) for number in range(3)]
    small.write_bytes(archive([("a/0.txt", b"text")] + [(f"a/{i}.jpg", data) for i in range(3)], tarfile.USTAR_FORMAT))
    damaged = bytearray(archive(files, tarfile.USTAR_FORMAT))
    damaged[damaged.index(b"a/1")] = ord("b")
    (tmp_path / "damaged.tar").write_bytes(damaged)
    with tarfile.open(tmp_path / "linked.tar", "w") as tar:
        link = tarfile.TarInfo("b.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "a.jpg"
        tar.addfile(link)
    filled = command.format(shard=small, damaged=tmp_path / "damaged.tar", linked=tmp_path / "linked.tar")
    stream = TarImageDataset(f"pipe:{filled}", TRAIN, target=None, allow_pipe=True)
    with pytest.raises(error, match=problem):
        list(stream if way == "itself" else Loader(stream, 2))


def test_a_sample_without_an_image_or_a_target_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(archive([("x/1.txt", b"text")], tarfile.USTAR_FORMAT))
    where = rf"sample 'x/1' in pipe:cat {tmp_path}/a\.tar, offset 0: it has none of the components jpg"
    with pytest.raises(ReadError, match=where):
        list(by_pipe([str(tmp_path / "a.tar")]))


def test_a_pass_that_is_broken_off_ends_its_command(tmp_path: Path, shards: list[str]) -> None:
    (tmp_path / "endless.py").write_text(
        f"import sys\ndata = open({shards[2]!r}, 'rb').read().rstrip(bytes(1))\n"
        "sys.stdout.buffer.write(data + bytes(-len(data) % 512))\nsys.stdout.flush()\nimport time\ntime.sleep(600)\n"
    )
    stream = TarImageDataset(f"pipe:exec {sys.executable} {tmp_path}/endless.py", TRAIN, allow_pipe=True)
    passing: Any = iter(stream)
    next(passing)
    passing.close()


class TestEnds:
    """Of streams whose commands would never end."""

    @pytest.fixture
    def stream(self, tmp_path: Path, shards: list[str]) -> TarImageStream:
        (tmp_path / "open.tar").write_bytes(Path(shards[2]).read_bytes()[:-1024].rstrip(bytes(1)) + bytes(512))
        return TarImageDataset(  # type: ignore[return-value]
            f"pipe:cat {tmp_path}/open.tar; echo $$ > {tmp_path}/pid; sleep 600", TRAIN, allow_pipe=True
        )

    @staticmethod
    def children() -> list[str]:
        return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()

    def test_closing_a_loader_ends_the_command_and_all_that_it_began(self, stream: TarImageStream) -> None:
        before = self.children()
        with Loader(stream, 2, num_threads=1, prefetch=1) as loader:
            batches = iter(loader)
            next(batches)
            (shell,) = set(self.children()) - set(before)
            of_shell = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
        assert self.children() == before
        deadline = time.monotonic() + PATIENCE
        while any(map(is_running, of_shell)) and time.monotonic() < deadline:
            os.sched_yield()
        assert not any(map(is_running, of_shell))
        assert not stream._arrived

    def test_nothing_is_kept_of_a_pass_that_is_over(self, shards: list[str]) -> None:
        stream = by_pipe(shards)
        for epoch in (stream, stream, Loader(stream, 4)):
            assert len(list(epoch)) > 0
            assert not stream._arrived

    def test_two_loaders_of_one_stream_do_not_take_each_others_samples(self, shards: list[str]) -> None:
        stream = by_pipe(shards[:1])
        outer, inner = Loader(stream, 2, num_threads=1, prefetch=3), Loader(stream, 1, num_threads=1, prefetch=1)
        seen = []
        for batch in outer:
            next(iter(inner))
            seen += batch.keys
        assert seen == [f"{number:03}" for number in range(10)]


def is_running(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_of_what_nobody_asked_for_or_is_too_large_only_the_size_is_kept(tmp_path: Path) -> None:
    _, picture = image(0)
    files = [("a.jpg", picture), ("a.cls", b"1"), ("a.bin", b"2"), ("b.jpg", bytes(1 << 20))]
    shard = shlex.quote(str(packed(tmp_path / "a.tar", files)))
    with closing(stream_samples(f"pipe:cat {shard}", {"jpg", "cls"}, 1 << 19)) as samples:
        seen = [(sample.key, list(sample.sizes), list(sample.parts)) for sample in samples]
    assert seen == [("a", ["jpg", "cls", "bin"], ["jpg", "cls"]), ("b", ["jpg"], [])]
    with pytest.raises(ReadError, match="its component 'jpg' has more than 524288 bytes"):
        list(TarImageDataset(f"pipe:cat {shard}", TRAIN, target=None, allow_pipe=True, max_bytes=1 << 19))


STDIN = """
import sys
import fastdata as fd
stream = fd.TarImageDataset("-", [fd.Resize(32), fd.CenterCrop(24)])
print([pair.key for pair in stream])
try:
    list(stream)
except ValueError as error:
    print(error)
"""


@pytest.mark.slow
def test_standard_input_is_read_once(shards: list[str]) -> None:
    with open(shards[0], "rb") as file:
        run = subprocess.run(
            [sys.executable, "-P", "-c", STDIN], stdin=file, capture_output=True, text=True, check=True
        )
    keys, problem = run.stdout.splitlines()
    assert keys == str([f"{number:03}" for number in range(10)])
    assert problem.startswith("standard input was read in the epoch before, and comes once")
    with pytest.raises(ValueError, match="workers have no standard input: say num_workers=0"):
        list(DataLoader(TarImageDataset("-"), batch_size=None, num_workers=1))
    with pytest.raises(ValueError, match="there is one standard input"):
        TarImageDataset(["-", "-"])


def test_an_empty_shard_is_an_empty_stream(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(END)
    assert list(by_pipe([str(tmp_path / "a.tar")])) == []
    (tmp_path / "shards").mkdir()
    one, *_ = write_shards(tmp_path / "shards")
    assert len(list(by_pipe([str(tmp_path / "a.tar"), one]))) == 10


def test_what_has_more_than_max_bytes_is_not_decoded(shards: list[str]) -> None:
    with pytest.raises(ReadError, match="its component 'jpg' has more than 10 bytes"):
        list(by_pipe(shards, max_bytes=10))
    assert len(list(by_pipe(shards, max_bytes=1 << 20))) == len(list(by_pipe(shards)))
