"""`fastdata demo`: photos of its own, packed, loaded in each way with its speed, and one batch to look at."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader

from fastdata.commands.measure import images_per_second, seconds_needed
from fastdata.commands.sheet import show as show_batch
from fastdata.cpus import available_cpus, cpu_model
from fastdata.datasets.collate import collate
from fastdata.datasets.directory import ImageDirectoryDataset
from fastdata.datasets.shards import TarImageDataset
from fastdata.epoch.sampler import EpochSampler
from fastdata.files import whole_file
from fastdata.images.kernel import kernel_name
from fastdata.loading.loader import Loader
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sample import Batch
from fastdata.sources.folder import scan_classes
from fastdata.sources.manifest import manifest_path
from fastdata.transforms.steps import RandomHorizontalFlip, RandomResizedCrop

PHOTO_SIZE = (500, 375)
"""In pixels: ImageNet's commonest size."""

_QUALITY = 95  # gives about 100 kB a photo, as in ImageNet
_CLASSES = ("ellipses", "rectangles", "strokes", "triangles")
_SHAPES = 8
_SHARDS = 4
_BATCH_SIZE = 32
_ROUNDS, _SECONDS = 3, 1.0
_TRANSFORM = (RandomResizedCrop(224), RandomHorizontalFlip())


class Speed(NamedTuple):
    """How fast a way to load is, in images/s."""

    way: str
    images_per_second: float


class Demo(NamedTuple):
    """What the demo made: photos, the json of their shards, the picture of a batch; and what it measured."""

    photos: Path
    shards: Path
    picture: Path
    speeds: list[Speed]


def run_demo(directory: str | os.PathLike[str], images: int = 200, tell: Callable[[str], None] = print) -> Demo:
    """Makes `images` photos below `directory`, packs them and loads them in each way; tells what it is doing.

    When it runs again it finds its photos, and packs them anew.
    """
    photos, shards = Path(directory) / f"photos-{images}", Path(directory) / f"shards-{images}"
    tell(f"making {images} photos of {PHOTO_SIZE[0]}x{PHOTO_SIZE[1]} in {photos}")
    make_photos(photos, images)
    tell(f"packing them into shards in {shards}")
    pack(scan_classes(photos), shards, division=ShardCount(min(_SHARDS, images)), overwrite=True)
    machine = f"{available_cpus()} CPUs of {cpu_model()}; compiled kernel: {kernel_name()}"
    tell(f"loading them each way, in turns, for {seconds_needed(3, _ROUNDS, _SECONDS):.0f} seconds, on {machine}")
    speeds = _measure(photos, shards)
    picture = Path(directory) / "batch.png"
    packed = TarImageDataset(_urls(shards), transform=_TRANSFORM, shuffle=True)
    sheet = show_batch(next(iter(Loader(packed, _BATCH_SIZE))), classes=packed.classes)
    with whole_file(picture) as file:
        sheet.save(file, "PNG")
    return Demo(photos, manifest_path(shards, "train"), picture, speeds)


def show(demo: Demo) -> None:
    """Prints what was made and measured."""
    table = Table("images/s", "loading")
    for way, speed in demo.speeds:
        table.add_row(f"{speed:,.0f}", way)
    console = Console()
    console.print(table)
    console.print(f"an augmented batch to look at: {demo.picture}", soft_wrap=True, markup=False)


def make_photos(directory: str | os.PathLike[str], count: int, seed: int = 0) -> None:
    """Writes photo-like JPEGs into class folders in `directory`: noise at every scale, gradients, shapes.

    Each is a function of (seed, its number), 500x375 pixels and about 100 kB; what is there already is kept.
    """
    if count < 1:
        raise ValueError(f"the number of photos must be at least 1, not {count}")
    for number in range(count):
        name = _CLASSES[number % len(_CLASSES)]
        path = Path(directory) / name / f"{number:06d}.jpg"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = _photo(name, np.random.default_rng([seed, number]))
        _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        with whole_file(path) as file:
            file.write(encoded.tobytes())


def _measure(photos: Path, shards: Path) -> list[Speed]:
    folder = ImageDirectoryDataset(photos, transform=_TRANSFORM)
    urls = _urls(shards)
    batches = TarImageDataset(urls, transform=_TRANSFORM, shuffle=True, batch_size=_BATCH_SIZE)
    workers: dict[str, Any] = {"num_workers": available_cpus(), "persistent_workers": True}
    order = EpochSampler(folder, _BATCH_SIZE)
    ways: dict[str, Iterable[Batch]] = {
        "the folder, by torch's DataLoader": DataLoader(
            folder, _BATCH_SIZE, sampler=order, collate_fn=collate, **workers
        ),
        "the shards, by torch's DataLoader": DataLoader(batches, batch_size=None, **workers),
        "the shards, by fastdata's Loader": Loader(
            TarImageDataset(urls, transform=_TRANSFORM, shuffle=True), _BATCH_SIZE
        ),
    }
    return [Speed(way, speed) for way, speed in images_per_second(ways, _ROUNDS, _SECONDS).items()]


def _urls(shards: Path) -> list[Path]:
    """The shards' paths. A glob for them would go wrong where their folder's name has brackets."""
    return sorted(shards.glob("train-*.tar"))


def _photo(shape: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A photo's pixels, BGR. Like real photos it has edges, and about the same contrast at every scale."""
    width, height = PHOTO_SIZE
    dark, light = rng.uniform(20, 235, (2, 3)).astype(np.float32)
    ramp = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    pixels = np.broadcast_to(dark + (light - dark) * ramp, (height, width, 3)).copy()
    contrast = 30.0
    for cells in (4, 8, 16, 32, 64, 128, 256, 512):
        noise = rng.standard_normal((cells * 3 // 4, cells, 3), dtype=np.float32)
        noise = 0.4 * noise + 0.7 * noise.sum(axis=2, keepdims=True)  # mostly brightness, some colour
        pixels += contrast * cv2.resize(noise, PHOTO_SIZE, interpolation=cv2.INTER_LINEAR)
        contrast *= 0.8
    for _ in range(_SHAPES):
        _draw_shape(pixels, shape, rng)
    return pixels.clip(0, 255).astype(np.uint8)


def _draw_shape(pixels: NDArray[np.float32], shape: str, rng: np.random.Generator) -> None:
    """Draws a shape of the class. It is half transparent, so that it has the background's texture."""
    drawn = pixels.copy()
    colour = rng.uniform(0, 255, 3).tolist()
    points = rng.uniform((0, 0), PHOTO_SIZE, (3, 2)).astype(np.int32)
    (x, y), (x2, y2), _ = points.tolist()
    axes = (20 + x2 // 5, 20 + y2 // 5)
    if shape == "ellipses":
        cv2.ellipse(drawn, (x, y), axes, x2 % 180, 0, 360, colour, cv2.FILLED)
    elif shape == "rectangles":
        cv2.rectangle(drawn, (x, y), (x + 2 * axes[0], y + axes[1]), colour, cv2.FILLED)
    elif shape == "strokes":
        cv2.line(drawn, (x, y), (x2, y2), colour, 12)
    else:
        cv2.fillConvexPoly(drawn, points, colour)
    pixels += 0.6 * (drawn - pixels)
