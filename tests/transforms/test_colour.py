"""What steps that change pixels draw: ranges, probabilities, orders, and what they refuse."""

from collections import Counter
from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest

import fastdata as fd
from fastdata.transforms.auto_augment import _linspace
from fastdata.transforms.changes import Change, Operation
from fastdata.transforms.draw import sample_rngs
from fastdata.transforms.steps import PixelStep

MANY = 20_000


def drawn(step: PixelStep, count: int = MANY, size: tuple[int, int] = (100, 80)) -> list[Change]:
    numbers = np.random.default_rng(7).random((count, step.numbers))
    return step.draw(numbers, size)


def share(step: PixelStep, count: int = MANY) -> float:
    """Of samples to which anything is done."""
    rows = [change.rows for change in drawn(step, count)]
    return len(np.unique(np.concatenate(rows))) / count if rows else 0.0


@pytest.mark.parametrize(
    ("make", "default"),
    [
        (fd.RandomGrayscale, 0.1),
        (fd.RandomInvert, 0.5),
        (fd.RandomAutocontrast, 0.5),
        (fd.RandomEqualize, 0.5),
        (lambda p=0.5: fd.RandomSolarize(128, p), 0.5),
        (lambda p=0.5: fd.RandomPosterize(4, p), 0.5),
        (lambda p=0.5: fd.RandomAdjustSharpness(2, p), 0.5),
        (fd.RandomErasing, 0.5),
        (lambda p=0.5: fd.RandomApply([fd.ColorJitter(0.1), fd.Grayscale()], p), 0.5),
    ],
)
def test_steps_are_done_with_their_probability(make: Callable[..., PixelStep], default: float) -> None:
    assert share(make()) == pytest.approx(default, abs=0.012)
    assert share(make(p=0.3)) == pytest.approx(0.3, abs=0.012)
    assert share(make(p=0.0)) == 0.0
    assert share(make(p=1.0)) == 1.0
    for p in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="p must lie between 0 and 1"):
            make(p=p)


def test_color_jitters_factors_are_uniform_in_their_ranges() -> None:
    step = fd.ColorJitter(0.4, (0.5, 0.7), 1.5, 0.1)
    expected = {
        Operation.BRIGHTNESS: (0.6, 1.4),
        Operation.CONTRAST: (0.5, 0.7),
        Operation.SATURATION: (0.0, 2.5),
        Operation.HUE: (-0.1, 0.1),
    }
    changes = drawn(step)
    for operation, (low, high) in expected.items():
        values = np.concatenate([change.values[:, 0] for change in changes if change.operation is operation])
        assert len(values) == MANY
        assert low <= values.min() < values.max() <= high
        histogram, _ = np.histogram(values, 10, (low, high))
        np.testing.assert_allclose(histogram / MANY, 0.1, atol=0.01)


def test_color_jitters_orders_are_equally_likely() -> None:
    orders: list[list[Operation]] = [[] for _ in range(MANY)]
    for change in drawn(fd.ColorJitter(0.1, 0.1, 0.1, 0.1)):
        for row in change.rows:
            orders[row].append(change.operation)
    counts = Counter(map(tuple, orders))
    assert set(counts) == set(permutations(list(Operation)[:4]))
    assert all(abs(count / MANY - 1 / 24) < 0.006 for count in counts.values())


def test_color_jitters_order_says_nothing_of_its_factors() -> None:
    first = next(change for change in drawn(fd.ColorJitter(0.4)) if change.operation is Operation.BRIGHTNESS)
    assert 0 < len(first.rows) < MANY / 3
    assert first.values.mean() == pytest.approx(1.0, abs=0.02)


def test_color_jitter_draws_nothing_for_what_stays_as_it_is() -> None:
    assert drawn(fd.ColorJitter()) == []
    assert drawn(fd.ColorJitter(0, (1, 1), 0.0, 0)) == []
    assert {change.operation for change in drawn(fd.ColorJitter(hue=0.1))} == {Operation.HUE}


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"brightness": -0.1}, ValueError),
        ({"contrast": (0.9, 0.1)}, ValueError),
        ({"saturation": (-0.1, 0.1)}, ValueError),
        ({"brightness": float("nan")}, ValueError),
        ({"hue": 0.6}, ValueError),
        ({"hue": (-0.6, 0.1)}, ValueError),
        ({"hue": "a"}, TypeError),
        ({"brightness": (1, 2, 3)}, TypeError),
    ],
)
def test_color_jitter_refuses(arguments: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind, match=next(iter(arguments))):
        fd.ColorJitter(**arguments)


