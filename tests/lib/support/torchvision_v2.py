"""torchvision's v2 functions, for tests to compare with, from a folder where pip's `--target` put it."""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

FOLDER = os.environ.get("FASTDATA_TORCHVISION", "")


@contextmanager
def functional() -> Iterator[Any]:
    """`torchvision.transforms.v2.functional`: skips where there is none, fails if FASTDATA_REQUIRE_TOOLS is set.

    Its wheel is for another torch than the CPU's: its compiled operators are not there, and declared in their place.
    Afterwards nobody else finds it, since Lightning and others behave differently where it is.
    """
    if not FOLDER:
        if os.environ.get("FASTDATA_REQUIRE_TOOLS"):
            pytest.fail("FASTDATA_TORCHVISION names no folder with torchvision, and FASTDATA_REQUIRE_TOOLS is set")
        pytest.skip("FASTDATA_TORCHVISION names no folder with torchvision")
    operators = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    sys.path.append(FOLDER)
    try:
        yield importlib.import_module("torchvision.transforms.v2.functional")
    finally:
        sys.path.remove(FOLDER)
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
