"""The corpus of tars: each gives the same samples, or the same error, whatever reads it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader

from fastdata.datasets.shards import TarImageDataset
from fastdata.datasets.store import TarImageMapDataset
from fastdata.errors import TarError
from fastdata.images import kernel
from fastdata.loading.loader import Loader
from fastdata.packing.to_verify import Listed
from fastdata.packing.verify import faults_of
from fastdata.sources.tars.index import store_index
from fastdata.sources.tars.tar import members
from fastdata.sources.tars.webdataset import dali_index
from fastdata.transforms.steps import Resize
from support.corpus.archives import IMAGE, KINDS, Archive, archives, table
from support.tars import as_tarfile_sees

CASES = list(archives())
TRANSFORM = [Resize((40, 48))]


def named(case: Archive) -> str:
    return f"{case.kind.what[:12]}: {case.name}"


@pytest.fixture(params=CASES, ids=named)
def case(request: pytest.FixtureRequest) -> Archive:
    made: Archive = request.param
    return made


@pytest.fixture
def path(case: Archive, tmp_path: Path) -> Path:
    file = tmp_path / "odd.tar"
    file.write_bytes(case.content)
    return file


def read(path: Path) -> list[str]:
    dataset = TarImageMapDataset(path, TRANSFORM, target=None)
    samples = [dataset.read(number) for number in range(dataset.num_samples)]
    assert all(sample.image == IMAGE for sample in samples)
    return [sample.key for sample in samples]


def read_by_kernel(path: Path) -> list[str]:
    dataset: Any = TarImageMapDataset(path, TRANSFORM, target=None)
    samples = dataset.read_some(range(dataset.num_samples))
    assert all(bytes(sample.image) == IMAGE for sample in samples)
    return [sample.key for sample in samples]


def by_workers(path: Path) -> list[str]:
    dataset = TarImageDataset(path, TRANSFORM, target=None, batch_size=2)
    return [key for batch in DataLoader(dataset, batch_size=None) for key in batch.keys]


def by_loader(path: Path) -> list[str]:
    loader = Loader(TarImageDataset(path, TRANSFORM, target=None), 2, num_threads=2, on_error="skip")
    keys = [key for batch in loader for key in batch.keys]
    assert not loader.skipped
    return keys


WAYS: dict[str, Callable[[Path], list[str]]] = {
    "one by one": read,
    "by the kernel": read_by_kernel,
    "DataLoader": by_workers,
    "Loader": by_loader,
}


@pytest.mark.parametrize("way", WAYS)
def test_each_tar_gives_its_samples_or_an_error_that_names_file_and_offset(case: Archive, path: Path, way: str) -> None:
    if way == "by the kernel" and kernel.KERNEL is None:
        pytest.skip("the compiled kernel is not there")
    if case.kind.gets:
        with pytest.raises(TarError) as caught:
            WAYS[way](path)
        assert str(caught.value).startswith(f"{path}, offset {case.offset}: ")
        assert case.kind.gets in str(caught.value)
    else:
        assert tuple(WAYS[way](path)) == case.keys


def test_indexing_and_verifying_say_the_same(case: Archive, path: Path) -> None:
    faults = faults_of(Listed(str(path)), decode=True)
    if not case.kind.gets:
        assert (faults, store_index(path)) == ([], len(case.keys))
        return
    (fault,) = faults
    assert (fault.offset, case.kind.gets in fault.problem) == (case.offset, True)
    for index in (store_index, dali_index):
        with pytest.raises(TarError, match=f"offset {case.offset}: "):
            index(path)


# tarfile reads what it can of damaged tars, and says nothing of the rest; it does not take a size for all members.
@pytest.mark.parametrize(
    "case", [case for case in CASES if not case.kind.gets and case.name != "both, for all"], ids=named, indirect=True
)
def test_members_are_those_that_pythons_tarfile_sees(case: Archive, path: Path) -> None:
    seen = [(member.name, member.offset, member.size) for member in members(path)]
    assert seen == as_tarfile_sees(path)


def test_nothing_is_written_but_the_index(case: Archive, path: Path) -> None:
    try:
        by_loader(path)
    except TarError:
        assert case.kind.gets
    assert {file.name for file in path.parent.iterdir()} <= {"odd.tar", "odd.index.npy"}


def test_each_kind_has_its_cases() -> None:
    assert {case.kind for case in archives()} == set(KINDS)


def test_the_page_has_the_table_of_the_corpus() -> None:
    page = (Path(__file__).parents[1] / "docs/inputs.md").read_text()
    assert "\n".join(table()) in page