def test_blurs_sigma_is_uniform_in_its_range() -> None:
    (change,) = drawn(fd.GaussianBlur((9, 5), (0.5, 1.5)))
    assert change.values[:, :2].tolist() == [[9, 5]] * MANY
    assert 0.5 <= change.values[:, 2].min() < 0.501
    assert 1.499 < change.values[:, 2].max() <= 1.5
    assert change.values[:, 2].mean() == pytest.approx(1.0, abs=0.01)
    assert (drawn(fd.GaussianBlur(3, 2))[0].values == (3, 3, 2)).all()


def test_erased_boxes_have_the_area_and_ratio_that_were_asked_for() -> None:
    (change,) = drawn(fd.RandomErasing(1.0, value=(1, 2, 3)), size=(1000, 800))
    left, top, width, height = change.values[:, :4].T
    assert (width > 0).all()
    assert (left >= 0).all()
    assert (top >= 0).all()
    assert (left + width <= 1000).all()
    assert (top + height <= 800).all()
    area, ratio = width * height / 800_000, height / width
    assert 0.0195 < area.min() < 0.021
    assert 0.32 < area.max() < 0.3305
    assert 0.29 < ratio.min() < 0.32
    assert 3.1 < ratio.max() < 3.35
    assert np.log(ratio).mean() == pytest.approx(0.0, abs=0.03)
    assert (left / (1000 - width)).mean() == pytest.approx(0.5, abs=0.01)
    assert (change.values[:, 4:] == (1, 2, 3)).all()


def test_nothing_is_erased_where_no_box_fits() -> None:
    assert drawn(fd.RandomErasing(1.0, scale=(1.0, 1.0))) == []
    assert drawn(fd.RandomErasing(1.0), size=(1, 1)) == []


def test_noise_has_a_seed_for_each_sample() -> None:
    (change,) = drawn(fd.RandomErasing(1.0, value="random"))
    assert len(np.unique(change.values[:, 4])) == MANY


def test_rand_augments_operations_are_equally_likely_and_signs_too() -> None:
    changes = drawn(fd.RandAugment(1))
    counts: Counter[Operation] = Counter()
    for change in changes:
        counts[change.operation] += len(change.rows)
    shares = {operation: count / MANY * 14 for operation, count in counts.items()}
    assert shares.pop(Operation.NEAREST) == pytest.approx(5, abs=0.2)
    assert len(shares) == 8
    assert all(value == pytest.approx(1, abs=0.12) for value in shares.values())
    (factors,) = (change.values[:, 0] for change in changes if change.operation is Operation.BRIGHTNESS)
    assert set(np.round(factors, 6)) == {0.73, 1.27}
    assert (factors > 1).mean() == pytest.approx(0.5, abs=0.06)
    assert len(drawn(fd.RandAugment(0))) == 0


def test_trivial_augment_draws_every_strength() -> None:
    bits = np.concatenate(
        [c.values[:, 0] for c in drawn(fd.TrivialAugmentWide()) if c.operation is Operation.POSTERIZE]
    )
    assert set(bits) == {2, 3, 4, 5, 6, 7, 8}
    assert (bits == 8).mean() == pytest.approx(3 / 31, abs=0.03)


