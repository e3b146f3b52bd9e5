"""Ranks and workers train from an object store: each sample once, each byte once a node where the cache suffices."""

import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from support.far_ranks import WAYS, Job, Rank, Way, deliver_together, epoch_of, ranks, together
from support.http_server import Server
from support.object_store import COUNT, Packed, times_asked_for
from support.processes import PATIENCE
from support.servers import S3

pytestmark = pytest.mark.slow

TOO_SMALL = 300_000  # bytes of a cache: the shards have four times as many


@pytest.mark.parametrize("way", WAYS)
def test_each_sample_comes_once_and_each_byte_once_a_node(
    packed: Packed, proxy: Server, two: list[Rank], tmp_path: Path, way: Way
) -> None:
    for epoch in range(2):
        proxy.requests.clear()
        job = Job(packed.url, str(tmp_path), way=way, epoch=epoch)
        found = together(deliver_together(two, job.on(2)))
        assert found == epoch_of(packed.local, epoch=epoch)
        assert len(found) == COUNT
        assert set(times_asked_for(proxy.requests).values()) == ({1} if epoch == 0 else set())
        indexes = [each for each in proxy.requests if each.method == "GET" and each.path.endswith(".npy")]
        assert len(indexes) == (epoch == 0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shuffle", ["full", "window"])
def test_a_cache_that_is_too_small_gives_the_same(
    packed: Packed, two: list[Rank], tmp_path: Path, way: Way, shuffle: str
) -> None:
    job = Job(packed.url, str(tmp_path), TOO_SMALL, way, shuffle)
    found = together(deliver_together(two, job.on(2)))
    assert found == epoch_of(packed.local, shuffle=shuffle)


@pytest.mark.parametrize("world_size", [1, 4])
@pytest.mark.parametrize("way", WAYS)
def test_other_numbers_of_ranks_go_on_at_the_next_sample(
    packed: Packed, two: list[Rank], tmp_path: Path, way: Way, world_size: int
) -> None:
    begun = Job(packed.url, str(tmp_path), way=way, batches=5)
    first = deliver_together(two, begun.on(2))
    assert first[0].state == first[1].state
    rest = Job(packed.url, str(tmp_path), way=way, state=first[0].state)
    second = deliver_together(two, rest.on(world_size))
    assert together(first + second) == epoch_of(packed.local)


def wait_for_requests(proxy: Server, number: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(proxy.requests) < number:
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_when_a_rank_is_ended_others_go_on_and_another_takes_its_place_with_the_same_cache(
    packed: Packed, proxy: Server, two: list[Rank], tmp_path: Path, way: Way, number: signal.Signals
) -> None:
    jobs = Job(packed.url, str(tmp_path), way=way).on(2)
    with ranks(1, S3(f"http://127.0.0.1:{proxy.port}").environment) as [unlucky]:
        proxy.requests.clear()
        two[0].begin(jobs[0])
        unlucky.begin(jobs[1])
        wait_for_requests(proxy, 20)
        with proxy.holding():
            unlucky.process.send_signal(number)
            assert unlucky.process.wait(PATIENCE) == -number
    first = two[0].delivered()
    assert together([first, *deliver_together(two[1:], jobs[1:])]) == epoch_of(packed.local)


def test_two_nodes_have_a_cache_each(packed: Packed, proxy: Server, two: list[Rank], tmp_path: Path) -> None:
    proxy.requests.clear()
    jobs = Job(packed.url, str(tmp_path)).on(2)
    nodes = [replace(job, cache=str(tmp_path / str(job.rank))) for job in jobs]
    assert together(deliver_together(two, nodes)) == epoch_of(packed.local)
    assert set(times_asked_for(proxy.requests).values()) <= {1, 2}
