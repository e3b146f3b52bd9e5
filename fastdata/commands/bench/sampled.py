"""Some of the photos, as files and as shards: on these changes and other loaders are tried."""

from pathlib import Path

import numpy as np

from fastdata.datasets.base import ImageDataset
from fastdata.errors import SampleError
from fastdata.images.decode import decode
from fastdata.packing.convert import Conversion, Keep
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sources.folder import scan_pattern
from fastdata.transforms.view import Box, View

_COUNT = 256


class Sampled:
    """Photos that can be decoded, evenly spread, below a folder; `shards` are theirs as they are.

    Of the `tried` ones `left_out` can't be: not everybody that is measured on them goes on after one of these.
    ValueError where none can.
    """

    def __init__(self, dataset: ImageDataset, directory: Path) -> None:
        self._directory, self.photos = directory, directory / "photos"
        self.photos.mkdir()
        self.tried, self.left_out = min(_COUNT, dataset.num_samples), 0
        numbers = np.linspace(0, dataset.num_samples - 1, self.tried).astype(int).tolist()
        dataset.expect(numbers)
        for place, number in enumerate(numbers):
            try:
                image = _decodable(dataset, number)
            except SampleError as error:
                self.left_out, last = self.left_out + 1, error
                continue
            (self.photos / f"{place:03}.jpg").write_bytes(image)
        if self.left_out == self.tried:
            raise ValueError(f"none of {self.tried:,} photos can be read; the last: {last}")
        self.shards = self.packed("keep", Keep())

    def files(self) -> list[str]:
        return sorted(map(str, self.photos.iterdir()))

    def packed(self, name: str, jpeg: Conversion) -> list[Path]:
        """The shards of the photos, changed so."""
        directory = self._directory / name
        pack(scan_pattern(self.photos), directory, division=ShardCount(1), jpeg=jpeg, jobs=1, check=False)
        return sorted(directory.glob("*.tar"))


def _decodable(dataset: ImageDataset, number: int) -> bytes:
    """A photo that is decoded to its end. SampleError where it can't be."""
    sample = dataset.read(number)
    header, _ = dataset.draw(sample, 0)
    whole = Box(0, 0, *header.size)
    decode(sample.image, View(whole, header.size, whole, False), header=header)
    return sample.image
