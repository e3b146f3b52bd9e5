"""Where a Loader's time went."""

import time
from pathlib import Path

import pytest

from fastdata.loading.loader import Loader
from fastdata.loading.stats import Stats
from support.numbered import COUNT, map_style


class TestStats:
    def test_before_an_iteration_there_is_nothing(self, folder: Path) -> None:
        stats = Loader(map_style(folder), 4).stats()
        assert (stats.images, stats.seconds, stats.images_per_second) == (0, 0.0, 0.0)

    def test_they_count_images_and_share_out_the_time(self, folder: Path) -> None:
        loader = Loader(map_style(folder), 4, num_threads=3)
        batches = iter(loader)
        next(batches)
        assert loader.stats().images == 4
        list(batches)
        stats = loader.stats()
        assert stats.images == COUNT
        assert min(stats.read, stats.draw, stats.decode, stats.resize) > 0
        assert stats.read + stats.draw + stats.decode + stats.resize + stats.threads_waited <= 3 * stats.seconds
        assert stats.caller_waited <= stats.seconds
        assert stats.images_per_second == COUNT / stats.seconds
        assert loader.stats() == stats  # the clock stands still from the epoch's end on

    def test_an_iteration_that_another_has_closed_says_so_and_does_not_stop_its_clock(self, folder: Path) -> None:
        loader = Loader(map_style(folder), 4)
        old, new = iter(loader), iter(loader)
        next(old)
        next(new)
        with pytest.raises(RuntimeError, match="was closed: iterate over the Loader again"):
            next(old)
        assert len(list(new)) == 9
        assert loader.stats().images == COUNT

    def test_a_caller_that_keeps_the_threads_waiting_is_the_bottleneck(self, folder: Path) -> None:
        batches = iter(loader := Loader(map_style(folder), 1, num_threads=1, prefetch=1))
        next(batches)
        waited = loader.stats().threads_waited
        for _ in batches:  # as many as a busy machine needs
            if (stats := loader.stats()).threads_waited - waited > 0.1 and stats.bottleneck == "caller":
                break
            begun = time.monotonic()
            while time.monotonic() - begun < 0.2:  # training; the thread has nothing to do meanwhile
                pass
        else:
            pytest.fail(f"the thread hardly waited: {loader.stats()}")
        loader.close()

    def test_the_bottleneck_is_the_side_that_is_not_waiting(self) -> None:
        stats = Stats(
            1, 10.0, 2, read=1.0, draw=0.5, decode=9.0, resize=3.0, map=0.0, threads_waited=6.0, caller_waited=2.0
        )
        assert stats.bottleneck == "caller"
        assert stats._replace(caller_waited=4.0).bottleneck == "decode"
        assert stats._replace(caller_waited=4.0, read=9.5).bottleneck == "read"
