"""What is printed of a dataset, a Loader, a sampler and Normalize says what they will do."""

from pathlib import Path

import torch

import fastdata as fd
from support.numbered import write_folder, write_shards


def test_they_say_what_they_will_do(tmp_path: Path) -> None:
    folder = fd.ImageDirectoryDataset(write_folder(tmp_path / "folder"), "*", [fd.CenterCrop(8)], labels=None, seed=3)
    assert repr(folder).startswith(
        f"<ImageDirectoryDataset: {len(folder)} samples, transform=Transform(steps=(CenterCrop("
    )
    assert repr(folder).endswith("seed=3>")
    shards = fd.TarImageDataset(write_shards(tmp_path / "shards"))
    assert repr(shards).startswith(f"<TarImageDataset: {shards.num_samples} samples, ")
    loader = fd.Loader(folder, 4, shuffle=True, num_threads=2)
    loader.set_epoch(5)
    expected = f"<Loader: {len(loader)} batches of 4, epoch 5, shuffle=True, 2 threads, decoder=cpu, device=cpu, of "
    assert repr(loader) == f"{expected}{folder!r}>"
    sampler = fd.EpochSampler(folder, 4, rank=1, world_size=2)
    expected = f"<EpochSampler: {len(sampler)} samples of rank 1 of 2, epoch 0, batch_size=4, shuffle=True, seed=3>"
    assert repr(sampler) == expected


def test_normalize_says_its_mean_and_standard_deviation_in_a_model_too() -> None:
    text = "Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), dtype=torch.float16)"
    normalize = fd.Normalize.imagenet(torch.float16)
    assert repr(normalize) == text
    assert text in repr(torch.nn.Sequential(normalize))
