"""Images that tests make for themselves: photo-like pixels, encoded in every way that matters."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]


def photo(width: int, height: int, seed: int = 0) -> Pixels:
    """Smooth colour, edges and a little grain: uint8, shape (height, width, 3). Asymmetric, so flips show."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    waves = rng.uniform(0.01, 0.08, (3, 2))
    channels = [127 + 80 * np.sin(fx * x + phase) * np.cos(fy * y) for phase, (fx, fy) in enumerate(waves)]
    image = np.stack(channels, axis=-1)
    for _ in range(6):
        left, top = int(rng.integers(0, width)), int(rng.integers(0, height))
        image[top : top + height // 4 + 1, left : left + width // 4 + 1] += rng.uniform(-60, 60, 3)
    image[: height // 3 + 1, : width // 3 + 1, 0] += 50
    image += rng.normal(0, 4, image.shape)
    return image.clip(0, 255).astype(np.uint8)


def encoded(
    pixels: Pixels, format: str = "JPEG", orientation: int | None = None, mode: str = "RGB", **options: object
) -> bytes:
    """`pixels` as a file's bytes, by Pillow."""
    image = Image.fromarray(pixels).convert(mode)
    if orientation is not None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    return saved(image, format, **options)


def saved(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    """The image as a file's bytes, by Pillow."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def jpeg(width: int, height: int, seed: int = 0, quality: int = 90, **options: object) -> bytes:
    """A photo-like JPEG."""
    return encoded(photo(width, height, seed), "JPEG", quality=quality, **options)  # type: ignore[arg-type]
