"""torchvision's transforms become ours. torchvision itself is not imported: its classes are known by their names."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from fastdata.transforms import auto_augment, colour, pixels, steps
from fastdata.transforms.transform import Transform

Colour = tuple[float, float, float]


class Converted(NamedTuple):
    """What `from_torchvision` makes: `transform`, and `normalize`, which are `fd.Normalize`'s arguments.

    `normalize` is None where uint8 images come out.
    """

    transform: Transform
    normalize: tuple[Colour, Colour] | None


def from_torchvision(transform: object) -> Converted:
    """Ours for a `Compose` of torchvision's transforms, v1 or v2, or for one of them.

    Conversions (`ToImage`, `ToTensor`, `ToDtype`, …) and `Normalize` are not steps here, as images are uint8 until they
    are on the device: floats from 0 to 1 become `normalize` with a mean of 0 and a deviation of 1, `Normalize` its own.
    What comes after them counts in their units: a RandomErasing with value=0 behind `Normalize` erases with its mean.
    Pixels are those of torchvision on tensors, which on Pillow's images differ by a few levels in colours.

        transform, normalize = fd.from_torchvision(compose)
        fd.Loader(fd.ImageDirectoryDataset(root, transform), normalize=normalize and fd.Normalize(*normalize), …)

    TypeError, with all of them and the reasons, where there are transforms without a counterpart.
    """
    conversion, problems = _Conversion(), []
    for step in _flat(transform):
        try:
            conversion.take(step)
        except (_NoCounterpart, ValueError) as error:
            problems.append(f"{step!r}: {error}")
    if problems:
        raise TypeError(
            "no counterpart here for: " + "; ".join(problems) + ". What is any function of an image can be map="
        )
    return conversion.finished()


class _NoCounterpart(Exception):  # noqa: N818 - it never leaves this module
    pass


def _flat(transform: Any) -> Iterator[Any]:
    if _name(transform) == "Compose":
        for step in transform.transforms:
            yield from _flat(step)
    elif type(transform).__module__ == "torch.nn.modules.container" and type(transform).__name__ == "Sequential":
        for step in transform:
            yield from _flat(step)
    else:
        yield transform


def _name(step: object) -> str:
    """The class's name if it is torchvision's own, else nothing."""
    kind = type(step)
    return kind.__name__ if kind.__module__.split(".")[:2] == ["torchvision", "transforms"] else ""


class _Conversion:
    """Ours so far, and in what units torchvision's images would be by now: x * scale for a level x, then normalized."""

    def __init__(self) -> None:
        self.steps: list[steps.TransformStep] = []
        self.antialias: set[bool] = set()
        self.is_tensor = False
        self.is_float = False
        self.scale = 1.0
        self.normalize: tuple[Colour, Colour] | None = None

    def take(self, step: Any) -> None:
        match _name(step):
            case "":
                raise _NoCounterpart("not a transform of torchvision's own")
            case "ToImage" | "PILToTensor":
                self.is_tensor = True
            case "ToPureTensor" | "Identity" | "RGB":
                pass
            case "ToTensor":
                self.is_tensor = True
                self._become_floats(1 / 255)
            case "ToDtype" | "ConvertImageDtype":
                self._take_dtype(step)
            case "Normalize":
                self._take_normalize(step)
            case "RandomErasing":
                self.steps.append(self._erasing(step))
            case name:
                self.steps.append(self._step(name, step))

    def finished(self) -> Converted:
        if len(self.antialias) > 1:
            raise TypeError("no counterpart here for steps of which one is antialiased and another is not")
        transform = Transform(self.steps, antialias=self.antialias != {False})
        if self.is_float and self.normalize is None:
            return Converted(transform, (_three([0.0]), _three([1 / (255 * self.scale)])))
        return Converted(transform, self.normalize)

    def _become_floats(self, scale: float) -> None:
        if not self.is_float:
            self.is_float, self.scale = True, scale

    def _take_dtype(self, step: Any) -> None:
        scaled = _name(step) == "ConvertImageDtype" or step.scale
        if getattr(step.dtype, "is_floating_point", False):
            self._become_floats(1 / 255 if scaled else 1.0)
        elif str(step.dtype) != "torch.uint8" or self.is_float:
            raise _NoCounterpart("images are uint8 here, or floats at the end")

    def _take_normalize(self, step: Any) -> None:
        if not self.is_float or self.normalize:
            raise _NoCounterpart("it has to come once, after ToTensor or ToDtype(torch.float32, scale=True)")
        unit = 255 * self.scale
        self.normalize = _three([m / unit for m in step.mean]), _three([s / unit for s in step.std])

    def _erasing(self, step: Any) -> pixels.RandomErasing:
        mean, std = self.normalize or (_three([0.0]), _three([1 / (255 * self.scale)]))
        value = step.value
        if value is None or value == "random":
            if any(abs(a - b) > 0.01 for a, b in zip(mean + std, _IMAGENET, strict=True)):
                raise _NoCounterpart("noise is that of images normalized by ImageNet's mean and deviation")
            return pixels.RandomErasing(step.p, tuple(step.scale), tuple(step.ratio), "random")
        values = _three([value] if isinstance(value, int | float) else list(value))
        levels = [round(255 * (m + v * s), 6) for v, m, s in zip(values, mean, std, strict=True)]
        return pixels.RandomErasing(step.p, tuple(step.scale), tuple(step.ratio), levels)

    def _step(self, name: str, step: Any) -> steps.TransformStep:
        if name in _GEOMETRY:
            if hasattr(step, "antialias"):
                self.antialias.add(bool(step.antialias) or not self.is_tensor)  # Pillow's images always are
            if self.normalize and "Flip" not in name:
                raise _NoCounterpart("it has to come before Normalize")
            return _GEOMETRY[name](step)
        if name != "RandomApply" and name not in _COLOURS:
            raise _NoCounterpart("unknown here")
        if self.is_float and name in ("RandomPosterize", "RandomEqualize", "RandAugment", "TrivialAugmentWide"):
            raise _NoCounterpart("it has to come before the conversion to floats")
        if self.normalize:
            raise _NoCounterpart("it has to come before Normalize")
        if name == "RandomApply":
            return self._apply(step)
        return _COLOURS[name](step, 1 / self.scale)

    def _apply(self, step: Any) -> pixels.RandomApply:
        inner = []
        for each in (each for part in step.transforms for each in _flat(part)):
            name = _name(each)
            ours = self._erasing(each) if name == "RandomErasing" else self._step(name, each)
            if not isinstance(ours, steps.PixelStep):
                raise _NoCounterpart("RandomApply is for steps that change pixels")
            inner.append(ours)
        return pixels.RandomApply(inner, step.p)


