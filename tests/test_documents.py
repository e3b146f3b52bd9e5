"""The Python of README and docs, run: each block after a page's first one in a process of its own, on small photos."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fastdata.packing.collect import collect
from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sources.folder import scan_classes
from support.pictures import encoded, jpeg, photo

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [page for page in [README, *sorted((ROOT / "docs").glob("*.md"))] if "```python" in page.read_text()]
LIMIT = 180  # seconds; each takes three

# What would take long, or a GPU; everything else runs as it stands.
SMALLER = {"batch_size=256": "batch_size=8", "photos, 256": "photos, 8", "range(90)": "range(2)"}
SMALLER |= {"max_epochs=90": "max_epochs=2", 'device="cuda"': 'device="cpu"', "(224": "(32", "(256)": "(36)"}
SMALLER |= {"(96": "(16"}

YOURS = """
import warnings

import torch

warnings.filterwarnings("error", module="fastdata")
model = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 3))
optimizer = torch.optim.SGD(model.parameters(), 0.1)
steps = 0


def train_step(images, targets):
    global steps
    steps += 1
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(images.float()), targets.clamp(min=0)).backward()
    optimizer.step()
"""
"""What the pages say is the reader's."""

AFTERWARDS = "assert steps or 'train_step' not in {block!r}, 'no step was taken'"


def blocks(page: Path) -> list[tuple[str, str]]:
    """The blocks of a page in their order, each with the heading that it stands under."""
    found, heading = [], ""
    for match in re.finditer(r"^#+ ([^\n]+)$|^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        heading = match[1] or heading
        if match[3] is not None:
            assert match[2] == "python", f"a block that is not run, under {heading!r} of {page.name}"
            found.append((heading, match[3]))
    return found


EXAMPLES = [
    pytest.param(setup, heading, code, id=f"{page.stem}: {heading}")
    for page in PAGES
    for (_, setup), *others in [blocks(page)]
    for heading, code in others
]


def smaller(code: str) -> str:
    for large, small in SMALLER.items():
        code = code.replace(large, small)
    return code


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


def run(place: Path, code: str) -> str:
    """What the program prints; it fails if the program does, or if it warns by this package."""
    rank = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    environment = os.environ | rank | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_the_first_block_is_what_the_others_go_on_from_and_each_replacement_is_of_use() -> None:
    assert all(re.search(r"^(import|from) fastdata\b", blocks(page)[0][1], re.MULTILINE) for page in PAGES)
    everything = "".join(code for page in PAGES for _, code in blocks(page))
    assert not [large for large in SMALLER if large not in everything]


@pytest.mark.slow
@pytest.mark.parametrize(("setup", "heading", "code"), EXAMPLES)
def test_the_code_runs_and_prints_what_it_should(place: Path, setup: str, heading: str, code: str) -> None:
    printed = run(place, "\n".join([YOURS, smaller(setup), smaller(code), AFTERWARDS.format(block=code)]))
    if heading == "Bad images":  # the one that raises, then those that are skipped
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
