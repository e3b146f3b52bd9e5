"""The outcome of contests: a table, JSON and a bar chart."""

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.table import Table
from rounds import Contest

WIDTH, LEFT, RIGHT, BAR, GAP, TITLE = 1000, 260, 200, 22, 8, 34
OURS, THEIRS, INK, PAPER = "#2b6cb0", "#a0aec0", "#1a202c", "#ffffff"


def show(contest: Contest) -> None:
    """Prints the table; "first is" says how many times as fast as this contestant the first one is."""
    table = Table(title=contest.title, title_justify="left")
    table.add_column("", no_wrap=True)
    for heading in ("images/s", "of first", "from", "to", "first is", "workers"):
        table.add_column(heading, justify="right")
    for row in contest.rows:
        numbers = [f"{value:.2f}" for value in (row.ratio, row.lowest, row.highest)]
        table.add_row(
            row.name, f"{row.images_per_second:,.0f}", *numbers, f"{1 / row.ratio:.2f}x", str(row.workers or "")
        )
    console = Console(width=100)
    console.print(table)
    for name, why in contest.failed.items():
        console.print(f"{name} failed: {why}", markup=False, style="red")


def store(contests: Sequence[Contest], options: dict[str, object], out: Path) -> None:
    """`throughput.json` and `throughput.png` in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    machine = {"machine": platform.platform(), "cpus": sorted(os.sched_getaffinity(0)), "cpu": cpu_name()}
    contents = {
        **machine,
        "options": options,
        "contests": [
            {"title": contest.title, "rows": [row._asdict() for row in contest.rows], "failed": contest.failed}
            for contest in contests
        ],
    }
    (out / "throughput.json").write_text(json.dumps(contents, indent=2, default=str) + "\n")
    chart(contests).save(out / "throughput.png")


def cpu_name() -> str:
    """As Linux has it, of the first CPU."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def chart(contests: Sequence[Contest]) -> Image.Image:
    """Horizontal bars of median images/s; a contest below the other, each on its own scale."""
    heights = [TITLE + len(contest.rows) * (BAR + GAP) + 2 * GAP for contest in contests]
    image = Image.new("RGB", (WIDTH, sum(heights) + GAP), PAPER)
    top = GAP
    for contest, height in zip(contests, heights, strict=True):
        _bars(ImageDraw.Draw(image), contest, top)
        top += height
    return image


def _bars(draw: ImageDraw.ImageDraw, contest: Contest, top: int) -> None:
    font, heading = ImageFont.load_default(14), ImageFont.load_default(17)
    draw.text((GAP, top), contest.title, INK, heading)
    longest = max((row.images_per_second for row in contest.rows), default=1.0)
    for number, row in enumerate(contest.rows):
        y = top + TITLE + number * (BAR + GAP)
        length = round((WIDTH - LEFT - RIGHT) * row.images_per_second / longest)
        colour = OURS if row.name.startswith(("Loader", "torch's")) else THEIRS
        draw.text((LEFT - GAP, y + 3), row.name, INK, font, anchor="ra")
        draw.rectangle((LEFT, y, LEFT + length, y + BAR), colour)
        spread = f"{row.images_per_second:,.0f}/s   {row.ratio:.2f} ({row.lowest:.2f} to {row.highest:.2f})"
        draw.text((LEFT + length + GAP, y + 3), spread, INK, font)
