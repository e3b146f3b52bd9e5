"""`Views`: what may be said, and where the random numbers of a view start."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdata as fd
from fastdata.transforms.draw import draw, sample_rng, sample_rngs
from fastdata.transforms.views import rng_of_view, rngs_of_view

CROP, SMALL = [fd.RandomResizedCrop(24)], [fd.RandomResizedCrop(12)]


def test_groups_are_named_by_keyword_or_mapping_in_their_order() -> None:
    views = fd.Views(global_=(2, CROP), local=(6, SMALL))
    assert [(group.name, group.first, group.count) for group in views.groups] == [("global", 0, 2), ("local", 2, 6)]
    assert [transform.output_size for transform in views.transforms] == [(24, 24)] * 2 + [(12, 12)] * 6
    same = fd.Views({"global": (2, CROP), "local": (6, fd.Transform(SMALL))})
    assert (same, hash(same)) == (views, hash(views))
    assert same != fd.Views(local=(6, SMALL), global_=(2, CROP))
    assert views != fd.Transform(CROP)
    assert "'local': (6, Transform(" in repr(views)
    assert views.grouped("abcdefgh", "".join) == {"global": "ab", "local": "cdefgh"}


def test_what_is_fixed_draws_the_same_every_time() -> None:
    middle = (1, [fd.Resize(20), fd.CenterCrop(16)])
    assert fd.Views(a=middle, b=(1, [fd.CenterCrop(8)])).is_fixed
    assert not fd.Views(a=middle, b=(1, CROP)).is_fixed


@pytest.mark.parametrize(
    ("make", "error", "problem"),
    [
        (lambda: fd.Views(), ValueError, "at least one group"),
        (lambda: fd.Views(a=CROP), TypeError, r"a must be \(how many, their steps\)"),
        (lambda: fd.Views(a=(CROP, 2)), TypeError, "how many, their steps"),
        (lambda: fd.Views(a=(True, CROP)), TypeError, "how many, their steps"),
        (lambda: fd.Views(a=(2, fd.Views(a=(1, CROP)))), TypeError, "a step, a list of them"),
        (lambda: fd.Views(a=(0, CROP)), ValueError, "at least one view, got 0"),
        (lambda: fd.Views(a=(2, [fd.Resize(24)])), ValueError, "images of different sizes"),
        (lambda: fd.Views(a=(2, None)), ValueError, "images of different sizes"),
        (lambda: fd.Views({"global": (1, CROP)}, global_=(2, CROP)), ValueError, "'global' is given twice"),
        (lambda: fd.Views(_=(1, CROP)), ValueError, "a group needs a name"),
        (lambda: fd.Views({3: (1, CROP)}), TypeError, "names are strings, got 3"),  # type: ignore[dict-item]
    ],
)
def test_what_is_no_group_of_views_is_refused_with_what_to_say(
    make: Callable[[], Any], error: type[Exception], problem: str
) -> None:
    with pytest.raises(error, match=problem):
        make()


def test_the_first_view_has_the_samples_own_numbers_and_each_other_its_own() -> None:
    hashes = np.arange(1000, dtype=np.uint64)
    rngs = sample_rngs(5, 2, hashes)
    of_views = [rngs_of_view(rngs, view) for view in range(8)]
    assert np.array_equal(of_views[0], rngs)
    assert len(np.unique(np.concatenate(of_views))) == 8 * len(hashes)
    for view, numbers in enumerate(of_views):
        assert [rng_of_view(int(rng), view) for rng in rngs[:50]] == numbers[:50].tolist()


def test_views_of_a_sample_are_as_independent_as_those_of_two_samples() -> None:
    def lefts(view: int) -> list[int]:
        keys = (f"{number}" for number in range(2000))
        return [draw(CROP, (500, 400), rng_of_view(sample_rng(5, 2, key), view)).box.left for key in keys]

    drawn = [lefts(view) for view in range(4)]
    correlations = np.corrcoef(drawn) - np.eye(4)
    assert abs(correlations).max() < 0.08
