"""Shards are the same by whatever engine, though a worker dies in the middle."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier
from typing import Any, TypeVar

import pytest

from fastdata.errors import PackError
from fastdata.packing import engines
from fastdata.packing.engines import Dask, Engine, Processes, Ray, write_shard_of
from fastdata.packing.origins.source import Source
from fastdata.packing.pack import pack_by
from fastdata.packing.parts import Part, commit, pack_part
from fastdata.packing.plan import ShardCount
from fastdata.packing.planning import make_table
from fastdata.packing.recipe import Recipe
from fastdata.packing.table_file import open_table
from fastdata.packing.task import write_task
from fastdata.sources.folder import scan_classes
from support.packed import copy_of, die_always, die_once_in_the_fourth, files_of, table_of_another_run
from support.processes import PATIENCE, PYTHONPATH
from support.servers import free_ports

T = TypeVar("T")

RECIPE = Recipe(division=ShardCount(6))


@pytest.fixture(scope="module")
def expected(source: Source, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    directory = tmp_path_factory.mktemp("expected")
    pack_by(source, directory, RECIPE, Processes(1))
    return files_of(directory)


@contextmanager
def dask_cluster(*workers: str, **options: str) -> Iterator[Dask]:
    """A scheduler and workers, each a process of its own, that speak TCP on loopback."""
    (port,) = free_ports(1)
    address = f"tcp://127.0.0.1:{port}"
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH, **options}
    scheduler = ["dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    worker = ["dask_worker", address, "--no-nanny", "--no-dashboard", "--nthreads", "1", "--name"]
    commands = [scheduler, *([*worker, name] for name in workers)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-P", "-m", f"distributed.cli.{module}", *arguments],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for module, *arguments in commands
    ]
    try:
        yield Dask(address)
    finally:
        for process in processes:
            process.kill()
            process.wait()


class Recording(ThreadPoolExecutor):
    """An executor of somebody's own, that notes what it was given."""

    def __init__(self) -> None:
        super().__init__(2)
        self.given: list[tuple[object, ...]] = []
        self.futures: list[Future[Any]] = []

    def submit(self, function: Callable[..., T], /, *arguments: object) -> Future[T]:  # type: ignore[override]
        self.given.append(arguments)
        self.futures.append(super().submit(function, *arguments))
        return self.futures[-1]


