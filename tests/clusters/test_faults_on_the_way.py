"""A network that fails: the same samples as from this disk, or an error that names them; never another one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.far_ranks import WAYS, Job, Rank, Way, deliver_together, epoch_of, together
from support.http_server import Fault, Server
from support.object_store import COUNT, Packed
from support.unreliable import Damaged, Unreliable

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def proxy_heals(proxy: Server) -> Iterator[None]:
    """After a test nothing fails any more."""
    yield
    proxy.script = None


@pytest.mark.parametrize("way", WAYS)
def test_what_fails_for_a_moment_changes_nothing(
    packed: Packed, proxy: Server, two: list[Rank], tmp_path: Path, way: Way
) -> None:
    script = proxy.script = Unreliable(seed=0, share=0.4)
    job = Job(packed.url, str(tmp_path), way=way)
    assert together(deliver_together(two, job.on(2))) == epoch_of(packed.local)
    assert all(script.seen[kind] for kind in ("drop", "status", "cut", "short", "delay", "flip")), script.seen


def test_bytes_that_stay_others_are_skipped_by_name_or_end_the_epoch(
    packed: Packed, proxy: Server, two: list[Rank], tmp_path: Path
) -> None:
    proxy.script = Damaged([("train-000001.tar", 60_000), ("train-000003.tar", 160_000)])
    skipping = deliver_together(two, Job(packed.url, str(tmp_path), on_error="skip").on(2))
    good, expected = together(skipping), epoch_of(packed.local)
    assert set(good) < set(expected)
    assert len(set(good)) == COUNT - 2
    places = sorted(where.partition(", offset ")[0] for each in skipping for _, where, _ in each.skipped)
    assert places == [packed.url.replace("train.json", f"train-00000{number}.tar") for number in (1, 3)]
    assert all("not those that were packed" in cause for each in skipping for *_, cause in each.skipped)
    for way in WAYS:
        ended = deliver_together(two, Job(packed.url, str(tmp_path), way=way).on(2))
        errors = [each.error for each in ended if each.error]
        assert errors
        assert all(error.startswith("ReadError: ") and "s3://photos/out/train-00000" in error for error in errors)
        assert {sample for each in ended for sample in each.samples} <= set(expected)


@pytest.mark.parametrize("way", WAYS)
def test_a_store_that_is_down_is_an_error_with_its_url_and_its_answer(
    packed: Packed, proxy: Server, two: list[Rank], tmp_path: Path, way: Way
) -> None:
    proxy.script = lambda request: Fault(status=503 if request.path.endswith(".tar") else 0)
    for each in deliver_together(two, Job(packed.url, str(tmp_path), way=way, on_error="skip").on(2)):
        assert each.samples == []
        assert each.error.startswith("OSError: ")
        assert "s3://photos/out/train-00000" in each.error
        assert "503" in each.error
        assert "tried 10 times" in each.error
