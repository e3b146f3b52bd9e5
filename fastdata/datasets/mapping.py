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
    """A function of image tensors, or of (image, target) where it takes two.

    It does where it has two required positional arguments, or a second one that is named `target` or `label`.

    TypeError for what is no function.
    """

    def __init__(self, function: Map) -> None:
        if not callable(function):
            raise TypeError(f"map is a function of the image, or of image and target, got {function!r}")
        self._function = function
        self._takes_target = _takes_target(function)

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
        if isinstance(result, tuple | list) and len(result) == 2:
            if not self._takes_target and (result[1] is None or _are_alike(*result)):
                raise TypeError(
                    f"map= of the image alone gave two for sample {pair.key!r}, of which the second is no target: take "
                    "(image, target), or draw several views by fd.Views"
                )
            image, target = result
        else:
            image = result
        if not isinstance(image, Tensor):
            raise TypeError(
                f"map= gives a tensor or (tensor, target), got {type(result).__name__} for sample {pair.key!r}: "
                "torch.from_numpy makes a tensor of an array"
            )
        return Pair(image, target, pair.key, pair.view)


def _are_alike(one: Any, other: Any) -> bool:
    return isinstance(one, Tensor) and isinstance(other, Tensor) and one.shape == other.shape


_OF_TARGET = frozenset(["target", "targets", "label", "labels"])


def _takes_target(function: Map) -> bool:
    """Whether it has two required positional arguments, or a second one named as a target, maybe with a default."""
    try:
        signature = inspect.signature(function.forward if isinstance(function, nn.Module) else function)
    except ValueError:  # some that are written in C have none
        return False
    positional = [p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = sum(parameter.default is parameter.empty for parameter in positional)
    return required == 2 or (required < 2 <= len(positional) and positional[1].name in _OF_TARGET)
