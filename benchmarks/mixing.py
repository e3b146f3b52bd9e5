"""How well a shuffle by blocks mixes, and what it reads: python benchmarks/mixing.py

Nothing is read: samples are numbers, sorted by class. Of the order of an epoch it counts the classes in each batch, and
which blocks are open at a time, that is, read in part.
"""

import argparse
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from fastdata.epoch.orders import PlainOrders
from fastdata.epoch.window import Window, WindowOrders

Ints = npt.NDArray[np.int64]

WINDOWS = (
    Window(5),
    Window(10),
    Window(10, window=200),
    Window(10, window=4000),
    Window(10, streams=16),
    Window(10, streams=256),
    Window(10, global_batch=4096),
    Window(40),
    Window(100),
    Window(500),
    Window(10_000),
)


class Material(NamedTuple):
    """What is shuffled, and into which batches."""

    samples: int
    classes: int
    batch: int
    bytes: int
    seed: int


def chi_square(order: Ints, material: Material) -> float:
    """That of the classes in a batch, on average over the batches, as a fraction of that of independent draws."""
    batches = order[: len(order) // material.batch * material.batch].reshape(-1, material.batch)
    labels = batches * material.classes // material.samples
    expected = material.batch / material.classes
    counts = (np.bincount(each, minlength=material.classes) for each in labels)
    return float(np.mean([((each - expected) ** 2).sum() / expected for each in counts])) / (material.classes - 1)


def most_open(blocks: Ints) -> int:
    """Of how many blocks at most some samples have come, and others are still to come."""
    changes = np.zeros(len(blocks) + 1, np.int64)
    changes[np.unique(blocks, return_index=True)[1]] += 1
    changes[len(blocks) - np.unique(blocks[::-1], return_index=True)[1]] -= 1
    return int(np.cumsum(changes).max())


class Mixed(NamedTuple):
    """Excess of the classes' chi-square over a full shuffle's, as counted and predicted; requests; bytes open.

    None is what is not predicted, or nothing that is held.
    """

    name: str
    excess: float
    predicted: float | None
    requests: int
    open: float | None


def mixed(orders: PlainOrders | WindowOrders, name: str, material: Material) -> Mixed:
    order = orders.of(0).picks(np.arange(material.samples)).numbers
    of_full = (material.samples - material.batch) / (material.samples - 1)  # draws without replacement
    excess = chi_square(order, material) - of_full
    if isinstance(orders, PlainOrders):
        requests = material.samples if orders.shuffle else -(-material.samples // material.batch)
        return Mixed(name, excess, None, requests, None)
    opened = most_open(order // orders.block_size) * orders.block_size * material.bytes
    of_one_class = orders.block_size <= material.samples / material.classes
    predicted = orders.excess(material.batch) if of_one_class else None
    return Mixed(name, excess, predicted, -(-material.samples // orders.block_size), opened)


def all_mixed(material: Material) -> Iterator[Mixed]:
    """In file order, in a full shuffle, and by blocks."""
    for name, shuffle in (("none", False), ("full", True)):
        yield mixed(PlainOrders(material.samples, shuffle, material.seed), name, material)
    for window in WINDOWS:
        orders = window.over(material.samples, material.seed, material.bytes)
        yield mixed(orders, "blocks of {:,}, {} streams of {:,}, rounds of {:,}".format(*shown(window)), material)


def cells(of: Mixed) -> tuple[str, ...]:
    return (
        of.name,
        f"{round(of.excess, 2) + 0.0:.2f}",  # no -0.0
        "" if of.predicted is None else f"{of.predicted:.2f}",
        f"{of.requests:,}",
        "" if of.open is None else f"{of.open / 1e9:.1f}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--samples", type=int, default=1_280_000)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=1024, help="over all ranks")
    parser.add_argument("--bytes", type=int, default=100_000, help="of a sample")
    parser.add_argument("--seed", type=int, default=0)
    material = Material(**vars(parser.parse_args()))

    title = "{:,} samples of {:,} classes, sorted by class; batches of {:,}; {:,} bytes a sample"
    table = Table(title=title.format(*material), title_justify="left")
    for column in ("shuffle", "excess chi-square", "predicted", "requests an epoch", "GB open"):
        table.add_column(column, justify="left" if column == "shuffle" else "right")
    for of in all_mixed(material):
        table.add_row(*cells(of))
    Console(width=120).print(table)


def shown(window: Window) -> tuple[int | None, int, int, int]:
    return window.block_size, window.streams, window.window, window.global_batch


if __name__ == "__main__":
    main()
