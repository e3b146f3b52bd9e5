"""However an iteration of a Loader ends: no thread, file or memory is left behind, and nothing hangs."""

import copy
import gc
import pickle
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.errors import SampleError
from fastdata.loading.loader import Loader
from fastdata.loading.memory import Memory
from fastdata.loading.normalize import Normalize
from fastdata.loading.skipping import Skipped
from support.forks import Run
from support.numbered import COUNT, iterable, map_style, write_folder
from support.processes import assert_no_more_threads_than, descriptors, open_files, run_python, threads
from support.programs import FORKED, INTERRUPTED


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(folder: Path, shards: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Of threads, file descriptors and the memory of batches, without waiting for a garbage collection."""
    # OpenCV and torch have pools of threads of their own, and the indexes of shards stay mapped for a while.
    assert len(list(Loader(map_style(folder), 8))) == len(list(Loader(iterable(shards), 8)))
    lent: list[weakref.ref[Any]] = []
    lend = Memory.lend

    def noting(memory: Memory) -> Any:
        array = lend(memory)
        lent.append(weakref.ref(array))
        return array

    monkeypatch.setattr(Memory, "lend", noting)
    threads_before, descriptors_before = threads(), descriptors()
    gc.collect()
    gc.disable()
    try:
        yield
        assert not [array for array in lent if array() is not None]
    finally:
        gc.enable()
    assert_no_more_threads_than(threads_before)
    assert descriptors() <= descriptors_before


def stop_somewhere(batches: Any, at: int = 2) -> None:
    for number, _ in enumerate(batches):
        if number == at:
            break


def test_the_epochs_end(folder: Path) -> None:
    loader = Loader(map_style(folder), 4, num_threads=3)
    assert sum(len(images) for images, _ in loader) == COUNT
    del loader


def test_breaking_out_of_the_loop(folder: Path) -> None:
    loader = Loader(map_style(folder), 4, num_threads=3)
    stop_somewhere(loader)
    stop_somewhere(loader)
    assert [loader.stats().images, len(loader)] == [12, 10]


def test_shards_whose_files_are_closed_with_the_dataset(shards: list[str]) -> None:
    loader = Loader(iterable(shards, shuffle=True), 4, num_threads=3)
    stop_somewhere(loader)
    assert any(path in shards for path in open_files())
    del loader
    assert not any(path in shards for path in open_files())


def test_an_exception_in_the_loop(folder: Path) -> None:
    loader = Loader(map_style(folder), 4, num_threads=3)

    def train() -> None:
        for images, _ in loader:
            raise ZeroDivisionError(f"after {len(images)}")

    with pytest.raises(ZeroDivisionError, match="after 4"):
        train()
    assert len(list(loader)) == 10


def test_an_exception_in_normalize(folder: Path) -> None:
    def normalize(images: Tensor) -> Tensor:
        raise ZeroDivisionError("in normalize")

    with pytest.raises(ZeroDivisionError, match="in normalize"):
        list(Loader(map_style(folder), 4, normalize=normalize))


def test_an_error_in_a_thread(tmp_path: Path) -> None:
    (write_folder(tmp_path / "bad", 20) / "010.jpg").write_bytes(b"no image")
    loader = Loader(map_style(tmp_path / "bad"), 2, num_threads=3)
    with pytest.raises(SampleError):
        list(loader)
    with pytest.raises(SampleError):
        list(loader)


def test_an_error_in_a_thread_that_nobody_foresaw(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode_into(*arguments: object) -> None:
        raise ValueError("a defect of the program")

    monkeypatch.setattr(ImageDirectoryDataset, "decode_into", decode_into)
    for on_error in ("raise", "skip"):  # it is no sample's fault, so it is never skipped as one
        with pytest.raises(ValueError, match="a defect of the program", check=lambda error: type(error) is ValueError):
            list(Loader(map_style(folder), 4, on_error=on_error))


def test_an_iterator_that_is_dropped_before_its_first_batch(folder: Path) -> None:
    loader = Loader(map_style(folder), 4)
    before = threads()
    for _ in range(20):
        iter(loader)
    assert threads() == before


def test_an_iterator_that_is_dropped_after_its_first_batch(folder: Path) -> None:
    loader = Loader(map_style(folder), 4)
    for _ in range(20):
        next(iter(loader))


def test_close(folder: Path) -> None:
    loader = Loader(map_style(folder), 4, num_threads=3)
    loader.close()
    batches = iter(loader)
    next(batches)
    loader.close()
    with pytest.raises(RuntimeError, match="this iteration was closed"):
        next(batches)
    loader.close()
    assert len(list(loader)) == 10


def test_a_with_block(folder: Path) -> None:
    with Loader(map_style(folder), 4, num_threads=3) as loader:
        batches = iter(loader)
        next(batches)
    with pytest.raises(RuntimeError, match="this iteration was closed"):
        next(batches)


def test_a_with_block_that_raises(folder: Path) -> None:
    def train() -> None:
        with Loader(map_style(folder), 4) as loader:
            next(iter(loader))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()


def test_two_loaders_at_once(folder: Path, shards: list[str]) -> None:
    pairs = list(zip(Loader(map_style(folder), 4), Loader(iterable(shards), 4), strict=True))
    assert all(torch.equal(one.images, other.images) for one, other in pairs)


def test_two_loaders_of_one_dataset_at_once(folder: Path) -> None:
    dataset = map_style(folder)
    pairs = list(zip(Loader(dataset, 4, num_threads=2), Loader(dataset, 4, num_threads=3), strict=True))
    assert all(torch.equal(one.images, other.images) for one, other in pairs)


def test_iterating_again_closes_the_running_iteration(folder: Path) -> None:
    loader = Loader(map_style(folder), 4)
    first = iter(loader)
    next(first)
    second = iter(loader)
    next(second)
    with pytest.raises(RuntimeError, match=r"this iteration was closed.* one iteration at a time"):
        next(first)
    assert len(list(second)) == 9


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda loader: pickle.loads(pickle.dumps(loader))],
    ids=["copy", "deep", "pickle"],
)
class TestCopies:
    def test_a_copy_in_the_middle_of_an_epoch_goes_on_there(
        self, folder: Path, copied: Callable[[Loader], Loader]
    ) -> None:
        loader = Loader(map_style(folder), 4, shuffle=True, normalize=Normalize.imagenet())
        batches = iter(loader)
        for _ in range(3):
            next(batches)
        other = copied(loader)
        assert other.state_dict() == loader.state_dict()
        assert [batch.keys for batch in other] == [batch.keys for batch in batches]
        assert other.state_dict() == loader.state_dict()
        assert [batch.keys for batch in other] == [batch.keys for batch in loader]

    def test_a_copy_has_an_epoch_and_a_list_of_its_own(self, folder: Path, copied: Callable[[Loader], Loader]) -> None:
        loader = Loader(map_style(folder), 4, shuffle=True)
        list(loader)
        other = copied(loader)
        list(other)
        assert (loader.epoch, other.epoch) == (0, 1)
        other.set_epoch(7)
        other.skipped.append(Skipped("key", "where", "why"))
        assert (loader.state_dict()["epoch"], loader.skipped) == (0, [])
        loader.set_epoch(3)
        assert other.epoch == 7


def test_two_iterators_begun_at_once_are_not_mixed_up(folder: Path) -> None:
    loader = Loader(map_style(folder), 4)
    first, second = iter(loader), iter(loader)
    next(first)
    assert len(list(second)) == 10
    with pytest.raises(RuntimeError, match="this iteration was closed"):
        list(first)


def test_skipped_samples(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "bad", 20)
    for number in (3, 10, 11, 18):
        (root / f"{number:03}.jpg").write_bytes(b"no image")
    loader = Loader(map_style(root), 2, num_threads=3, on_error="skip")
    with pytest.raises(SampleError):  # batch 5 is all bad
        list(loader)
    loader.set_epoch(1)
    batches = iter(loader)
    assert len([next(batches) for _ in range(4)]) == 4


PREPARED = """
import os, signal, sys
from fastdata.loading.loader import Loader
from support.numbered import TRAIN, iterable, map_style
root = sys.argv[1]
"""


def test_ctrl_c_at_any_moment(run_forked: Run, folder: Path) -> None:
    program = "loader = Loader(map_style(root), 2, num_threads=3)\n" + INTERRUPTED
    program = PREPARED + program.format(attempts=30, longest_wait=0.003)
    assert run_forked(program, folder) == f"30 {COUNT}\n"


@pytest.mark.parametrize(
    "ending",
    [
        "",
        "sys.exit()",
        "raise SystemExit",
        "del loader",
        "import atexit; atexit.register(lambda: next(batches))",
        "globals()['self_reference'] = globals()",
    ],
)
def test_the_interpreters_exit_with_an_unfinished_iteration(run_forked: Run, folder: Path, ending: str) -> None:
    program = f"""
{PREPARED}
loader = Loader(map_style(root, transform=TRAIN), 4, num_threads=4)
batches = iter(loader)
print(next(batches).targets.tolist())
{ending}
"""
    assert run_forked(program, folder) == "[0, 1, 2, 3]\n"


def test_the_exit_with_an_unfinished_iteration_of_a_program_that_imports_the_package(folder: Path) -> None:
    program = """
import sys
import fastdata as fd
dataset = fd.ImageDirectoryDataset(sys.argv[1], transform=fd.RandomResizedCrop(8), labels=None)
batches = iter(fd.Loader(dataset, 4, num_threads=2))
print(len(next(batches).targets))
"""
    assert run_python(program, folder) == "4\n"


@pytest.mark.parametrize("dataset", ["map_style(root)", "iterable([root + '/../shards0/part-{000000..000003}.tar'])"])
def test_after_a_fork_the_child_iterates_anew_and_the_parent_goes_on(
    run_forked: Run, folder: Path, shards: list[str], dataset: str
) -> None:
    dataset = dataset.replace("root + '/../shards0/", f"'{Path(shards[0]).parent}/")
    program = f"loader = Loader({dataset}, 4, num_threads=3)\n" + FORKED
    assert run_forked(PREPARED + program, folder) == f"{COUNT - 4}\n"


def test_workers_of_torchs_data_loader_may_be_forked_while_it_runs(folder: Path) -> None:
    loader = Loader(map_style(folder), 4, num_threads=3)
    batches = iter(loader)
    kept = [next(batches)]
    (dataset := map_style(folder)).set_epoch(0)
    images = [image for image, _ in DataLoader(dataset, batch_size=None, num_workers=2)]
    kept += batches
    assert torch.equal(torch.stack(images), torch.cat([batch.images for batch in kept]))
