"""`map=`: any function of a sample's image, or of its image and target, with the random numbers of that sample.

Python's and numpy's global generators are one for the whole process. So a Loader's threads apply their maps in turn,
one at a time; and a training loop that draws from these two at the very same moment draws a sample's numbers, and the
sample the next ones. torch's are not concerned. Where that matters, or the time that a map takes, torch's DataLoader
with workers has a process for each, and they share nothing.
"""

import inspect
import threading
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from torch import Tensor, nn

from fastdata.datasets.generators import seeded, seeded_beside
from fastdata.sample import Pair

Map = Callable[..., Any]


class SampleMap:
    """A function of image tensors, or of (image, target) where it has two required positional arguments.

    TypeError for what is no function.
    """

    def __init__(self, function: Map) -> None:
        if not callable(function):
            raise TypeError(f"map is a function of the image, or of image and target, got {function!r}")
        self._function = function
        self._takes_target = _required(function) == 2

    def __call__(self, pair: Pair, rng: int) -> Pair:
        """What the function makes of a pair, with all generators seeded by the sample's `rng`.

        What the function raises is raised as it is, with a note that names the sample; TypeError where it gives
        neither a tensor nor (tensor, target).
        """
        image, target = pair
        seed = int.from_bytes(blake2b(b"map/%d" % rng, digest_size=8).digest(), "little")
        try:
            with seeded(seed) if threading.current_thread() is threading.main_thread() else seeded_beside(seed):
                result = self._function(image, target) if self._takes_target else self._function(image)
        except Exception as error:
            error.add_note(f"raised by map= for sample {pair.key!r}")
            raise
        image, target = result if isinstance(result, tuple | list) and len(result) == 2 else (result, target)
        if not isinstance(image, Tensor):
            raise TypeError(
                f"map= gives a tensor or (tensor, target), got {type(result).__name__} for sample {pair.key!r}: "
                "torch.from_numpy makes a tensor of an array"
            )
        return Pair(image, target, pair.key, pair.view)


def _required(function: Map) -> int:
    """The number of its required positional arguments."""
    try:
        signature = inspect.signature(function.forward if isinstance(function, nn.Module) else function)
    except ValueError:  # some that are written in C have none
        return 1
    positional = [p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return sum(parameter.default is parameter.empty for parameter in positional)
