"""The Python of README and docs, run: each block after its page's first, in a process of its own, on a few photos."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastdata.packing.origins.collect import collect
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sources.folder import scan_classes
from support.documents import PAGES, README, ROOT, SMALLER, Block, blocks, missing_beside, program
from support.forks import OPTIMIZERS, Run, prepared
from support.pictures import encoded, jpeg, photo

LIMIT = 180  # seconds; each takes one or two

EXAMPLES = [
    pytest.param(setup.code if others else "", block, id=f"{page.stem}: {block.heading}")
    for page in PAGES
    for setup, *others in [blocks(page)]
    for block in others or [setup]
    if block.is_run
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where everything is that README names: 30 photos in class folders, their shards, and two bad files."""
    root = tmp_path_factory.mktemp("readme")
    for number in range(30):
        path = root / "photos" / "train" / f"class{number % 3}" / f"{number:02}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(64, 48, number))
    pack(scan_classes(root / "photos" / "train"), root / "shards", division=ShardCount(2), jobs=1)
    write_pairs(root)
    (root / "photos" / "scraped").mkdir()
    for number in range(10):
        contents = b"<html>not found</html>" if number in (3, 7) else jpeg(64, 48, number)
        (root / "photos" / "scraped" / f"{number}.jpg").write_bytes(contents)
    return root


def write_pairs(root: Path) -> None:
    """Twelve photos with captions and masks, their shards, and a table."""
    (root / "pairs" / "images" / "class0").mkdir(parents=True)
    rows = ["file,label"]
    for number in range(12):
        name = root / "pairs" / "images" / "class0" / f"{number:02}"
        name.with_suffix(".jpg").write_bytes(jpeg(64, 48, number))
        name.with_suffix(".txt").write_text(f"number {number}")
        name.with_suffix(".seg.png").write_bytes(encoded(photo(64, 48, number), "PNG", mode="L"))
        rows.append(f"class0/{number:02}.jpg,{number % 3}")
    (root / "labels.csv").write_text("\n".join(rows))
    source = collect(root / "pairs" / "images", "**/*.jpg", fields=["txt", "seg.png"])
    pack(source, root / "pairs", division=ShardCount(2), jobs=1)


@pytest.fixture(scope="module")
def run(place: Path) -> Iterator[Run]:
    """What a program prints; it fails if the program does, or if it warns by this package."""
    rank = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    with prepared(place, OPTIMIZERS, silent=False, OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", **rank) as run:
        yield run


def test_the_first_block_is_what_the_others_go_on_from_and_each_replacement_is_of_use() -> None:
    assert all(re.search(r"^(import|from) fastdata\b", blocks(page)[0].code, re.MULTILINE) for page in PAGES)
    everything = "".join(block.code for page in PAGES for block in blocks(page))
    assert not [large for large in SMALLER if large not in everything]


@pytest.mark.slow
@pytest.mark.parametrize(("setup", "block"), EXAMPLES)
def test_the_code_runs_and_prints_what_it_should(run: Run, setup: str, block: Block) -> None:
    if missing := missing_beside(block):
        reason = f"no {missing} in the folder FASTDATA_TORCHVISION"
        (pytest.fail if os.environ.get("FASTDATA_REQUIRE_TOOLS") else pytest.skip)(reason)
    printed = run(program(setup, block), limit=LIMIT)
    if block.heading == "Bad images":  # the one that raises, then those that are skipped
        told = [line.split()[:2] for line in printed.splitlines()]
        assert told == [[key, f"photos/scraped/{key}.jpg"] for key in ("3", "3", "7")]


def test_the_first_commands_are_the_ones_that_ci_runs() -> None:
    ci = (README.parent / ".ci" / "run").read_text()
    commands = re.findall(r"^    (pip install .+) && (.+)$", README.read_text(), re.MULTILINE)
    assert [command for command, _ in commands] == [
        "pip install -c constraints.txt .",
        "pip install -c constraints.txt '.[test]'",
    ]
    assert "fastdata demo" in ci
    assert commands[1][0].removeprefix("pip install") in ci


def test_files_that_contributing_names_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`((?:tests|fastdata|benchmarks|\.ci)/[\w/.]+)`", text)
    named += [f"fastdata/{name}" for name in re.findall(r"`((?:transforms|datasets|sources)/\w+\.py)`", text)]
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).exists()] == []
