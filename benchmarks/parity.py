"""How far the compiled kernel's pixels are from those of the Python decoder, its reference, in levels of 255.

Of each photo one view by each transform. Both decode the same view of the same bytes; what the kernel leaves to the
reference is counted as left out. "Scaled" is by JPEG, to a fraction, where a box is far larger than its output.
"""

import argparse
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

import fastdata as fd
from fastdata.commands.demo import make_photos
from fastdata.images import kernel, reference
from fastdata.images.jobs import jobs
from material import MADE, jpegs

TRANSFORMS: dict[str, list[fd.TransformStep]] = {
    "RandomResizedCrop(224)": [fd.RandomResizedCrop(224)],
    "RandomResizedCrop(64)": [fd.RandomResizedCrop(64)],
    "Resize(256), CenterCrop(224)": [fd.Resize(256), fd.CenterCrop(224)],
    "RandomResizedCrop(224), bicubic": [fd.RandomResizedCrop(224, interpolation="bicubic")],
}


class Parity(NamedTuple):
    """Over all views: the mean difference, and the greatest of any value; and how many of them were not compared."""

    mean: float
    worst: int
    left_out: int


def parity(photos: list[bytes], transform: fd.Transform) -> Parity:
    means, worst, left_out = [], 0, 0
    for number, photo in enumerate(photos):
        header = fd.read_header(photo)
        view = fd.draw(transform, header.size, fd.sample_rng(0, 0, str(number)))
        row = np.empty((view.window.height, view.window.width, 3), np.uint8)
        if kernel.decode([photo], jobs([view], [header.orientation]), [row])[0] != kernel.Status.DONE:
            left_out += 1
            continue
        difference = np.abs(row.astype(int) - reference.decode(photo, view, header=header))
        means.append(difference.mean())
        worst = max(worst, int(difference.max()))
    return Parity(float(np.mean(means)), worst, left_out)


def show(photos: list[bytes]) -> None:
    table = Table(title=f"{len(photos)} photos; kernel: {fd.kernel}", title_justify="left")
    for column in ("", "resizing", "decoded", "mean", "worst", "left out"):
        table.add_column(column, no_wrap=True)
    for name, steps in TRANSFORMS.items():
        for antialias in (True, False) if "bicubic" not in name else (True,):
            for gap in (None, 2.0):
                found = parity(photos, fd.Transform(steps, antialias, gap))
                how = (
                    "antialiased" if antialias else "plain",
                    "in full" if gap is None else "scaled",
                )
                table.add_row(name, *how, f"{found.mean:.3f}", str(found.worst), str(found.left_out))
    Console().print(table)


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--data", type=Path, help="folder of JPEGs; without it the demo's photos are made")
    made.add_argument("--every", type=int, default=1, help="take each so many of them; default: 1")
    options = made.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        data = options.data
        if data is None:
            data = Path(directory) / "made"
            make_photos(data, MADE)
        show([path.read_bytes() for path in jpegs(data)[:: options.every]])


if __name__ == "__main__":
    main()
