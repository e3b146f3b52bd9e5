"""Place: where this process stands, by its arguments, the launcher or a process group."""

import subprocess
import sys

import pytest
import torch

from fastdata.epoch.plan import Place


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)


def test_a_process_alone_is_rank_0_of_1_and_worker_0_of_1() -> None:
    assert Place.detect() == Place(0, 1, 0, 1) == Place()


def test_a_launcher_says_the_rank_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert Place.detect() == Place(rank=3, world_size=8)


def test_a_process_that_lightning_has_started_has_no_rank_in_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "4", "LOCAL_RANK": "1", "NODE_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    assert Place.detect() == Place(rank=1, world_size=4)
    monkeypatch.setenv("NODE_RANK", "1")  # how many are on a node is not said: the rank may be 2 or 3
    with pytest.raises(ValueError, match="RANK=None and WORLD_SIZE=4"):
        Place.detect()


@pytest.mark.parametrize("launcher", [{}, {"GROUP_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, {"SLURM_NODEID": "1"}])
def test_a_local_rank_is_no_rank_where_nobody_says_that_this_is_the_first_node(
    monkeypatch: pytest.MonkeyPatch, launcher: dict[str, str]
) -> None:
    for name, value in {"WORLD_SIZE": "4", "LOCAL_RANK": "1", **launcher}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="RANK=None and WORLD_SIZE=4"):
        Place.detect()


def test_explicit_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert Place.detect(rank=0, world_size=2, worker=1, num_workers=4) == Place(0, 2, 1, 4)


def test_an_initialized_process_group_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]
    try:
        assert Place.detect() == Place(rank=0, world_size=1)
    finally:
        torch.distributed.destroy_process_group()


class Places(torch.utils.data.Dataset[list[int]]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> list[int]:
        place = Place.detect()
        return [place.worker, place.num_workers]


def test_a_dataloader_worker_sees_itself() -> None:
    loader = torch.utils.data.DataLoader(Places(), batch_size=None, num_workers=2)
    assert list(loader) == [[0, 2], [1, 2], [0, 2], [1, 2]]


def test_detecting_a_place_does_not_import_torch() -> None:
    code = "import sys; from fastdata.epoch.plan import Place; Place.detect(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("half", ["rank", "world_size", "worker", "num_workers"])
def test_half_a_place_is_an_error(half: str) -> None:
    with pytest.raises(ValueError, match=f"{half}=0.*give both or neither"):
        Place.detect(**{half: 0})


def test_half_a_place_or_no_number_in_the_environment_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(ValueError, match="RANK=1 and WORLD_SIZE=None"):
        Place.detect()
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(ValueError, match="WORLD_SIZE must be an integer, not 'two'"):
        Place.detect()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ((2, 2), "rank must be from 0 to 1, not 2"),
        ((-1, 2), "rank must be from 0 to 1, not -1"),
        ((0, 0), "world_size must be at least 1, not 0"),
        ((0, 1, 3, 3), "worker must be from 0 to 2, not 3"),
        ((0, 1, 0, 0), "num_workers must be at least 1, not 0"),
    ],
)
def test_an_impossible_place_is_an_error_with_the_value(place: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Place(*place)
