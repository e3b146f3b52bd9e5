"""The Python of README and docs: its blocks, and what they need to run on small photos."""

import os
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[3]
README = ROOT / "README.md"
PAGES = [page for page in [README, *sorted((ROOT / "docs").glob("*.md"))] if "```python" in page.read_text()]

# What would take long, or a GPU; everything else runs as it stands.
SMALLER = {"batch_size=256": "batch_size=8", "range(90)": "range(2)"}
SMALLER |= {
    "epochs=90": "epochs=2",
    "== 90": "== 2",
    "batched(256": "batched(8",
    "photos, 256": "photos, 8",
    "(256)": "(36)",
}
SMALLER |= {'device="cuda"': 'device="cpu"', "(224": "(32", "(96": "(16"}

YOURS = """
import warnings

import torch

warnings.filterwarnings("error", module="fastdata")
model: torch.nn.Module = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 3))
optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), 0.1)
_taken = 0


def train_step(images: torch.Tensor, targets: torch.Tensor) -> None:
    global _taken
    _taken += 1
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(images.float()), targets.clamp(min=0)).backward()
    optimizer.step()
"""
"""What the pages say is the reader's."""

BESIDE = "from support.torchvision import torchvision\n_beside = torchvision()\n_beside.__enter__()"
"""Torchvision and what needs it are not installed, but in a folder."""


class Block(NamedTuple):
    """A block of a page, the heading that it stands under, and its title: whose code it is, where that is said."""

    page: Path
    heading: str
    title: str
    code: str

    @property
    def is_others(self) -> bool:
        return self.title not in ("", "fastdata")

    @property
    def is_run(self) -> bool:
        """Others' code says so where it is not."""
        return "not run" not in self.title

    @property
    def beside(self) -> list[str]:
        """The packages that it imports of those in the folder of torchvision."""
        return re.findall(r"^(?:import|from) (torchvision|timm|transformers)\b", self.code, re.MULTILINE)


def blocks(page: Path) -> list[Block]:
    """The blocks of a page in their order."""
    found, heading = [], ""
    whole = r'^#+ ([^\n]+)$|^```(\w*)(?: title="([^"\n]+)")?\n(.*?)^```$'
    for match in re.finditer(whole, page.read_text(), re.MULTILINE | re.DOTALL):
        heading = match[1] or heading
        if match[4] is not None:
            assert match[2] == "python", f"a block that is not run, under {heading!r} of {page.name}"
            found.append(Block(page, heading, match[3] or "", match[4]))
    return found


def program(setup: str, block: Block) -> str:
    """The whole of a block: after its page's first one, with what is the reader's, and with a check of what it did."""
    parts = [BESIDE] if block.beside else []
    parts += [YOURS, "" if block.is_others else smaller(setup), smaller(block.code)]
    if "train_step" in block.code:
        parts.append("assert _taken, 'no step was taken'")
    return "\n".join(parts)


def smaller(code: str) -> str:
    for large, small in SMALLER.items():
        code = code.replace(large, small)
    return code


def missing_beside(block: Block) -> list[str]:
    """Of the packages that it needs those that are not in the folder of torchvision."""
    folder = Path(os.environ.get("FASTDATA_TORCHVISION", "nowhere"))
    return [name for name in block.beside if not (folder / name).is_dir()]
