"""What is delivered as a sample's class is what its shard says now, whatever the shard's index has."""

import os
from pathlib import Path
from typing import Any

import pytest

from fastdata.datasets.store import TarImageMapDataset
from fastdata.errors import SampleError
from fastdata.images import kernel
from fastdata.sources.tars import index
from fastdata.sources.tars.writer import ShardWriter
from fastdata.transforms.fields import Label
from support.numbered import TRAIN
from support.pictures import jpeg

COUNT = 40


def write(path: Path, labels: list[int]) -> None:
    with ShardWriter(path) as writer:
        for number, label in enumerate(labels):
            writer.write(f"{number:03}", {"jpg": jpeg(16, 16, 0), "cls": b"%d" % label})


@pytest.mark.parametrize("with_kernel", [True, False])
@pytest.mark.parametrize("target", ["cls", ["cls"], {"label": Label("cls")}])
def test_a_changed_label_is_delivered_or_its_sample_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: Any, with_kernel: bool
) -> None:
    if not with_kernel:
        monkeypatch.setattr(kernel, "KERNEL", None)
    path, labels = tmp_path / "a.tar", [1] * COUNT
    write(path, labels)
    stored, status = index.index_path(path).read_bytes(), path.stat()
    labels[2] = 3
    write(path, labels)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    index.index_path(path).write_bytes(stored)
    index._memory.clear()
    dataset = TarImageMapDataset(path, TRAIN, target=target)
    samples = dataset.read_some(range(6))
    assert [isinstance(sample, SampleError) for sample in samples].count(True) == 1
    assert isinstance(samples[2], SampleError)
    assert samples[2].key == "002"
    assert "its class is b'3' now, and was 1" in samples[2].cause
    assert samples[1].target in (1, {"cls": 1}, {"label": 1})  # type: ignore[union-attr]


def test_of_a_shard_that_changed_throughout_nothing_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write(path, [1] * COUNT)
    stored, status = index.index_path(path).read_bytes(), path.stat()
    write(path, [2] * COUNT)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    index.index_path(path).write_bytes(stored)
    index._memory.clear()
    dataset = TarImageMapDataset(path, TRAIN)
    assert dataset.targets.tolist() == [2] * COUNT  # type: ignore[union-attr]
    assert [dataset[number][1] for number in range(COUNT)] == [2] * COUNT
