"""Orders over samples that nobody reads: 50 of them, of three classes."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from fastdata.epoch.cursor import EpochCursor
from fastdata.epoch.order import Picks
from fastdata.epoch.orders import Order, Orders, Shuffle, orders_of
from fastdata.epoch.parts import Parts, PartsOrders, Schedule

SEED, SAMPLES = 3, 50
TARGETS = np.array([0] * 30 + [1] * 15 + [4] * 5)
WEIGHTS = np.random.default_rng(0).uniform(0, 3, SAMPLES)


def over(order: Order | None, shuffle: Shuffle | None = True, seed: int = SEED) -> Orders:
    dataset = SimpleNamespace(targets=TARGETS)
    return orders_of(dataset, SAMPLES, order, shuffle, seed)


def mix(num_samples: int = 60, schedule: dict[int, list[int]] | None = None, shuffle: bool = True) -> PartsOrders:
    """Of parts of 30, 15 and 5 samples."""
    whole = {first: np.array(weights) for first, weights in (schedule or {0: [3, 2, 1]}).items()}
    return PartsOrders(num_samples, shuffle, SEED, Parts(np.array([30, 15, 5])), Schedule(whole), "Mix")


def picked(orders: Orders, epoch: int) -> list[tuple[int, int]]:
    """Number and view epoch at each position of an epoch."""
    return pairs(orders.of(epoch).picks(np.arange(orders.num_positions)))


def pairs(picks: Picks) -> list[tuple[int, int]]:
    epochs = np.broadcast_to(picks.epochs, picks.numbers.shape)
    return list(zip(picks.numbers.tolist(), epochs.tolist(), strict=True))


def cursor(orders: Orders, batch_size: int, rank: int, world_size: int, **how: Any) -> EpochCursor:
    return EpochCursor(orders, batch_size, how.get("last", "partial"), (rank, world_size), lambda: "these")
