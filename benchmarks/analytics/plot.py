"""Time and memory against size, as PNG and SVG."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from benchmarks.analytics.report import Result


def is_installed() -> bool:
    """Whether there is anything to draw with."""
    return find_spec("matplotlib") is not None


def plot(results: Sequence[Result], folder: Path) -> list[Path]:
    """Draw all engines; the files' paths."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, (times, memory) = pyplot.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for engine in dict.fromkeys(result.engine for result in results):
        points = sorted((r.events, r.seconds, r.low, r.high, r.peak_mb) for r in results if r.engine == engine)
        events, seconds, low, high, peaks = zip(*points, strict=True)
        spread = [
            [s - x for s, x in zip(seconds, low, strict=True)],
            [x - s for s, x in zip(seconds, high, strict=True)],
        ]
        times.errorbar(events, seconds, yerr=spread, marker="o", capsize=3, label=engine)
        memory.plot(events, peaks, marker="o", label=engine)
    times.set_title("Seconds: median and range")
    memory.set_title("Peak memory of all processes (PSS), MB")
    for axes in (times, memory):
        axes.set(xlabel="Events of the day", xscale="log", yscale="log")
        axes.grid(alpha=0.3, which="both")
        axes.legend()
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"analytics.{kind}" for kind in ("png", "svg")]
    for path in paths:
        figure.savefig(path)
    pyplot.close(figure)
    return paths
