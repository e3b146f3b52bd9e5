"""README's Python, run for real: each block after the first one in a process of its own, on small photos and shards."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fastdata.packing.pack import pack
from fastdata.packing.plan import ShardCount
from fastdata.sources.folder import scan_classes
from support.pictures import jpeg

README = Path(__file__).parents[1] / "README.md"
LIMIT = 180  # seconds; each takes three

# What would take long, or a GPU; everything else runs as it stands.
SMALLER = {"batch_size=256": "batch_size=8", "photos, 256": "photos, 8", "range(90)": "range(2)"}
SMALLER |= {"max_epochs=90": "max_epochs=2", 'device="cuda"': 'device="cpu"', "(224)": "(32)", "(256)": "(36)"}

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
"""What README says is the reader's."""

AFTERWARDS = "assert steps or 'train_step' not in {block!r}, 'no step was taken'"


def blocks() -> list[tuple[str, str]]:
    """The blocks in their order, each with the heading that it stands under."""
    found, heading = [], ""
    for match in re.finditer(r"^#+ ([^\n]+)$|^```(\w*)\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL):
        heading = match[1] or heading
        if match[3] is not None:
            assert match[2] == "python", f"a block that is not run, under {heading!r}"
            found.append((heading, match[3]))
    return found


SETUP, EXAMPLES = blocks()[0][1], blocks()[1:]


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
    (root / "photos" / "scraped").mkdir()
    for number in range(10):
        contents = b"<html>not found</html>" if number in (3, 7) else jpeg(64, 48, number)
        (root / "photos" / "scraped" / f"{number}.jpg").write_bytes(contents)
    return root


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
    assert "import fastdata as fd" in SETUP
    everything = "".join(code for _, code in blocks())
    assert not [large for large in SMALLER if large not in everything]


@pytest.mark.slow
@pytest.mark.parametrize(("heading", "code"), [pytest.param(*block, id=block[0]) for block in EXAMPLES])
def test_readmes_code_runs_and_prints_what_it_should(place: Path, heading: str, code: str) -> None:
    printed = run(place, "\n".join([YOURS, smaller(SETUP), smaller(code), AFTERWARDS.format(block=code)]))
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
