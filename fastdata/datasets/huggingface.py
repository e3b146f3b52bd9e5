"""Images in a `datasets.Dataset` of Hugging Face, by number."""

from typing import Any

from fastdata.datasets.base import Transforms
from fastdata.datasets.column_images import ColumnImages
from fastdata.datasets.fields import Target
from fastdata.datasets.mapping import Map
from fastdata.images.limits import MAX_PIXELS
from fastdata.sources.columnar.dataset_rows import DatasetRows
from fastdata.sources.regular import MAX_BYTES


class HuggingFaceImageDataset(ColumnImages):
    """Images in a `datasets.Dataset`, by number, of which `datasets` itself decodes none: `dataset[i]` is (uint8 tensor
    of shape (3, H, W), target).

    `dataset` is one split, as `load_dataset(..., split="train")` gives it; what it selects, shuffles or leaves out
    counts, its format and `set_transform` don't. Columns, targets and keys are those of `ParquetImageDataset`; a row
    without any key has the number that it had before rows were selected. The file of an image is what the dataset has,
    or what lies at its path. TypeError for anything but a `datasets.Dataset`.
    """

    def __init__(
        self,
        dataset: Any,
        transform: Transforms = None,
        image: str = "image",
        target: Target = "label",
        key: str | None = None,
        seed: int = 0,
        max_pixels: int = MAX_PIXELS,
        map: Map | None = None,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        if not all(hasattr(dataset, name) for name in ("data", "features", "_indices", "_fingerprint")):
            raise TypeError(
                "HuggingFaceImageDataset takes one split of a datasets.Dataset, got "
                f"{type(dataset).__name__}: of several name one, dataset['train'], and load what streams without that"
            )
        if not len(dataset):
            raise ValueError("the datasets.Dataset has no rows")

        def open_store(columns: list[str]) -> DatasetRows:
            return DatasetRows(dataset, columns)

        super().__init__(open_store, transform, image, target, key, seed, max_pixels, map, max_bytes)
