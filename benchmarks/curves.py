"""Charts for a page: SVG, as text, of curves and of bars. By matplotlib; ImportError, which says so, without it."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#2b6cb0", "#2c7a7b", "#c05621", "#6b46c1", "#4a5568", "#b7791f", "#97266d")
SIZE = (7.2, 3.8)  # inches


class Curve(NamedTuple):
    """Medians `y` at `x`, and the least and greatest of the rounds."""

    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def curves(of: Mapping[str, Curve], xlabel: str, ylabel: str, logarithmic: bool = False) -> str:
    def draw(axes: "Axes") -> None:
        for number, (name, curve) in enumerate(of.items()):
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(curve.x, curve.y, "o-", color=colour, label=name, markersize=4)
            axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
        if logarithmic:
            axes.set_xscale("log")
            axes.set_yscale("log")
        else:
            axes.set_xticks(sorted({x for curve in of.values() for x in curve.x}))
            axes.set_ylim(bottom=0)
        axes.legend(fontsize=8, frameon=False)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)

    return svg(draw)


def bars(of: Mapping[str, float], xlabel: str, logarithmic: bool = False) -> str:
    """One below the other, each with its value."""

    def draw(axes: "Axes") -> None:
        drawn = axes.barh(list(of), list(of.values()), color=COLOURS[0], log=logarithmic)
        texts = [f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" for value in of.values()]
        axes.bar_label(drawn, texts, padding=4, fontsize=8)
        axes.margins(x=0.15)
        axes.invert_yaxis()
        axes.set_xlabel(xlabel)

    return svg(draw)


def svg(draw: "Callable[[Axes], None]") -> str:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("charts are drawn by matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    draw(axes)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    with io.StringIO() as file:
        figure.savefig(file, format="svg", metadata={"Date": None})
        text = file.getvalue()
    return text[text.index("<svg") :]
