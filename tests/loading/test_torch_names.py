"""torch's names for a Loader's options."""

from pathlib import Path
from typing import Any

import pytest

from fastdata.loading.loader import Loader
from support.numbered import map_style


def test_drop_last_is_last_drop(folder: Path) -> None:
    dataset = map_style(folder)
    assert Loader(dataset, 5).last == Loader(dataset, 5, drop_last=False).last == "partial"
    assert Loader(dataset, 5, drop_last=True).last == Loader(dataset, 5, drop_last=True, last="drop").last == "drop"
    assert Loader(dataset, 5, drop_last=False, last="pad").last == "pad"


def test_num_workers_are_threads(folder: Path) -> None:
    dataset = map_style(folder)
    assert Loader(dataset, 5, num_workers=3).num_threads == 3
    assert Loader(dataset, 5, num_workers=3, num_threads=3).num_threads == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop_last": True, "last": "partial"}, "drop_last=True and last='partial' contradict each other"),
        ({"drop_last": False, "last": "drop"}, "drop_last=False and last='drop' contradict each other"),
        ({"num_workers": 2, "num_threads": 3}, "num_workers=2 and num_threads=3"),
        ({"num_workers": 0}, "num_threads=1 is the least"),
    ],
)
def test_what_contradicts_itself_is_an_error(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Loader(map_style(folder), 5, **options)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sampler", "say order="),
        ("collate_fn", "collated already"),
        ("pin_memory", "device='cuda'"),
        ("prefetch_factor", "say prefetch"),
        ("seed", "say the dataset's"),
        ("shufle", "a Loader has no shufle"),
    ],
)
def test_any_other_name_is_an_error_that_says_what_to_write(folder: Path, name: str, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Loader(map_style(folder), 5, **{name: None})  # type: ignore[arg-type]
