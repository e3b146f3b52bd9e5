"""A bench as tables, and as a chart."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from fastdata.commands.bench.measuring import Report
from fastdata.commands.bench.verdict import is_beaten
from fastdata.commands.bench.ways import BATCH_SIZE, SIDE
from fastdata.commands.outcome import check_out
from fastdata.cpus import available_cpus
from fastdata.files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_OURS, _OTHERS = "#2b6cb0", "#a0aec0"


def show(report: Report, said: Iterable[str]) -> None:
    """Prints tables and the verdict."""
    console = Console()
    console.print(report.machine, markup=False)
    table = Table("images/s", f"RandomResizedCrop({SIDE}), flip, batches of {BATCH_SIZE}")
    for decoder, speeds in report.by_threads.items():
        for threads, speed in speeds.items():
            table.add_row(f"{speed:,.0f}", f"Loader, decoder: {decoder}, threads: {threads}")
    if not is_beaten(report):
        table.add_row(f"{report.ceiling:,.0f}", "the ceiling: as many threads, only decoding")
    if report.against:
        table.add_section()
        table.add_row(f"{report.sampled:,.0f}", "Loader, on some of the photos")
    for name, speed in report.against.items():
        table.add_row(f"{speed:,.0f}", f"{name}, on the same, workers or threads: {available_cpus()}")
    console.print(table)
    stages = Table("share", "of the threads' time")
    for stage, share in report.stages.items():
        stages.add_row(f"{share:.0%}", stage)
    console.print(stages)
    gains = Table("times as fast", "what was tried, on some of the photos")
    for change, gain in sorted(report.changes.items(), key=lambda each: -each[1]):
        gains.add_row(f"{gain:.2f}", change)
    console.print(gains)
    for line in said:
        console.print(line, markup=False)


def check_chart(file: Path) -> None:
    """ImportError, with what to install, without matplotlib; ValueError for another extension than .png; OSError where
    the file's folder is missing."""
    if file.suffix.lower() != ".png":
        raise ValueError(f"{file}: a chart is a PNG: give it the extension .png")
    check_out(file)
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError("--png draws by matplotlib: pip install 'fastdata-images[benchmarks]'") from error


def write_chart(report: Report, file: Path) -> None:
    """Images/s against threads beside others, the stages, and the gains, as a PNG."""
    drawn = io.BytesIO()
    _figure(report).savefig(drawn, dpi=120, format="png")
    with whole_file(file) as out:
        out.write(drawn.getvalue())


def _figure(report: Report) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    FigureCanvasAgg(figure)
    speeds, others, stages, gains = figure.subplots(2, 2).flat
    for decoder, by_threads in report.by_threads.items():
        speeds.plot(list(by_threads), list(by_threads.values()), marker="o", label=f"Loader, {decoder}")
    if not is_beaten(report):
        speeds.axhline(report.ceiling, color=_OTHERS, linestyle="--", label="only decoding")
    speeds.set(title="images/s by threads", ylim=(0, None), xticks=list(next(iter(report.by_threads.values()))))
    speeds.legend()
    _bars(others, "images/s on some of the photos", {"Loader": report.sampled, **report.against}, "{:,.0f}")
    _bars(stages, "share of the threads' time", report.stages, "{:.0%}")
    _bars(gains, "times as fast, on some of the photos", report.changes, "{:.2f}")
    figure.suptitle(report.machine, fontsize=9)
    return figure


def _bars(axes: "Axes", title: str, values: dict[str, float], format: str) -> None:
    colours = [_OURS if name == "Loader" else _OTHERS for name in values]
    bars = axes.barh([name.replace(" --", "\n--") for name in values], list(values.values()), color=colours)
    axes.bar_label(bars, [format.format(value) for value in values.values()], padding=3, fontsize=8)
    axes.set_title(title)
    axes.margins(x=0.2)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
