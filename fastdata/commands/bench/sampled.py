"""Some of the photos, as files and as shards: on these changes and other loaders are tried."""

from pathlib import Path

import numpy as np

from fastdata.datasets.base import ImageDataset
from fastdata.errors import SampleError
from fastdata.packing.convert import Conversion, Keep
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sources.folder import scan_pattern

_COUNT = 256


class Sampled:
    """Photos that can be read, evenly spread, below a folder; `shards` are theirs as they are."""

    def __init__(self, dataset: ImageDataset, directory: Path) -> None:
        self._directory, self.photos = directory, directory / "photos"
        self.photos.mkdir()
        count = min(_COUNT, dataset.num_samples)
        numbers = np.linspace(0, dataset.num_samples - 1, count).astype(int).tolist()
        dataset.expect(numbers)
        for place, number in enumerate(numbers):
            try:
                (self.photos / f"{place:03}.jpg").write_bytes(dataset.read(number).image)
            except SampleError:
                continue
        self.shards = self.packed("keep", Keep())

    def files(self) -> list[str]:
        return sorted(map(str, self.photos.iterdir()))

    def packed(self, name: str, jpeg: Conversion) -> list[Path]:
        """The shards of the photos, changed so."""
        directory = self._directory / name
        pack(scan_pattern(self.photos), directory, division=ShardCount(1), jpeg=jpeg, jobs=1, check=False)
        return sorted(directory.glob("*.tar"))
