"""Contests as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rounds import Contest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIRST, OTHERS = "#2b6cb0", "#a0aec0"
WIDTH, TITLE, BAR = 10.0, 0.8, 0.3  # inches


def draw(contests: Sequence[Contest], file: Path) -> None:
    """Horizontal bars of medians; a contest below the other, each on its own scale.

    ImportError, which says what to install, without matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("charts are drawn by matplotlib: pip install matplotlib") from error

    heights = [TITLE + BAR * len(contest.rows) for contest in contests]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    plots = figure.subplots(len(contests), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, contest in zip(plots, contests, strict=True):
        draw_bars(axes, contest)
    figure.savefig(file, dpi=100)


def draw_bars(axes: "Axes", contest: Contest) -> None:
    """The first figure that is compared; behind each bar its ratio to the first contestant's, and their extremes."""
    rows = contest.rows
    compared = next(iter(rows[0].ratios))
    values = [row.medians[compared] for row in rows]
    bars = axes.barh([row.name for row in rows], values, color=[FIRST, *[OTHERS] * (len(rows) - 1)])
    ratios = [row.ratios[compared] for row in rows]
    texts = [
        f"{v:,.4g}   {r.median:.2f} ({r.lowest:.2f} to {r.highest:.2f})" for v, r in zip(values, ratios, strict=True)
    ]
    axes.bar_label(bars, texts, padding=4, fontsize=8)
    axes.set_title(contest.title, loc="left", fontsize=10)
    axes.set_xlabel(compared, fontsize=8)
    axes.set_xlim(0, 1.4 * max(values))
    axes.tick_params(labelsize=8)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
