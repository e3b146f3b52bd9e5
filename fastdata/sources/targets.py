"""A sample's target from the bytes of a component, by its extension: cls, txt, json or npy."""

import io
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib import format as npy

from fastdata.errors import TargetError


def target_kind(component: str) -> str:
    """The kind of a component such as "cls" or "caption.txt"; ValueError for one that is no target."""
    kind = component.rpartition(".")[2]
    if kind not in _KINDS:
        raise ValueError(f"target must be None or end in one of {', '.join(_KINDS)}, got {component!r}")
    return kind


def read_target(component: str, data: bytes) -> Any:
    """The target in the bytes: an int, a str, a dict or an array. TargetError where they hold no such thing.

    Nothing is unpickled: an array of Python objects is an error.
    """
    read = _KINDS[target_kind(component)]
    try:
        return read(data)
    except RecursionError:
        raise TargetError("is nested too deeply") from None
    except ValueError as error:
        raise TargetError(str(error)) from error


def _class_index(data: bytes) -> int:
    number = int(data)
    if not -(2**63) < number < 2**63:
        raise ValueError(f"{number} is no 64-bit integer")
    return number


def _json_object(data: bytes) -> dict[str, Any]:
    target = json.loads(data)
    if not isinstance(target, dict):
        raise ValueError(f"holds no JSON object but a {type(target).__name__}")
    return target


def _array(data: bytes) -> np.ndarray[Any, np.dtype[Any]]:
    """The array in .npy bytes, in native byte order. Its header may claim no more than there are bytes for."""
    file = io.BytesIO(data)
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"is of .npy version {version}, not 1.0 or 2.0")
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran_order, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError("holds Python objects, which are not unpickled")
    if len(data) - file.tell() != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"claims shape {shape} of {dtype}, but has {len(data) - file.tell()} bytes")
    array = np.frombuffer(data, dtype, offset=file.tell()).reshape(shape, order="F" if fortran_order else "C")
    return array.astype(dtype.newbyteorder("="))


_KINDS: dict[str, Callable[[bytes], Any]] = {
    "cls": _class_index,
    "txt": lambda data: data.decode("utf-8"),
    "json": _json_object,
    "npy": _array,
}
