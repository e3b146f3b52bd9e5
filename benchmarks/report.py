"""The outcome of contests: tables, and with `--out` a JSON file and a chart."""

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from chart import draw
from rounds import Contest, Row


def show(contest: Contest) -> None:
    """Prints the table: medians, and behind each figure that is compared its ratio to the first contestant's."""
    table = Table(title=contest.title, title_justify="left")
    table.add_column("", no_wrap=True)
    figures = list(dict.fromkeys(figure for row in contest.rows for figure in row.medians))
    compared = contest.rows[0].ratios if contest.rows else {}
    for figure in figures:
        for heading in (figure, "of first", "from", "to") if figure in compared else (figure,):
            table.add_column(heading, justify="right")
    for row in contest.rows:
        table.add_row(row.name, *(text for figure in figures for text in cells(row, figure)))
    console = Console(width=120)
    console.print(table)
    for note in contest.notes:
        console.print(note, markup=False, style="red")


def cells(row: Row, figure: str) -> list[str]:
    value = row.medians.get(figure)
    if value is None:
        return ["-"]
    return [
        f"{value:,.0f}" if value >= 100 else f"{value:.2f}",
        *(f"{ratio:.2f}" for ratio in row.ratios.get(figure, ())),
    ]


def store(contests: Sequence[Contest], options: dict[str, object], name: str, out: Path) -> None:
    """`<name>.json`, with every round, and `<name>.png` in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    contents = {
        "machine": platform.platform(),
        "cpu": cpu_name(),
        "cpus": sorted(os.sched_getaffinity(0)),
        "options": options,
        "contests": [
            {"title": contest.title, "rows": [as_dict(row) for row in contest.rows], "notes": contest.notes}
            for contest in contests
        ],
    }
    (out / f"{name}.json").write_text(json.dumps(contents, indent=2, default=str) + "\n")
    if any(contest.rows for contest in contests):
        draw([contest for contest in contests if contest.rows], out / f"{name}.png")


def as_dict(row: Row) -> dict[str, object]:
    return {**row._asdict(), "ratios": {figure: ratio._asdict() for figure, ratio in row.ratios.items()}}


def cpu_name() -> str:
    """As Linux has it, of the first CPU."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()
