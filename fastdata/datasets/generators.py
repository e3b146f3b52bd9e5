"""Python's, numpy's and torch's global generators, seeded for what draws from them and put back after it."""

import functools
import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# Python's and numpy's are one for the whole process: one thread at a time has them seeded. Nested, since a function
# that is applied to a sample may well load another one.
_turn = threading.RLock()


def _new_turn() -> None:
    global _turn
    _turn = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_turn)  # whoever had it did not come along


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Python's, numpy's and torch's generators start at `seed` (below 2**64), and go on after it as if nothing was.

    torch's are that of the CPU and, where it is given, that of a CUDA `device`. For the thread that
    trains, or a process of its own: of torch's generators it takes the very ones that everybody draws from.
    """
    with _python_and_numpy(seed), _torch(seed, device):
        yield


@contextmanager
def seeded_beside(seed: int) -> Iterator[None]:
    """The same numbers on the CPU, in a thread beside the one that trains.

    torch's generator, which training draws from meanwhile, is left alone: whatever this thread draws by torch comes
    from a generator of its own. Python's and numpy's can't be had twice, so threads take turns with them.
    """
    with _python_and_numpy(seed), _DrawsFrom(torch.Generator().manual_seed(seed)):
        yield


@contextmanager
def _python_and_numpy(seed: int) -> Iterator[None]:
    with _turn:
        python, of_numpy = random.getstate(), np.random.get_state()
        random.seed(seed)
        np.random.seed([seed & 0xFFFFFFFF, seed >> 32, 1])  # without the 1 its numbers would be Python's
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(of_numpy)


@contextmanager
def _torch(seed: int, device: torch.device | None) -> Iterator[None]:
    generators = [torch.default_generator]
    if device is not None and device.type == "cuda":
        generators.append(torch.cuda.default_generators[device.index])
    kept = [generator.get_state() for generator in generators]
    for generator in generators:  # not torch.manual_seed, which seeds those of all devices
        generator.manual_seed(seed)
    try:
        yield
    finally:
        for generator, state in zip(generators, kept, strict=True):
            generator.set_state(state)


class _DrawsFrom(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """In the thread that enters it, operators draw from `generator` instead of torch's global one.

    RuntimeError for one that draws and takes no generator. Which ones draw torch says itself: it tags them. What is
    said here is only of this thread's stack of modes: entering by torch's own `__enter__` would also change flags of
    the whole process, by which torch.compile, in the thread that trains, decides whether to compile.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._generator = generator

    def __enter__(self) -> Self:
        torch._C._push_on_torch_dispatch_stack(self)
        return self

    def __exit__(self, *_: object) -> None:
        torch._C._pop_torch_dispatch_stack(None)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        if func.overloadpacket in _LIKE:
            return self._drawn_like(func, args, kwargs)
        seeded_func = _with_generator(func)
        if seeded_func is not None:
            return seeded_func(*args, **kwargs, generator=self._generator)
        if not _dropout_of(func, args, kwargs):
            return func(*args, **kwargs)
        raise RuntimeError(
            f"{func} draws random numbers and takes no generator, so that in a thread it can't be seeded for its "
            "sample: load by torch's DataLoader, whose workers are processes"
        )

    def _drawn_like(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        """`rand_like` and its kin, which take no generator, as torch itself makes them: filled in place."""
        like, *limits = args
        limits += [kwargs.pop(name) for name in ("low", "high") if name in kwargs]
        drawn: Tensor = torch.ops.aten.empty_like.default(like, **kwargs)
        packet = func.overloadpacket
        if packet == torch.ops.aten.rand_like:
            return drawn.uniform_(generator=self._generator)
        if packet == torch.ops.aten.randn_like:
            return drawn.normal_(generator=self._generator)
        low, high = (0, *limits)[-2:]
        return drawn.random_(int(low), int(high), generator=self._generator)


_LIKE = (torch.ops.aten.rand_like, torch.ops.aten.randn_like, torch.ops.aten.randint_like)


def _arguments(func: Any) -> list[tuple[str, str]]:
    """Names and types, without that of a generator."""
    return [(each.name, str(each.type)) for each in func._schema.arguments if each.name != "generator"]


@functools.cache
def _with_generator(func: Any) -> Any:
    """The operator itself where it takes a generator, else its overload that does; None where there is none."""
    packet = func.overloadpacket
    for other in (func, *(getattr(packet, name) for name in packet.overloads())):
        takes = any(argument.name == "generator" for argument in other._schema.arguments)
        if takes and _arguments(other) == _arguments(func):
            return other
    return None


def _dropout_of(func: Any, args: Any, kwargs: Any) -> float:
    """The share that an operator with a `dropout_p` drops; 1 for all others, which draw whatever they are given."""
    for position, argument in enumerate(func._schema.arguments):
        if argument.name == "dropout_p":
            given = args[position] if position < len(args) else kwargs.get("dropout_p", argument.default_value)
            return float(given)
    return 1.0
