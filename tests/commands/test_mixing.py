"""What `fastdata info` says of a shuffle by blocks."""

from pathlib import Path

import numpy as np
import pytest

from fastdata.commands.info import describe
from fastdata.commands.mixing import Mixing, mixing, pairs_alike
from fastdata.epoch.window import Window
from support.commands import Command

SAMPLES, BYTES = 128_000, 100_000
SORTED = np.arange(SAMPLES) // 100


def of_shards(classes: np.ndarray) -> Mixing:
    """Block size and excess of a dataset of ten shards."""
    pairs = sum(pairs_alike(shard, len(shard) * BYTES) for shard in np.split(classes, 10))
    return mixing(np.bincount(classes).tolist(), SAMPLES * BYTES, np.asarray(pairs))


def test_a_dataset_that_is_sorted_by_class_mixes_as_predicted() -> None:
    block_size, excess = of_shards(SORTED)
    assert block_size == 10
    assert excess == pytest.approx(Window(10).over(SAMPLES, 0, None).excess(1024), rel=0.01)
    assert excess > 0.05


def test_a_dataset_that_was_shuffled_when_it_was_packed_mixes_as_if_in_full() -> None:
    assert of_shards(np.random.default_rng(0).permutation(SORTED)).excess < 0.001


@pytest.mark.parametrize("classes", [np.zeros(SAMPLES, np.int64), np.arange(SAMPLES)], ids=["one", "all different"])
def test_where_no_classes_are_mixed_nothing_is_worse(classes: np.ndarray) -> None:
    assert of_shards(classes).excess == 0


def test_a_dataset_of_nothing_has_nothing_to_mix() -> None:
    assert mixing([], 0, pairs_alike(np.zeros(0, np.int64), 1024)).excess == 0


def test_an_excess_is_told_where_there_is_one() -> None:
    assert str(Mixing(10, 0.13)).startswith("blocks of 10; classes in a batch of 1,024 have 1.13 times the chi-square")
    assert str(Mixing(10, 0.004)) == "blocks of 10; classes are mixed as well as by shuffle=True"


def test_info_shows_it(fastdata: Command, dataset: Path) -> None:
    (info,) = describe(dataset)
    assert info.window.block_size == round(2**20 / (info.bytes / info.samples))
    shown = " ".join(fastdata("info", dataset).out.replace("│", " ").split())
    assert f"blocks of {info.window.block_size}; classes are mixed as well as by shuffle=True" in shown
