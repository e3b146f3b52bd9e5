"""Plan the packing of a source: the same source, sorted as it is, and recipe give the same table, wherever that is."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastdata.epoch.order import EpochOrder
from fastdata.packing.convert import Conversion, Encode
from fastdata.packing.measure import Sizes, measure, sizes_in_tar
from fastdata.packing.origins.source import Source
from fastdata.packing.plan import PlannedField, plan_shards, split_samples
from fastdata.packing.recipe import Recipe
from fastdata.packing.table import PackTable, PlannedDataset
from fastdata.sample import IMAGE_EXTENSIONS
from fastdata.sources.paths import Paths


def make_table(source: Source, folder: Path, recipe: Recipe) -> PackTable:
    """What is to be written into the folder. Looks at each file's size and time, and reads none.

    Raises PackError for a file that can't be packed, ValueError for what does not go together; see `pack`.
    """
    _refuse_conflicts(source, recipe.jpeg)
    skip = recipe.on_error == "skip"
    sizes = measure(source, skip=skip)
    in_tar = sizes_in_tar(source, sizes)
    datasets: list[PlannedDataset] = []
    order: list[NDArray[np.int64]] = []
    bounds = [np.zeros(1, np.int64)]
    for name, chosen in split_samples(len(source.scan), recipe.split, recipe.seed).items():
        ids = chosen[EpochOrder(len(chosen), recipe.shuffle, recipe.seed).samples(0, len(chosen))]
        plan = plan_shards(in_tar[ids], recipe.division)
        datasets.append(PlannedDataset(name, plan.num_shards))
        order.append(ids)
        bounds.append(bounds[-1][-1] + plan.bounds()[1:])
    in_place = len(datasets) == 1 and not recipe.shuffle
    rows = slice(None) if in_place else np.concatenate(order)
    return _table(source, sizes, rows, folder, datasets, np.concatenate(bounds), recipe)


def _table(
    source: Source,
    sizes: Sizes,
    ids: "NDArray[np.int64] | slice",
    folder: Path,
    datasets: list[PlannedDataset],
    bounds: NDArray[np.int64],
    recipe: Recipe,
) -> PackTable:
    scan = source.scan

    def taken(paths: Paths) -> Paths:
        return paths if isinstance(ids, slice) else paths.take(ids)

    return PackTable(
        folder,
        datasets,
        bounds,
        scan.root,
        taken(scan.paths),
        scan.keys.apart[ids],
        scan.targets[ids],
        sizes.images[ids],
        sizes.times[ids],
        [PlannedField(name, taken(paths), sizes.fields[name][ids]) for name, paths in source.fields.items()],
        taken(Paths.of(map(bytes.decode, source.columns))) if source.columns else None,
        recipe.jpeg,
        recipe.check,
        recipe.hash,
        recipe.on_error == "skip",
        None if source.stored is None else source.stored.take(ids),
    )


def _refuse_conflicts(source: Source, jpeg: Conversion) -> None:
    """Raises ValueError for a component that would be there twice, and for what would not fit its image any more."""
    if "cls" in source.fields and (source.scan.targets >= 0).any():
        raise ValueError(
            "classes would come from the field cls, and from folders or a table: choose one (--labels none)"
        )
    if "json" in source.fields and source.columns:
        raise ValueError("a sample has one json: leave out either the field json or the table's columns")
    pictures = [name for name in source.fields if name.rpartition(".")[2] in IMAGE_EXTENSIONS]
    if pictures and isinstance(jpeg, Encode):
        raise ValueError(
            f"{jpeg} turns images upright and shrinks them, and {', '.join(pictures)} would not fit them any more: "
            f"keep the images (--jpeg keep or crop-ready), or resize masks and images before packing"
        )
