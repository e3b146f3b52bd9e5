"""Ways to load take turns; each is told its own images/s, however many epochs that takes."""

import re
import time
from collections.abc import Iterator

import torch

import fastdata as fd
from fastdata.commands.measure import images_per_second
from fastdata.cpus import cpu_model


class Batches:
    """Epochs of some batches, each after a while; remembers when each was asked for."""

    def __init__(self, images: int, seconds: float) -> None:
        self.batch = fd.Batch(torch.zeros(images, 3, 1, 1), torch.zeros(images), ["a"] * images)
        self.seconds, self.epochs, self.closed = seconds, 0, 0
        self.asked: list[float] = []

    def __iter__(self) -> Iterator[fd.Batch]:
        self.epochs += 1
        try:
            for _ in range(5):
                self.asked.append(time.perf_counter())
                time.sleep(self.seconds)
                yield self.batch
        finally:
            self.closed += 1


def test_each_way_is_told_its_own_speed_and_is_closed_in_the_end() -> None:
    few, many = Batches(2, 0.005), Batches(200, 0.005)
    speeds = images_per_second({"few": few, "many": many}, rounds=2, seconds=0.1)
    assert 0 < speeds["few"] < 2 / 0.005
    assert speeds["few"] < speeds["many"]
    assert few.epochs == few.closed > 1
    order = "".join(name for _, name in sorted([(t, "f") for t in few.asked] + [(t, "m") for t in many.asked]))
    assert re.fullmatch("fm(f+m+){2}", order), "each way has a turn, then each has another"


def test_a_cpu_has_a_name() -> None:
    assert cpu_model()
