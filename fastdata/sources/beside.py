"""A field's files in a folder: beside the image, or at a path that the image's says."""

import re
from collections.abc import Iterable

from fastdata.errors import TargetError
from fastdata.sources.faults import is_machines
from fastdata.sources.regular import MAX_BYTES, read_regular

_PLACES = re.compile(r"\{(key|name)\}")


def check_components(components: Iterable[str], labelled: bool) -> None:
    """ValueError for a path that leaves the folder or has no place for a key, and for a label where there is none."""
    for component in components:
        if component == "cls":
            if not labelled:
                raise ValueError("the field 'cls' is what labels= makes of an image, and that is None")
            continue
        parts = component.split("/")
        if component.startswith("/") or not all(parts) or not {".", ".."}.isdisjoint(parts) or "\0" in component:
            raise ValueError(f"{component!r} must be an extension, or a path below the root without '.', '..' or '//'")
        if _PLACES.sub("", component) != component:
            continue
        if len(parts) > 1 or "{" in component:
            raise ValueError(
                f"{component!r} is the same for each image: '{{key}}' stands for its path without the extension, "
                "'{name}' for the last part of that"
            )


def read_component(root: str, image: str, component: str, limit: int = MAX_BYTES) -> bytes:
    """The bytes of an image's component; `image` is its path below `root`, `limit` in bytes.

    TargetError where it can't be read, OSError where the machine is at fault.
    """
    path = f"{root}/{component_path(image, component)}"
    try:
        return read_regular(path, limit)
    except FileNotFoundError as error:
        raise TargetError(f"there is no file {path}") from error
    except OSError as error:
        if is_machines(error):
            raise
        raise TargetError(f"{path} can't be read: {error.strerror}" if error.strerror else str(error)) from error


def component_path(image: str, component: str) -> str:
    """The path, below the root, of a component of the image at `image`."""
    folder, slash, base = image.rpartition("/")
    name = base.rpartition(".")[0] or base
    key = folder + slash + name
    if _PLACES.search(component) is None:
        return f"{key}.{component}"
    return _PLACES.sub(lambda place: key if place[1] == "key" else name, component)
