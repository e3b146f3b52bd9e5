"""Classes in balance."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torch.utils.data import ConcatDataset, Dataset, Subset

from fastdata.epoch.balanced import Balanced
from fastdata.epoch.orders import orders_of
from support.orders import SAMPLES, SEED, TARGETS, over, picked


class _Sized(Dataset[Any]):
    """A dataset of targets alone."""

    def __init__(self, targets: Any) -> None:
        self.targets = targets

    def __len__(self) -> int:
        return len(self.targets)


def test_classes_may_begin_at_any_number_from_0_on() -> None:
    for least in (0, 1, 7):
        orders = orders_of(None, 6, Balanced(targets=[least, least, least + 1, least + 1, least + 1, least]), True, 0)
        assert len(picked(orders, 0)) == 6


def test_each_class_comes_as_often_as_any_other() -> None:
    for epoch in range(5):
        counts = Counter(TARGETS[number] for number, _ in picked(over(Balanced(60)), epoch))
        assert max(counts.values()) - min(counts.values()) <= 2
        assert set(counts) == {0, 1, 4}


def test_over_epochs_too() -> None:
    orders = over(Balanced(7))
    counts = Counter(TARGETS[number] for epoch in range(300) for number, _ in picked(orders, epoch))
    assert set(counts.values()) == {700}


def test_the_samples_of_a_class_come_in_turn() -> None:
    orders = over(Balanced(90))  # 30 of each class: the first once, the second twice, the third six times
    counts = Counter(number for number, _ in picked(orders, 0))
    assert [counts[number] for number in (0, 29, 30, 44, 45, 49)] == [1, 1, 2, 2, 6, 6]
    assert sorted(view for number, view in picked(orders, 0) if number == 49) == [0, 1, 2, 3, 4, 5]


def test_a_batch_has_about_all_classes() -> None:
    numbers = np.array([number for number, _ in picked(over(Balanced(1200)), 1)])
    for batch in TARGETS[numbers].reshape(-1, 60):
        assert min(Counter(batch.tolist()).values()) >= 8


def test_classes_of_a_thousand_are_not_the_same_in_each_batch() -> None:
    targets = np.repeat(np.arange(1000), 3)
    orders = orders_of(SimpleNamespace(targets=targets), 3000, Balanced(8000), None, SEED)
    classes = targets[[number for number, _ in picked(orders, 0)]]
    assert np.bincount(classes).tolist() == [8] * 1000
    firsts = [frozenset(classes[start : start + 100].tolist()) for start in range(0, 8000, 1000)]
    assert len(set(firsts)) == 8
    assert all(len(first) > 50 for first in firsts)


def test_targets_are_found_through_what_torch_makes_of_datasets() -> None:
    numbers = [0, 1, 2, 3, 49, -4]
    some: Any = Subset(_Sized(TARGETS), numbers)
    both: Any = ConcatDataset([some, _Sized(TARGETS)])
    orders = orders_of(both, len(both), Balanced(30), None, SEED)
    targets = np.concatenate([TARGETS[numbers], TARGETS])
    assert Counter(targets[[number for number, _ in picked(orders, 0)]].tolist()) == {0: 10, 1: 10, 4: 10}


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        ([1, 2], ValueError, "one target for each of 50 samples, got 2"),
        ([-1] * 50, ValueError, "target of sample 0 is -1, which is no class"),
        (["a"] * 50, TypeError, "an int target of each sample"),
        ([{}] * 50, TypeError, "an int target of each sample"),
    ],
)
def test_targets_that_are_no_classes_are_an_error(targets: list[Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        over(Balanced(targets=targets))


def test_a_dataset_without_targets_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"has no `targets`: say Balanced\(targets=\.\.\.\)"):
        orders_of(SimpleNamespace(), SAMPLES, Balanced(), None, SEED)
