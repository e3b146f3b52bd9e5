"""Fields of a sample besides its image, declared once as frozen values: what they are stored as, and what they become.

A field's `component` is what it is stored in: an extension in a shard ("json", "seg.png"). In a folder it is the file
of that extension beside the image, or, where it holds `{key}` or `{name}`, a path below the folder's root
("masks/{key}.png"): `{key}` is the image's path there without its extension, `{name}` the last part of that.

Masks, boxes and points are stored as their image is: in its pixels before EXIF orientation, which is applied to them
together with the image. With `upright=True` they are those of the image as it is seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

BoxFormat = Literal["xyxy", "xywh", "cxcywh"]


@dataclass(frozen=True)
class Label:
    """An integer, as text: int. In a folder "cls" is what its `labels` make of the image."""

    component: str = "cls"


@dataclass(frozen=True)
class Text:
    """UTF-8: str."""

    component: str = "txt"


@dataclass(frozen=True)
class Json:
    """A JSON object: dict; or what lies in it at `path` ("meta.caption"), of a list what lies in each of its items."""

    component: str = "json"
    path: str = ""


@dataclass(frozen=True)
class Npy:
    """An array as numpy stores it: ndarray in native byte order. One of Python objects is an error."""

    component: str = "npy"


@dataclass(frozen=True)
class Raw:
    """Any component as it is: bytes."""

    component: str


@dataclass(frozen=True)
class Mask:
    """An image of classes or instances, of one channel (PNG of 1 to 16 bits, also with a palette, whose indices count).

    It becomes a tensor (H, W) of the view's size, by nearest neighbour, 0 where the view reaches beyond the image:
    uint8, or int32 where it has more than 8 bits. Its size is its image's; otherwise TargetError.
    """

    component: str
    upright: bool = False


@dataclass(frozen=True)
class Boxes:
    """Boxes of objects, in pixels: from JSON the lists of four numbers at `path`, from "npy" an array (n, 4).

    Both layouts of JSON are understood: `{"objects": {"bbox": [[…], …]}}` and `{"objects": [{"bbox": […]}, …]}` have
    the path "objects.bbox". They become a float32 tensor (n, 4), XYXY in pixels of the view, clipped to it. A box is
    dropped where less than `min_area` pixels of the view are left of it, or less than the share `min_visibility`, and
    always where nothing is.

    With `labels`, the path of one label for each box, the field is {"boxes": (n, 4), "labels": int64 (n,)}, as
    torchvision's detection models take it, and labels are dropped together with their boxes. They are integers, or
    names of which `classes` has the places.
    """

    component: str = "json"
    path: str = ""
    format: BoxFormat = "xyxy"
    labels: str | None = None
    classes: Sequence[str] | None = None
    min_area: float = 1.0
    min_visibility: float = 0.0
    upright: bool = False

    def __post_init__(self) -> None:
        if self.format not in get_args(BoxFormat):
            raise ValueError(f"Boxes: format must be one of {', '.join(get_args(BoxFormat))}, got {self.format!r}")
        if self.labels is not None and _is_array(self.component):
            raise ValueError(f"Boxes: labels are read from JSON, not from {self.component!r}")
        if self.classes is not None:
            if self.labels is None:
                raise ValueError("Boxes: classes are of the labels: say labels=, their path")
            object.__setattr__(self, "classes", tuple(self.classes))
        check_kept("Boxes", self.min_area, self.min_visibility)


@dataclass(frozen=True)
class Points:
    """Points, in pixels: an array (n, 2) of x and y, or (n, 3) with COCO's visibility; from JSON the lists at `path`.

    They become a float32 tensor of the same shape, in pixels of the view; all of them in their order, since a landmark
    is known by its number. `flip_pairs` are the numbers that change places when the image is mirrored left to right
    (the left eye becomes the right one). As in torchvision's KeyPoints, a pixel's coordinates are its centre's, and
    points outside of the view keep their coordinates there. In (n, 3) such a point's row becomes COCO's (0, 0, 0).
    """

    component: str = "npy"
    path: str = ""
    flip_pairs: Sequence[tuple[int, int]] = ()
    upright: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "flip_pairs", tuple((int(a), int(b)) for a, b in self.flip_pairs))
        numbers = [number for pair in self.flip_pairs for number in pair]
        if len(set(numbers)) != len(numbers) or any(number < 0 for number in numbers):
            raise ValueError(f"Points: flip_pairs must name each point at most once, from 0 on, got {self.flip_pairs}")


Field = Label | Text | Json | Npy | Raw | Mask | Boxes | Points

_KINDS: dict[str, type[Label | Text | Json | Npy]] = {"cls": Label, "txt": Text, "json": Json, "npy": Npy}


def field_of(component: str) -> Field:
    """The field that a component such as "cls" or "caption.txt" is; ValueError for one that says none."""
    kind = component.rpartition(".")[2]
    if kind not in _KINDS:
        raise ValueError(
            f"target must be None or end in one of {', '.join(_KINDS)}, got {component!r}: say what it is by a field, "
            f"as fd.Mask({component!r}) or fd.Raw({component!r})"
        )
    return _KINDS[kind](component)


def check_kept(name: str, min_area: float, min_visibility: float) -> None:
    """ValueError where these don't say which boxes to keep."""
    if not min_area >= 0:
        raise ValueError(f"{name}: min_area must be at least 0 pixels, got {min_area!r}")
    if not 0 <= min_visibility <= 1:
        raise ValueError(f"{name}: min_visibility must lie between 0 and 1, got {min_visibility!r}")


def _is_array(component: str) -> bool:
    return component.rpartition(".")[2].lower() == "npy"
