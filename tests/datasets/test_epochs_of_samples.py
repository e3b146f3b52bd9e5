"""Views may be of an epoch for each sample."""

from pathlib import Path

import torch

from fastdata.datasets.prepared import Prepared
from support.numbered import COUNT, map_style, write_folder


def test_many_samples_are_each_seen_in_their_epoch(folder: Path) -> None:
    dataset, epochs = map_style(folder), [number % 5 for number in range(COUNT)]
    for number, (image, _) in enumerate(dataset.pairs(range(COUNT), epochs)):
        assert torch.equal(image, dataset.pair(number, epochs[number])[0])


def test_a_file_that_is_gone_leaves_the_others_their_epochs(tmp_path: Path) -> None:
    dataset = map_style(write_folder(tmp_path / "folder", 4))
    (tmp_path / "folder" / "001.jpg").unlink()
    first, gone, third = dataset.prepare([0, 1, 2], [7, 8, 9]).samples
    assert not isinstance(gone, Prepared)
    for number, epoch, sample in ((0, 7, first), (2, 9, third)):
        (alone,) = dataset.prepare([number], epoch).samples
        assert isinstance(sample, Prepared)
        assert isinstance(alone, Prepared)
        assert sample.image.view == alone.image.view