_IMAGENET = (0.485, 0.456, 0.406, 0.229, 0.224, 0.225)


def _three(values: Iterable[float]) -> Colour:
    numbers = [float(value) for value in values]
    if len(numbers) not in (1, 3):
        raise _NoCounterpart("images have 3 channels here")
    red, green, blue = numbers * (3 // len(numbers))
    return red, green, blue


def _resize(step: Any) -> steps.TransformStep:
    if step.size is None:
        raise _NoCounterpart("size must be given")
    return steps.Resize(step.size, step.interpolation, step.max_size)


def _random_crop(step: Any) -> steps.TransformStep:
    _check_black(step)
    return steps.RandomCrop(step.size, step.padding, step.pad_if_needed)


def _pad(step: Any) -> steps.TransformStep:
    _check_black(step)
    return steps.Pad(step.padding)


def _check_black(step: Any) -> None:
    if step.padding_mode != "constant" or step.fill not in (None, 0, [0], (0,), [0, 0, 0], (0, 0, 0)):
        raise _NoCounterpart("padding is black here")


_GEOMETRY: dict[str, Callable[[Any], steps.TransformStep]] = {
    "RandomResizedCrop": lambda s: steps.RandomResizedCrop(s.size, tuple(s.scale), tuple(s.ratio), s.interpolation),
    "RandomHorizontalFlip": lambda s: steps.RandomHorizontalFlip(s.p),
    "RandomVerticalFlip": lambda s: steps.RandomVerticalFlip(s.p),
    "RandomCrop": _random_crop,
    "Pad": _pad,
    "CenterCrop": lambda s: steps.CenterCrop(s.size),
    "Resize": _resize,
}

_COLOURS: dict[str, Callable[[Any, float], steps.PixelStep]] = {
    # Each with the number of levels in a unit of torchvision's images at that place.
    "ColorJitter": lambda s, _: colour.ColorJitter(s.brightness, s.contrast, s.saturation, s.hue),
    "Grayscale": lambda s, _: colour.Grayscale(s.num_output_channels),
    "RandomGrayscale": lambda s, _: colour.RandomGrayscale(s.p),
    "RandomInvert": lambda s, _: colour.RandomInvert(s.p),
    "RandomSolarize": lambda s, unit: colour.RandomSolarize(s.threshold * unit, s.p),
    "RandomPosterize": lambda s, _: colour.RandomPosterize(s.bits, s.p),
    "RandomAutocontrast": lambda s, _: colour.RandomAutocontrast(s.p),
    "RandomEqualize": lambda s, _: colour.RandomEqualize(s.p),
    "RandomAdjustSharpness": lambda s, _: colour.RandomAdjustSharpness(s.sharpness_factor, s.p),
    "GaussianBlur": lambda s, _: pixels.GaussianBlur(tuple(s.kernel_size), tuple(s.sigma)),
    "RandAugment": lambda s, _: auto_augment.RandAugment(
        s.num_ops, s.magnitude, s.num_magnitude_bins, s.interpolation, s.fill
    ),
    "TrivialAugmentWide": lambda s, _: auto_augment.TrivialAugmentWide(s.num_magnitude_bins, s.interpolation, s.fill),
}
