"""What is printed of a dataset, a Loader, a sampler and Normalize says what they will do."""

from pathlib import Path

import torch

import fastdata as fd
from support.numbered import write_folder, write_shards
from support.pictures import jpeg


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


def test_notebooks_show_a_datasets_classes_and_first_sample_and_run_nothing_that_was_read(tmp_path: Path) -> None:
    for name in ("a<script>", "b"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "1.jpg").write_bytes(jpeg(16, 16, 0))
    dataset = fd.ImageDirectoryDataset(tmp_path, transform=[fd.CenterCrop(8)])
    shown = dataset._repr_html_()
    assert shown.startswith("<b>ImageDirectoryDataset: 2 samples</b><table>")
    assert "a&lt;script&gt;, b" in shown
    assert "<script" not in shown
    (batch,) = fd.Loader(dataset, 2)
    assert "<script" not in batch._repr_html_()
    assert batch._repr_html_().count('<img src="data:image/png;base64,') == 2


def test_notebooks_show_what_a_batch_has(tmp_path: Path) -> None:
    folder = fd.ImageDirectoryDataset(write_folder(tmp_path), "*", [fd.CenterCrop(8)], labels=None)
    (batch, *_) = fd.Loader(folder, 16, normalize=fd.Normalize.imagenet())
    shown = batch._repr_html_()  # floats are no pictures
    assert shown.count("<tr>") == 8
    assert f"<td>{batch.keys[7]}</td><td>-1</td>" in shown
    two = fd.Views(two=(2, [fd.RandomResizedCrop(8)]))
    (batch, *_) = fd.Loader(fd.ImageDirectoryDataset(folder.root, "*", two, labels=None), 4)
    assert batch._repr_html_().count("<tr>") == 4
    fields = fd.Batch(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), {"txt": ["a & b"], "boxes": [torch.zeros(2, 4)]})
    assert "{&#x27;txt&#x27;: &#x27;a &amp; b&#x27;, &#x27;boxes&#x27;: float32 (2, 4)}" in fields._repr_html_()
