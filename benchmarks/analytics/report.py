"""The results as a table for people and as JSON for programs."""

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.analytics.measure import Measured

MB = 1_000_000


@dataclass(frozen=True)
class Result:
    """How one engine did a day of a size: `watched` is the warm-up, in which memory was sampled."""

    engine: str
    events: int
    rounds: tuple[Measured, ...]
    watched: Measured
    difference: str
    """What differs from the first engine's tables; '' when all are equal."""

    @property
    def seconds(self) -> float:
        """The median of the rounds."""
        return median(run.seconds for run in self.rounds)

    @property
    def low(self) -> float:
        """The fastest round."""
        return min(run.seconds for run in self.rounds)

    @property
    def high(self) -> float:
        """The slowest round."""
        return max(run.seconds for run in self.rounds)

    @property
    def cpu_seconds(self) -> float:
        """The median of the rounds."""
        return median(run.cpu_seconds for run in self.rounds)

    @property
    def peak_mb(self) -> float:
        """Peak memory of all processes together."""
        return self.watched.peak / MB

    @property
    def written_mb(self) -> float:
        """Written to files, intermediate ones too."""
        return median(run.written for run in self.rounds) / MB

    @property
    def foreign_load(self) -> float:
        """The share of the cores that other processes took: the median of the rounds."""
        return median(run.foreign_load for run in self.rounds)


@dataclass(frozen=True)
class Missing:
    """An engine that cannot run here, and why."""

    engine: str
    events: int
    reason: str


def to_json(result: Result | Missing) -> dict[str, Any]:
    """The result as `--json` lists it."""
    named = {"engine": result.engine, "events": result.events}
    if isinstance(result, Missing):
        return named | {"missing": result.reason}
    return named | {
        "seconds": round(result.seconds, 3),
        "rounds": [round(run.seconds, 3) for run in result.rounds],
        "cpu_seconds": round(result.cpu_seconds, 3),
        "peak_mb": round(result.peak_mb, 1),
        "written_mb": round(result.written_mb, 1),
        "other_load": round(result.foreign_load, 3),
        "equal": not result.difference,
    }


def show(results: Sequence[Result | Missing], versions: Iterable[str]) -> None:
    """Print a table for each size."""
    console = Console(width=None if os.isatty(1) else 120)
    for events in dict.fromkeys(result.events for result in results):
        table = Table(title=f"{events:,} events", title_justify="left")
        table.add_column("engine")
        for name in (
            "seconds",
            "range",
            "CPU s",
            "to pinflow",
            "pinflow to it",
            "peak MB",
            "written MB",
            "other load",
            "equal",
        ):
            table.add_column(name, justify="right")
        of_size = [result for result in results if result.events == events]
        own = next((r.seconds for r in of_size if isinstance(r, Result) and r.engine == "pinflow"), None)
        for result in of_size:
            table.add_row(*_row(result, own))
        console.print(table)
    console.print(f"{machine()}; {', '.join(versions)}")


def _row(result: Result | Missing, own: float | None) -> list[str]:
    if isinstance(result, Missing):
        return [result.engine, "missing", result.reason]
    return [
        result.engine,
        f"{result.seconds:.2f}",
        f"{result.low:.2f}-{result.high:.2f}",
        f"{result.cpu_seconds:.1f}",
        f"{result.seconds / own:.2f}" if own else "",
        f"{own / result.seconds:.2f}" if own else "",
        f"{result.peak_mb:,.0f}",
        f"{result.written_mb:,.0f}",
        f"{result.foreign_load:.0%}",
        result.difference or "yes",
    ]


def machine() -> str:
    """Processor, cores and memory."""
    models = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    cores = len(os.sched_getaffinity(0))
    return f"{models[0] if models else platform.machine()}, {cores} cores, {memory:.0f} GiB, Linux {platform.release()}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
