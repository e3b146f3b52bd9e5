"""An array from .npy bytes, which may be anybody's."""

import io
import math
from typing import Any

import numpy as np
from numpy.lib import format as npy

from fastdata.errors import TargetError

# numpy has Python parse an array's header, and Python up to 3.12 counts its parser's depth for all threads together:
# a thread that reads an array while others do at times gets a SystemError for it (python/cpython#106905).
_ATTEMPTS = 3


def read_npy(data: bytes) -> np.ndarray[Any, np.dtype[Any]]:
    """The array in .npy bytes, in native byte order. Its header may claim no more than there are bytes for.

    TargetError where there is none, or one of Python objects, which are not unpickled.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return _read(data)
        except TargetError:
            raise
        except SystemError as error:
            if attempt == _ATTEMPTS - 1:
                raise TargetError(f"can't be read as .npy: {error}") from error
        except Exception as error:  # numpy's parser raises whatever a damaged header leads it to
            raise TargetError(f"can't be read as .npy: {error or type(error).__name__}") from error
    raise AssertionError("the last attempt raises")


def _read(data: bytes) -> np.ndarray[Any, np.dtype[Any]]:
    file = io.BytesIO(data)
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise TargetError(f"is of .npy version {version}, not 1.0 or 2.0")
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran_order, dtype = read_header(file)
    if dtype.hasobject:
        raise TargetError("holds Python objects, which are not unpickled")
    if len(data) - file.tell() != math.prod(shape) * dtype.itemsize:
        raise TargetError(f"claims shape {shape} of {dtype}, but has {len(data) - file.tell()} bytes")
    array = np.frombuffer(data, dtype, offset=file.tell()).reshape(shape, order="F" if fortran_order else "C")
    return array.astype(dtype.newbyteorder("="))
