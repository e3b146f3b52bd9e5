"""Which components of a sample in a shard are its image, and which a field of its target."""

from collections.abc import Iterable, Sequence
from typing import Any

from fastdata.datasets.fields import Declared, Target, declared
from fastdata.errors import NoImageError, TargetError
from fastdata.sample import IMAGE_EXTENSIONS
from fastdata.sources.regular import refuse_larger
from fastdata.sources.shard import Shard
from fastdata.sources.targets import read_field
from fastdata.sources.tars.index import NO_CLASS
from fastdata.transforms.fields import Field, Label

IMAGES = ";".join(IMAGE_EXTENSIONS)


def extensions_of(image: str) -> tuple[str, ...]:
    """The extensions that an `image=` names; ValueError where it names none."""
    extensions = tuple(image.lower().split(";"))
    if not all(extensions):
        raise ValueError(f"image must name extensions, as 'jpg;png', got {image!r}")
    return extensions


def no_image(extensions: Sequence[str], has: Iterable[str], key: str, where: str) -> NoImageError:
    """The error of a sample that has none of the components that its image could be, but others."""
    cause = f"it has none of the components {';'.join(extensions)}, but {', '.join(has)}: say image='...'"
    return NoImageError(cause, key, where)


def no_component(component: str, has: Iterable[str]) -> TargetError:
    """The error of a sample without a field's component; whoever reads the field says which sample that is."""
    return TargetError(f"there is no component {component!r} (it has {', '.join(has)})")


def declared_of_shards(target: Target) -> Declared | None:
    """The fields that a `target=` names; ValueError where one is stored in files, as a folder's may be."""
    fields = declared(target)
    for component in fields.components if fields else []:
        if "/" in component or "{" in component:
            raise ValueError(f"a shard's component is an extension, such as 'seg.png', not the path {component!r}")
    return fields


def read_shard_field(shard: Shard, row: int, max_bytes: int, field: Field) -> Any:
    """A field of the sample in a row: a class as the index knows it, else what its component holds.

    TargetError or TarError where that can't be used, ReadError where it has more than `max_bytes`.
    """
    if field == Label("cls") and (index := shard.cls(row)) != NO_CLASS:
        return index
    extension = field.component.lower()
    component = shard.find(row, (extension,))
    if component is None:
        raise no_component(extension, shard.extensions_of(row))
    refuse_larger(f"its component {component.extension!r}", component.size, max_bytes)
    return read_field(field, shard.read_component(component)[1])