def test_a_task_is_the_tables_path_and_a_shards_number(
    source: Source, expected: dict[str, bytes], tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    with Recording() as executor:
        pack_by(source, tmp_path, RECIPE, executor, progress=lambda *by: told.append(by))
    assert files_of(tmp_path) == expected
    assert [number for _, number in executor.given] == list(range(6))
    (path,) = {path for path, _ in executor.given}
    assert str(path).endswith(".plan")
    assert sum(files for files, _ in told) == 23


def test_parts_are_written_by_any_engine(source: Source, expected: dict[str, bytes], tmp_path: Path) -> None:
    with Recording() as executor:
        for index in range(2):
            pack_part(source, tmp_path, RECIPE, Part(index, 2), executor)
    commit(source, tmp_path, RECIPE)
    assert files_of(tmp_path) == expected


def test_what_a_task_raises_ends_the_run_and_keeps_what_is_finished(
    odd_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_of(odd_folder, tmp_path / "source")
    source = Source(scan_classes(folder))
    monkeypatch.setattr("fastdata.packing.complete.make_table", table_before(folder / "cow/15.jpg"))
    with (
        ThreadPoolExecutor(1) as executor,
        pytest.raises(PackError, match=r"cow/15\.jpg can't be read: No such file"),
    ):
        pack_by(source, tmp_path / "out", RECIPE, executor)
    assert len(list((tmp_path / "out/.fastdata-staging").glob("*.done"))) == 5


class OneFails:
    """An executor of which the first task fails, and no other is ever begun."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, function: Callable[..., T], /, *arguments: object) -> Future[T]:
        self.futures.append(Future())
        if len(self.futures) == 1:
            self.futures[0].set_exception(PackError("no room"))
        return self.futures[-1]


def test_one_failure_takes_back_what_has_not_begun(source: Source, tmp_path: Path) -> None:
    executor = OneFails()
    with pytest.raises(PackError, match="no room"):
        pack_by(source, tmp_path, RECIPE, executor)
    assert [future.cancelled() for future in executor.futures] == [False] + [True] * 5


def test_tasks_of_a_run_that_fails_end_before_it_does(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others, ended = Barrier(2), list[int]()

    def one_fails(where: str, number: int) -> None:
        others.wait(PATIENCE)
        if number == 1:
            while not any(future.done() for future in executor.futures):  # the other has failed
                pass
            ended.append(number)
        raise PackError("no room")  # of both: which one is heard of first is not said

    monkeypatch.setattr(engines, "write_shard_of", one_fails)
    with Recording() as executor:
        with pytest.raises(PackError, match="no room"):
            pack_by(source, tmp_path, Recipe(division=ShardCount(2)), executor)
        assert ended == [1]


def test_a_task_that_outlives_its_run_writes_nothing_into_the_next_ones(
    source: Source, expected: dict[str, bytes], tmp_path: Path
) -> None:
    """As one of a cluster that has lost sight of a worker, which has read the table before and begins late."""
    table = table_of_another_run(source, tmp_path)
    open_table(table)
    refused: list[PackError] = []

    def late(files: int, size: int) -> None:
        try:
            write_shard_of(table, 0)
        except PackError as error:
            refused.append(error)

    pack_by(source, tmp_path, RECIPE, Processes(1), progress=late)
    assert len(refused) == 23
    assert "its run has ended" in str(refused[0])
    assert files_of(tmp_path) == expected


def test_a_task_that_has_begun_when_the_next_run_begins_writes_nothing(
    source: Source, expected: dict[str, bytes], tmp_path: Path
) -> None:
    table = table_of_another_run(source, tmp_path)
    begun = False

    def next_run(files: int, size: int) -> None:
        nonlocal begun
        if not begun:
            begun = True
            pack_by(source, tmp_path, RECIPE, Processes(1))

    with pytest.raises(PackError, match=r"train-000000\.tar can't be written: No such file"):
        write_task(table, 0, next_run)
    assert files_of(tmp_path) == expected


@pytest.mark.parametrize(("engine", "module", "extra"), [(Dask(), "distributed", "dask"), (Ray(), "ray", "ray")])
def test_an_engine_that_is_not_installed_says_what_to_install(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"pip install 'fastdata-images\[{extra}\]'"):
        pack_by(source, tmp_path, RECIPE, engine)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_dask_cluster_writes_the_same_though_a_worker_is_killed_in_the_middle(
    source: Source, expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(engines, "write_shard_of", die_once_in_the_fourth)
    with dask_cluster("one", "two") as engine:
        pack_by(source, tmp_path / "out", RECIPE, engine)
    assert (tmp_path / "died").exists()
    assert files_of(tmp_path / "out") == expected
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_dask_workers_that_die_again_and_again_are_an_error_and_so_is_a_file_that_is_gone(
    odd_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    folder = copy_of(odd_folder, tmp_path / "source")
    source = Source(scan_classes(folder))
    with dask_cluster("one", "two", DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0") as engine:
        with monkeypatch.context() as patch:
            patch.setattr(engines, "write_shard_of", die_always)
            with pytest.raises(PackError, match="Dask's workers died again and again"):
                pack_by(source, tmp_path / "dead", Recipe(division=ShardCount(1)), engine)
        monkeypatch.setattr("fastdata.packing.complete.make_table", table_before(folder / "cow/05.jpg"))
        with pytest.raises(PackError, match=r"cow/05\.jpg can't be read: No such file"):
            pack_by(source, tmp_path / "out", RECIPE, engine)
    assert (tmp_path / "out/.fastdata-staging").is_dir()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_ray_writes_the_same_though_a_worker_is_killed_in_the_middle(
    odd_folder: Path, expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")
    folder = copy_of(odd_folder, tmp_path / "source")
    source = Source(scan_classes(folder))
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    monkeypatch.setenv("HOME", str(tmp_path))  # where Ray leaves a token
    monkeypatch.chdir(tmp_path)  # Ray's workers import what lies where their driver is
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(engines, "write_shard_of", die_once_in_the_fourth)
            pack_by(source, tmp_path / "out", RECIPE, Ray())
        assert (tmp_path / "died").exists()
        assert files_of(tmp_path / "out") == expected
        assert ray.is_initialized()
        with monkeypatch.context() as patch:
            patch.setattr(engines, "write_shard_of", die_always)
            with pytest.raises(PackError, match="Ray's workers died again and again"):
                pack_by(source, tmp_path / "dead", Recipe(division=ShardCount(1)), Ray())
        monkeypatch.setattr("fastdata.packing.complete.make_table", table_before(folder / "cow/05.jpg"))
        with pytest.raises(PackError, match=r"cow/05\.jpg can't be read: No such file"):
            pack_by(source, tmp_path / "lost", RECIPE, Ray())
    finally:
        ray.shutdown()


def table_before(lost: Path) -> Callable[..., object]:
    """`make_table`, and then that file is gone."""

    def made(*arguments: Any) -> object:
        table = make_table(*arguments)
        lost.unlink()
        return table

    return made
