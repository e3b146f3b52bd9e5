"""A batch with its keys and views, through everything that copies, moves or rebuilds it."""

import copy
import pickle
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from typing import Any

import pytest
import torch
from torch.utils.data import default_collate, default_convert
from torch.utils.data._utils.pin_memory import pin_memory

from fastdata.sample import Batch, Pair, on_tensors
from fastdata.transforms.view import Box, View

BOX = Box(0, 0, 4, 4)
VIEWS = [View(BOX, (4, 4), BOX, flip=flip) for flip in (False, True)]
KEYS = ["a/0", "a/1"]


def a_batch(targets: Any = None) -> Batch:
    images = torch.arange(96, dtype=torch.uint8).view(2, 3, 4, 4)
    return Batch(images, torch.tensor([3, 4]) if targets is None else targets, KEYS, VIEWS)


def through_lightning(batch: Batch) -> Batch:
    apply_func = pytest.importorskip("lightning.fabric.utilities.apply_func")
    moved: Batch = apply_func.move_data_to_device(batch, torch.device("cpu"))
    return moved


def through_accelerate(batch: Batch) -> Batch:
    moved: Batch = pytest.importorskip("accelerate.utils").send_to_device(batch, "cpu", non_blocking=True)
    return moved


def as_torch_pins_lists(batch: Batch) -> Batch:
    """What torch's pinning does with a list that has no way of its own, as in older releases."""
    clone = copy.copy(batch)
    for number, part in enumerate(batch):
        clone[number] = part.clone()
    return clone


KEEPING: list[Callable[[Batch], Batch]] = [
    lambda batch: batch.to("cpu"),
    lambda batch: batch.to(torch.device("cpu"), non_blocking=True),
    lambda batch: pickle.loads(pickle.dumps(batch)),
    lambda batch: pickle.loads(ForkingPickler.dumps(batch)),
    copy.copy,
    copy.deepcopy,
    default_convert,
    through_lightning,
    through_accelerate,
    as_torch_pins_lists,
    lambda batch: batch._replace(targets=batch.targets.clone()),
]


@pytest.mark.parametrize("through", KEEPING)
def test_what_moves_or_copies_a_batch_keeps_its_keys_and_views(through: Callable[[Batch], Batch]) -> None:
    batch = through(a_batch())
    assert isinstance(batch, Batch)
    images, targets = batch
    assert torch.equal(images, a_batch().images)
    assert targets.tolist() == [3, 4]
    assert (batch.keys, batch.views) == (KEYS, VIEWS)


def test_images_and_targets_are_the_two_that_it_unpacks_as() -> None:
    batch = a_batch()
    assert len(batch) == 2
    assert batch[0] is batch.images
    assert batch[1] is batch.targets
    assert batch._replace(keys=["x", "y"]).keys == ["x", "y"]


@pytest.mark.parametrize("again", [lambda b: Batch(part for part in b), lambda b: type(b)(*b)])
def test_a_batch_made_anew_of_its_two_parts_says_that_its_keys_are_lost(again: Callable[[Batch], Batch]) -> None:
    batch = again(a_batch())
    assert torch.equal(batch.images, a_batch().images)
    for name in ("keys", "views"):
        with pytest.raises(AttributeError, match=f"does not know its {name}.*made it anew"):
            getattr(batch, name)


def test_a_batch_is_of_two() -> None:
    with pytest.raises(ValueError, match="images and targets, got 3"):
        Batch([1, 2, 3])


def test_targets_move_whatever_they_are_in() -> None:
    targets = {"boxes": [torch.zeros(2, 4), torch.zeros(0, 4)], "caption": ["a dog", "a cat"], "both": (torch.ones(1),)}
    moved = a_batch(targets).to("meta")
    assert moved.images.device.type == "meta"
    assert [boxes.device.type for boxes in moved.targets["boxes"]] == ["meta", "meta"]
    assert moved.targets["caption"] == ["a dog", "a cat"]
    assert moved.targets["both"][0].device.type == "meta"
    assert on_tensors(lambda tensor: tensor + 1, a_batch().views) == VIEWS


def test_torchs_pinning_asks_the_batch_itself_and_else_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)  # there is no device to pin for
    batch = pin_memory(a_batch())  # type: ignore[no-untyped-call]
    assert isinstance(batch, Batch)
    assert (batch.keys, batch.views) == (KEYS, VIEWS)


def test_what_accelerate_joins_and_slices_is_a_batch_still() -> None:
    operations = pytest.importorskip("accelerate.utils.operations")
    assert operations.find_batch_size(a_batch()) == 2
    joined = operations.concatenate([a_batch(), a_batch()])
    assert isinstance(joined, Batch)
    assert joined.targets.tolist() == [3, 4, 3, 4]
    assert operations.slice_tensors(a_batch(), slice(1, 2)).targets.tolist() == [4]


def test_a_batch_is_shown_by_its_shapes() -> None:
    assert repr(a_batch()) == "Batch(images=uint8 (2, 3, 4, 4), targets=int64 (2,), keys=['a/0', 'a/1'])"
    shown = repr(Batch(torch.zeros(1, device="meta"), {"caption": list("abc"), "box": torch.zeros(3, 4)}))
    assert (
        shown
        == "Batch(images=float32 (1,) on meta, targets={'caption': ['a', 'b', … 3 in all], 'box': float32 (3, 4)})"
    )


def test_a_pair_is_a_tuple_of_two_that_knows_its_key() -> None:
    pair = Pair(torch.zeros(1), 7, "a/0", VIEWS[1])
    image, target = pair
    assert (len(pair), target, pair[1]) == (2, 7, 7)
    for same in (pickle.loads(pickle.dumps(pair)), copy.copy(pair)):
        assert (same[0], *same[1:], same.key, same.view) == (image, 7, "a/0", VIEWS[1])
    images, targets = default_collate([pair, pair])
    assert images.shape == (2, 1)
    assert targets.tolist() == [7, 7]
