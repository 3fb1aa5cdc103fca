"""Statistics as pictures: bars and a line of characters for the terminal, PNG or SVG for a file."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pinflow.errors import ConfigurationError

if TYPE_CHECKING:
    from pinflow.stats_engine.series import Point
    from pinflow.stats_engine.statistics import Histogram

BAR_WIDTH = 40
MOST_BARS = 16
KINDS = (".png", ".svg")
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def bars(histogram: "Histogram", most: int = MOST_BARS) -> list[str]:
    """A line for each bucket, or for some that lie side by side: its bounds, its count and a bar."""
    rows = histogram.rows()
    if not rows:
        return []
    together = math.ceil(len(rows) / most)
    groups = [rows[start : start + together] for start in range(0, len(rows), together)]
    shown = [(f"{g[0][0]:,.4g}", f"{g[-1][1]:,.4g}", sum(count for _, _, count in g)) for g in groups]
    widths = max(len(low) for low, _, _ in shown), max(len(high) for _, high, _ in shown)
    largest = max(count for _, _, count in shown)
    digits = len(f"{largest:,}")
    return [
        f"{low:>{widths[0]}} to {high:>{widths[1]}}  {count:>{digits},}  {_bar(count / largest if largest else 0)}"
        for low, high, count in shown
    ]


def _bar(share: float) -> str:
    eighths = max(round(share * BAR_WIDTH * 8), 1) if share else 0
    return _EIGHTHS[8] * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def terminal_chart(points: Sequence["Point"], name: str, width: int, height: int = 20) -> str:
    """A line over time with the band of the forecasts in dots and an x at each value outside of it."""
    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(width, height)
    days = [point.day.toordinal() for point in points]
    for side in ("low", "high"):
        edge = [(day, getattr(p, side)) for day, p in zip(days, points, strict=True) if getattr(p, side) is not None]
        if edge:
            plotext.plot(*map(list, zip(*edge, strict=True)), marker="dot", label="band" if side == "low" else None)
    known = [(day, point.value) for day, point in zip(days, points, strict=True) if point.value is not None]
    if known:
        plotext.plot(*map(list, zip(*known, strict=True)), marker="braille", label=name)
    outside = [(day, point.value) for day, point in zip(days, points, strict=True) if point.is_outside]
    if outside:
        plotext.scatter(*map(list, zip(*outside, strict=True)), marker="x", label="outside")
    ticks = sorted({0, len(points) // 3, 2 * len(points) // 3, len(points) - 1})
    plotext.xticks([days[tick] for tick in ticks], [points[tick].day.isoformat() for tick in ticks])
    text: str = plotext.uncolorize(plotext.build())
    return text.rstrip("\n")


def check_plot_file(path: Path) -> None:
    """Raise ConfigurationError for a file that could not be drawn."""
    from importlib.util import find_spec

    if path.suffix not in KINDS:
        raise ConfigurationError(f"cannot draw {str(path)!r}; name a file that ends with {' or '.join(KINDS)}")
    if find_spec("matplotlib") is None:
        raise ConfigurationError("drawing needs matplotlib; install it with: pip install 'pinflow[plots]'")


def write_plot(points: Sequence["Point"], title: str, path: Path) -> None:
    """Draw the line and the band of the forecasts into a PNG or SVG file, by its suffix."""
    import matplotlib
    import numpy as np

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(10, 4), layout="constrained")
    days = np.array([point.day for point in points], dtype="datetime64[D]")
    values, lows, highs = (
        np.array([getattr(point, field) for point in points], dtype=float) for field in ("value", "low", "high")
    )
    outside = np.array([point.is_outside for point in points], dtype=bool)
    axes.fill_between(days, lows, highs, alpha=0.25, label="forecast")
    axes.plot(days, values, marker=".", label="value")
    axes.plot(days[outside], values[outside], "rx", label="outside")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.autofmt_xdate()
    try:
        figure.savefig(path)
    except OSError as error:
        raise ConfigurationError(f"cannot write {str(path)!r}: {error}; name another file") from error
    finally:
        pyplot.close(figure)
