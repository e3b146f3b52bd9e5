from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from fastdata.datasets.collate import collate
from fastdata.loading.normalize import Normalize
from fastdata.sample import Batch, Fields
from support.pictures import photo


def images(count: int, height: int = 6, width: int = 5) -> list[torch.Tensor]:
    return [torch.from_numpy(photo(width, height, seed=i)).permute(2, 0, 1) for i in range(count)]


def test_a_batch_unpacks_and_lies_in_channels_last_memory() -> None:
    batch = collate([(image, i) for i, image in enumerate(images(4))])
    pixels, targets = batch
    assert isinstance(batch, Batch)
    assert pixels.shape == (4, 3, 6, 5)
    assert pixels.dtype == torch.uint8
    assert pixels.is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(pixels[i], image) for i, image in enumerate(images(4)))
    assert targets.dtype == torch.int64
    assert targets.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ([1, np.int64(2)], torch.tensor([1, 2])),
        ([np.ones(3, np.float32), np.zeros(3, np.float32)], torch.tensor([[1.0] * 3, [0.0] * 3])),
        (["a dog", "a cat"], ["a dog", "a cat"]),
        ([{"id": 1}, {"id": 2}], [{"id": 1}, {"id": 2}]),
        ([True, False], [True, False]),
        ([0.1, 2], torch.tensor([0.1, 2.0], dtype=torch.float64)),
    ],
)
def test_targets_become_a_tensor_where_they_can(targets: Any, expected: Any) -> None:
    _, collated = collate(list(zip(images(2), targets, strict=True)))
    assert type(collated) is type(expected)
    assert torch.equal(collated, expected) if isinstance(expected, torch.Tensor) else collated == expected


def test_fields_become_a_batch_by_name_each_by_its_own_rule() -> None:
    boxes = [torch.ones(2, 4), torch.ones(0, 4)]
    fields = [Fields(label=n, boxes=boxes[n], text=str(n), table=Fields(score=0.5)) for n in range(2)]
    batch = collate(list(zip(images(2), fields, strict=True)))
    targets = batch.targets
    assert list(targets) == ["label", "boxes", "text", "table"]
    assert targets["label"].tolist() == [0, 1]
    assert [one is other for one, other in zip(targets["boxes"], boxes, strict=True)] == [True, True]
    assert targets["text"] == ["0", "1"]
    assert targets["table"]["score"].tolist() == [0.5, 0.5]


def test_arrays_of_different_shapes_stay_a_list() -> None:
    _, targets = collate(list(zip(images(2), [np.ones(3), np.ones(4)], strict=True)))
    assert [len(target) for target in targets] == [3, 4]


def test_images_of_different_sizes_are_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"different shapes .*end the transform with a fixed size"):
        collate([(images(1)[0], 0), (images(1, width=7)[0], 0)])
    with pytest.raises(ValueError, match="at least one sample"):
        collate([])


class Pairs(Dataset[tuple[torch.Tensor, int]]):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return images(8)[index], index


@pytest.mark.parametrize("workers", [0, 2])
def test_torchs_dataloader_collates_with_it(workers: int) -> None:
    loader = DataLoader(Pairs(), batch_size=4, num_workers=workers, collate_fn=collate)
    batches = list(loader)
    assert [targets.tolist() for _, targets in batches] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert all(pixels.is_contiguous(memory_format=torch.channels_last) for pixels, _ in batches)
    assert torch.equal(batches[1].images[0], images(8)[4])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_batches_can_be_pinned() -> None:
    batch = next(iter(DataLoader(Pairs(), batch_size=4, collate_fn=collate, pin_memory=True)))
    assert isinstance(batch, Batch)
    assert batch.images.is_pinned()


def test_a_batch_survives_torchs_pinning_as_a_batch() -> None:
    # What the pinning thread does with a NamedTuple, without a device to pin for.
    batch = collate([(image, 0) for image in images(2)])
    assert isinstance(type(batch)(*(part for part in batch)), Batch)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_normalize_is_to_tensor_then_normalize(dtype: torch.dtype) -> None:
    batch = collate([(image, 0) for image in images(2)]).images
    normalize = Normalize.imagenet(dtype)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    expected = ((batch.float() / 255 - mean) / std).to(dtype)
    result = normalize(batch)
    assert result.dtype == dtype
    assert result.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(result, expected, rtol=1e-5 if dtype == torch.float32 else 1e-2, atol=1e-5)
    assert torch.equal(normalize(batch[0]), result[0])
    assert torch.equal(normalize(batch.contiguous()), result), "memory format matters"
    assert torch.equal(normalize(batch[..., 1:]), result[..., 1:]), "rows with gaps"
    assert normalize(batch[:0]).shape == (0, *batch.shape[1:])
    assert normalize.state_dict() == {}


def test_normalize_refuses_what_it_cannot_mean() -> None:
    with pytest.raises(ValueError, match="were they normalized before"):
        Normalize.imagenet()(torch.zeros(1, 3, 2, 2))
    with pytest.raises(ValueError, match="three numbers each"):
        Normalize((0, 0, 0), (1, 0, 1))
    with pytest.raises(
        ValueError, match=r"write Normalize\(\(0\.4863, 0\.4549, 0\.0\), \(0\.2275, 0\.2235, 0\.2275\)\)"
    ):
        Normalize((124, 116, 0), (58, 57, 58))
    Normalize((1, 0, 0.5), (2, 0.5, 3))
    with pytest.raises(ValueError, match="floating point"):
        Normalize((0, 0, 0), (1, 1, 1), torch.uint8)


def test_samples_of_other_fields_are_an_error_whichever_comes_first() -> None:
    image = torch.zeros(3, 2, 2, dtype=torch.uint8)
    one, two = (image, Fields(a=1)), (image, Fields(a=1, b=2))
    for pair in ([one, two], [two, one]):
        with pytest.raises(ValueError, match="can't be one batch: give all parts of a mixture the same names"):
            collate(pair)
