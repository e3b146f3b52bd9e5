from pathlib import Path

import pytest

from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sources.folder import scan_classes
from fastdata.sources.node.cache import local
from fastdata.sources.urls import expand


@pytest.fixture
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six shards, in the current directory."""
    for name in ("a-0.tar", "a-1.tar", "a-2.tar", "b-0.tar", "odd{1,2}.tar", "odd[1].tar"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("a-1.tar", ["a-1.tar"]),
        (Path("a-1.tar"), ["a-1.tar"]),
        (["b-0.tar", Path("a-0.tar")], ["b-0.tar", "a-0.tar"]),
        ("a-{0..2}.tar", ["a-0.tar", "a-1.tar", "a-2.tar"]),
        ("a-{2..0}.tar", ["a-2.tar", "a-1.tar", "a-0.tar"]),
        ("{b,a}-0.tar", ["b-0.tar", "a-0.tar"]),
        ("a-*.tar", ["a-0.tar", "a-1.tar", "a-2.tar"]),
        ("?-0.tar", ["a-0.tar", "b-0.tar"]),
        ("a-[01].tar", ["a-0.tar", "a-1.tar"]),
        ("{b,a}-*.tar", ["b-0.tar", "a-0.tar", "a-1.tar", "a-2.tar"]),
        (["b-*.tar", "a-{0,2}.tar"], ["b-0.tar", "a-0.tar", "a-2.tar"]),
        ("odd{1,2}.tar", ["odd{1,2}.tar"]),
        ("odd[1].tar", ["odd[1].tar"]),
        ("./a-1.tar", ["./a-1.tar"]),
    ],
)
@pytest.mark.usefixtures("shards")
def test_a_url_stands_for_shards_in_order(url: str | Path | list[str | Path], found: list[str]) -> None:
    assert expand(url) == found


def test_any_iterable_of_urls_will_do(shards: Path) -> None:
    urls = iter(["a-0.tar", str(shards / "a-1.tar")])
    assert expand(urls) == ["a-0.tar", f"{shards}/a-1.tar"]  # type: ignore[arg-type]


def test_a_json_stands_for_its_datasets_shards(tmp_path: Path) -> None:
    (tmp_path / "photos/class").mkdir(parents=True)
    for number in range(4):
        (tmp_path / f"photos/class/{number}.jpg").write_bytes(b"nobody looks at this")
    pack(scan_classes(tmp_path / "photos"), tmp_path, division=ShardCount(2), jobs=1)
    assert expand(tmp_path / "train.json") == [f"{tmp_path}/train-{number:06}.tar" for number in range(2)]
    with pytest.raises(FileNotFoundError, match=r"no json .*val\.json: check the path"):
        expand(tmp_path / "val.json")


def test_file_urls_are_paths(shards: Path) -> None:
    (shards / "with space.tar").touch()
    assert expand((shards / "with space.tar").as_uri()) == [f"{shards}/with space.tar"]
    assert expand(f"file://{shards}/a-{{0..1}}.tar") == [f"{shards}/a-0.tar", f"{shards}/a-1.tar"]
    assert expand(f"file://{shards}/b-*.tar") == [f"{shards}/b-0.tar"]


def test_braces_in_remote_urls_are_expanded_without_asking_the_remote() -> None:
    assert expand("s3://bucket/x-{08..10}.tar?versionId=[1]") == [
        f"s3://bucket/x-{i}.tar?versionId=[1]" for i in ("08", "09", "10")
    ]


def test_brace_notation_may_be_longer_than_a_file_name(shards: Path) -> None:
    endings = ",".join(f"{i:03}" for i in range(300))
    for i in range(300):
        (shards / f"many-{i:03}.tar").touch()
    assert len(expand(f"many-{{{endings}}}.tar")) == 300


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("c-0.tar", r"no shard c-0\.tar"),
        ("c-*.tar", r"no shard matches c-\*\.tar"),
        ("a-{1..3}.tar", r"no shard a-3\.tar \(from 'a-\{1\.\.3\}\.tar'\)"),
        ("{a,c}-*.tar", r"c-\*\.tar \(from '\{a,c\}-\*\.tar'\)"),
    ],
)
@pytest.mark.usefixtures("shards")
def test_what_names_no_file_is_an_error_that_names_it(url: str, message: str) -> None:
    with pytest.raises(FileNotFoundError, match=message):
        expand(url)


@pytest.mark.parametrize(
    "urls",
    [["a-0.tar", "a-0.tar"], ["a-*.tar", "{a,b}-0.tar"], ["a-0.tar", "./a-0.tar"], ["a-0.tar", "HERE/a-0.tar"]],
)
def test_a_shard_named_twice_is_an_error_that_names_it(shards: Path, urls: list[str]) -> None:
    with pytest.raises(ValueError, match=r"a-0\.tar is named 2 times"):
        expand([url.replace("HERE", str(shards)) for url in urls])


@pytest.mark.parametrize("function", [expand, local])
def test_pipe_urls_are_refused(function: object) -> None:
    with pytest.raises(ValueError, match=r"'pipe:cat x\.tar' would run a command"):
        function("pipe:cat x.tar")  # type: ignore[operator]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ([], "at least one"),
        ("a-{0..1.tar", r"unbalanced braces in 'a-\{0\.\.1\.tar'"),
        ("s3://bucket/*.tar", "remote glob"),
    ],
)
def test_urls_that_stand_for_nothing_are_refused(url: str | list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        expand(url)


def test_a_folder_is_an_error_that_says_how_to_name_its_shards(shards: Path) -> None:
    with pytest.raises(IsADirectoryError, match=rf"{shards}/\*\.tar"):
        expand(f"{shards}/")