def test_strengths_are_torchs_linspace() -> None:
    import torch

    for bins in (2, 5, 10, 31):
        for side in (*range(1, 500, 7), 224 * 331 / 150):
            end = 150.0 / 331.0 * side
            np.testing.assert_allclose(_linspace(0.0, end, bins), torch.linspace(0.0, end, bins).double(), rtol=3e-7)
            assert np.array_equal(_linspace(0.0, end, bins).astype(int), torch.linspace(0.0, end, bins).int())
    assert np.array_equal(_linspace(0.0, 32.0, 31).astype(int), torch.linspace(0.0, 32.0, 31).int())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fd.Grayscale(1), "images have 3 channels"),
        (lambda: fd.GaussianBlur(4), "odd"),
        (lambda: fd.GaussianBlur((3, 3, 3)), "odd"),
        (lambda: fd.GaussianBlur(3, 0.0), "sigma"),
        (lambda: fd.GaussianBlur(3, (2.0, 1.0)), "sigma"),
        (lambda: fd.RandomSolarize(256), "threshold"),
        (lambda: fd.RandomPosterize(9), "bits"),
        (lambda: fd.RandomPosterize(1.5), "bits"),  # type: ignore[arg-type]
        (lambda: fd.RandomAdjustSharpness(-1), "sharpness_factor"),
        (lambda: fd.RandomErasing(scale=(0.5, 0.1)), "scale"),
        (lambda: fd.RandomErasing(scale=(0.5, 1.1)), "scale"),
        (lambda: fd.RandomErasing(ratio=(0.0, 1.1)), "ratio"),
        (lambda: fd.RandomErasing(value=256), "value"),
        (lambda: fd.RandomErasing(value=(1, 2)), "value"),
        (lambda: fd.RandomErasing(value="noise"), "value"),
        (lambda: fd.RandomApply([]), "at least one"),
        (lambda: fd.RandAugment(-1), "num_ops"),
        (lambda: fd.RandAugment(magnitude=31), "magnitude"),
        (lambda: fd.RandAugment(num_magnitude_bins=1), "num_magnitude_bins"),
        (lambda: fd.RandAugment(interpolation="bicubic"), "interpolation"),  # type: ignore[arg-type]
        (lambda: fd.TrivialAugmentWide(fill=(1, 2)), "fill"),
    ],
)
def test_bad_parameters_are_named(make: Callable[[], PixelStep], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_random_apply_takes_steps_that_change_pixels_alone() -> None:
    with pytest.raises(TypeError, match="RandomHorizontalFlip"):
        fd.RandomApply([fd.RandomHorizontalFlip()])  # type: ignore[list-item]


def test_random_apply_gives_each_of_its_steps_numbers_of_its_own() -> None:
    first, second = drawn(fd.RandomApply([fd.GaussianBlur(3), fd.GaussianBlur(3)], 1.0))
    assert abs(np.corrcoef(first.values[:, 2], second.values[:, 2])[0, 1]) < 0.05


def test_a_transform_takes_pixel_steps_after_those_that_move_pixels() -> None:
    jitter, crop, flip = fd.ColorJitter(0.4), fd.RandomResizedCrop(24), fd.RandomHorizontalFlip()
    transform = fd.Transform([crop, jitter, flip, fd.RandomErasing()])
    assert transform.closed_steps == (crop, flip)
    assert transform.pixel_steps == ((1, jitter), (3, fd.RandomErasing()))
    assert transform.output_size == (24, 24)
    view = fd.draw(transform, (100, 100), 5)
    assert view == fd.draw([crop, flip], (100, 100), 5)
    fd.Transform([crop, jitter, fd.GaussianBlur(3), fd.RandomVerticalFlip(), flip])
    for steps in ([jitter, crop], [jitter, fd.Resize(3)], [fd.RandomErasing(), flip], [fd.RandAugment(), flip]):
        with pytest.raises(ValueError, match="can't follow"):
            fd.Transform(steps)


def test_a_transform_is_fixed_only_if_its_pixel_steps_are() -> None:
    assert fd.Transform([fd.CenterCrop(3), fd.Grayscale()]).is_fixed
    assert not fd.Transform([fd.CenterCrop(3), fd.ColorJitter(0.4)]).is_fixed


def test_numbers_are_the_samples_own() -> None:
    from fastdata.images.colour import draw_changes

    transform, rngs = fd.Transform([fd.ColorJitter(0.4)]), sample_rngs(0, 3, np.arange(50, dtype=np.uint64))
    all_of_them = {
        int(r): v for c in draw_changes(transform, rngs, (9, 9)) for r, v in zip(c.rows, c.values, strict=True)
    }
    for number in range(50):
        (one,) = draw_changes(transform, rngs[number : number + 1], (9, 9))
        assert one.values[0] == all_of_them[number]
