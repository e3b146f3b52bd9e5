"""Training recipes over the photos with fields: every kind of field, step, function, view and order, one at a time."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import fastdata as fd
from support.annotated import COUNT, FIELDS, SEED, TRAIN, key
from support.maps import jitter, with_target

NUMBER = fd.Label("idx")
WEIGHTS = np.random.default_rng(1).uniform(0, 4, COUNT)
CLASSES = np.arange(COUNT) % 3


@dataclass(frozen=True)
class Recipe:
    """What a training script says of its dataset and loader, and how far the kernel's pixels may be from Python's.

    `levels` is for each value of an image, None where a step makes large differences of small ones (a threshold, an
    equalized histogram); these differ by less than 2 on average. `mixed`: the dataset is a Mix of itself and a part.
    """

    transform: Any = field(default_factory=lambda: TRAIN)
    target: Any = NUMBER
    map: Callable[..., Any] | None = None
    order: Any = None
    mixed: bool = False
    levels: int | None = 2

    def of_folder(self, folder: Path) -> Any:
        dataset = fd.ImageDirectoryDataset(
            folder, "**/*.jpg", self.transform, None, SEED, fields=self.target, map=self.map
        )
        return self._mixed(dataset) if self.mixed else dataset

    def of_shards(self, shards: list[str]) -> Any:
        dataset = fd.TarImageMapDataset(shards, self.transform, target=self.target, seed=SEED, map=self.map)
        return self._mixed(dataset) if self.mixed else dataset

    def of_parquet(self, files: list[str]) -> Any:
        dataset = fd.ParquetImageDataset(
            files, self.transform, "jpg", self.target, seed=SEED, map=self.map, cache_bytes=30_000
        )
        return self._mixed(dataset) if self.mixed else dataset

    def iterable(self, shards: list[str], **how: Any) -> fd.TarImageDataset:
        options = {"target": self.target, "seed": SEED, "map": self.map, "shuffle": True, "order": self.order}
        return fd.TarImageDataset(shards, self.transform, **options | how)

    def _mixed(self, dataset: Any) -> fd.Mix:
        return fd.Mix({"all": (dataset, 2), "some": (dataset.select(numbers=slice(3, 8)), 1)}, num_samples=14)


def write_tables(root: Path) -> Path:
    """`labels.csv` and COCO's `instances.json` of the photos."""
    rows = [f"{key(number)}.jpg,{number * 10},{number / 4}" for number in reversed(range(COUNT))]
    (root / "labels.csv").write_text("\n".join(["file,label,score", *rows]))
    box = {"bbox": [5.0, 4.0, 20.0, 18.0], "area": 360.0, "iscrowd": 0}
    instances = {
        "images": [{"id": 100 + n, "file_name": f"{key(n)}.jpg", "width": 1, "height": 1} for n in range(COUNT)],
        "annotations": [{"id": n, "image_id": 100 + n, "category_id": 7, **box} for n in range(0, COUNT, 2)],
        "categories": [{"id": 7, "name": "cat"}],
    }
    (root / "instances.json").write_text(json.dumps(instances))
    return root


def fields(tables: Path) -> Mapping[str, Recipe]:
    """A recipe for each kind of field."""
    table = fd.Table(tables / "labels.csv", "file", ["label", "score"])
    kinds: dict[str, Any] = {
        "label": NUMBER,
        "npy": fd.Npy("npy"),
        "list of components": ["txt", "json"],
        "table": table,
        "coco": fd.Coco(tables / "instances.json"),
        "named": {**FIELDS, "number": NUMBER, "table": table, "coco": fd.Coco(tables / "instances.json")},
    }
    return {f"field {name}": Recipe(target=target) for name, target in (FIELDS | kinds).items()}


def _geometry() -> Mapping[str, Recipe]:
    """Steps that move pixels, with what follows them."""
    follows = {name: FIELDS[name] for name in ("mask", "objects", "points")}
    flips = [fd.RandomHorizontalFlip(), fd.RandomVerticalFlip()]
    transforms: dict[str, Any] = {
        "crop and flips": [fd.RandomResizedCrop((20, 28)), *flips],
        "plain": fd.Transform(TRAIN, antialias=False),
        "full decode": fd.Transform([fd.RandomResizedCrop(6)], reducing_gap=None),
        "scaled decode": [fd.RandomResizedCrop(6)],
        "resize": [fd.Resize((24, 30)), *flips],
        "shorter side": [fd.Resize(26), fd.CenterCrop(24), *flips],
        "longest side": [fd.Resize(30, max_size=32), fd.RandomCrop(28, pad_if_needed=True)],
        "random crop": [fd.RandomCrop(26, padding=4), *flips],
        "pad": [fd.CenterCrop(24), *flips, fd.Pad((1, 2, 3, 4))],
    }
    bicubic = [fd.RandomResizedCrop(24, interpolation="bicubic")]
    return {
        **{f"step {name}": Recipe(transform, follows) for name, transform in transforms.items()},
        "step bicubic": Recipe(bicubic, follows, levels=4),
        "step bicubic, plain": Recipe(fd.Transform(bicubic, antialias=False), follows, levels=4),
    }


PIXEL_STEPS: list[Any] = [
    fd.ColorJitter(0.4, 0.4, 0.4, 0.1),
    fd.Grayscale(),
    fd.RandomGrayscale(0.5),
    fd.RandomInvert(),
    fd.RandomSolarize(128),
    fd.RandomPosterize(3),
    fd.RandomAutocontrast(),
    fd.RandomEqualize(),
    fd.RandomAdjustSharpness(2),
    fd.GaussianBlur(5),
    fd.RandomErasing(0.7, value="random"),
    fd.RandomApply([fd.ColorJitter(0.4), fd.GaussianBlur(3)]),
    fd.RandAugment(),
    fd.TrivialAugmentWide(),
]


def _views() -> Mapping[str, Recipe]:
    crops = [fd.RandomResizedCrop(12, scale=(0.05, 0.4)), fd.RandomHorizontalFlip()]
    coloured = [*TRAIN, fd.ColorJitter(0.4, 0.4, 0.4, 0.1), fd.RandomErasing(0.5)]
    views = {
        "views": fd.Views(views=(2, TRAIN)),
        "views of several sizes": fd.Views(global_=(2, TRAIN), local=(3, crops)),
        "views with colours": fd.Views(weak=(1, TRAIN), strong=(2, coloured), small=(1, [*crops, fd.RandAugment()])),
    }
    return {name: Recipe(each, {"number": NUMBER, "text": "txt"}, levels=None) for name, each in views.items()}


RECIPES: Mapping[str, Recipe] = {
    **_geometry(),
    **{f"pixels {type(step).__name__}": Recipe([*TRAIN, step], levels=None) for step in PIXEL_STEPS},
    **_views(),
    "map": Recipe(map=jitter, levels=None),
    "map of image and target": Recipe(target=FIELDS, map=with_target),
    "colours, then map": Recipe([*TRAIN, PIXEL_STEPS[0]], map=jitter, levels=None),
    "weighted": Recipe(order=fd.Weighted(WEIGHTS, 14)),
    "balanced": Recipe(order=fd.Balanced(14, CLASSES)),
    "repeated": Recipe(order=fd.Repeated(2, 14)),
    "mix": Recipe(mixed=True),
    "weighted, fields and colours": Recipe([*TRAIN, *PIXEL_STEPS[:1]], FIELDS, order=fd.Weighted(WEIGHTS), levels=None),
}
"""All but those of fields, which need tables."""
