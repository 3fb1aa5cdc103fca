"""What every job is measured by without a line of code: its tasks' time, memory, input and output (ST-02).

The names belong to pinflow: what a job counts itself under one of them is left out and counted as `_dropped.NAME`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pinflow.stats_engine.allowance import DROPPED
from pinflow.stats_engine.engine import StatsEngine
from pinflow.stats_engine.exact_sums import ExactSum
from pinflow.stats_engine.statistics import Statistics
from pinflow.zygote import Exit

INPUT_ROWS = "input_rows"
"""Rows, records or lines that map tasks read; tasks count them as they go."""

TASK_NAMES = ("task_seconds", "task_cpu_seconds", "task_peak_bytes", "task_input_bytes", "task_output_bytes")
"""Histograms with a value for each task."""
NAMES = frozenset({"output_bytes", "input_bytes", "peak_bytes", "seconds", "cpu_seconds", "lost_attempts", *TASK_NAMES})
"""Names that only pinflow counts."""


@dataclass
class Usage:
    """What the tasks of a job used. `tasks` counts those that were killed and tried again, too."""

    tasks: int = 0
    lost: int = 0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    _figures: StatsEngine = field(default_factory=StatsEngine, repr=False)

    def add(self, exit: Exit, seconds: float = 0.0, input_bytes: int | None = None) -> None:
        """Take in one attempt that ended, after so many seconds; input of None was not measured."""
        cpu = exit.user_seconds + exit.system_seconds
        self.tasks += 1
        self.cpu_seconds += cpu
        self.peak_bytes = max(self.peak_bytes, exit.peak_bytes)
        if exit.code != 0:
            self.lost += 1
            return
        figures = {"task_seconds": seconds, "task_cpu_seconds": cpu, "task_peak_bytes": exit.peak_bytes}
        if input_bytes is not None:
            figures["task_input_bytes"] = input_bytes
        for name, value in figures.items():
            self._figures.add_to_histogram(name, value)

    def add_output(self, size: int) -> None:
        """Take in what one task committed, in bytes."""
        self._figures.add_to_histogram("task_output_bytes", size)

    def take(self, other: "Usage") -> None:
        """Add what other tasks used."""
        self.tasks += other.tasks
        self.lost += other.lost
        self.cpu_seconds += other.cpu_seconds
        self.peak_bytes = max(self.peak_bytes, other.peak_bytes)
        self._figures.merge(other._figures.statistics())

    def statistics(self) -> Statistics:
        """All of it."""
        lost = {"lost_attempts": self.lost} if self.lost else {}
        own = Statistics({"peak_bytes": self.peak_bytes, **lost}, {"cpu_seconds": ExactSum.of(self.cpu_seconds)})
        return own.merge(self._figures.statistics())


@dataclass
class StepRun:
    """What a runner knows of one step: what its tasks used, how long it took, and its counters by `GROUP/NAME`."""

    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    counters: dict[str, int] = field(default_factory=dict)


def together(steps: Iterable[StepRun]) -> StepRun:
    """All steps of a job as one."""
    whole = StepRun()
    for step in steps:
        whole.usage.take(step.usage)
        whole.seconds += step.seconds
        for name, value in step.counters.items():
            whole.counters[name] = whole.counters.get(name, 0) + value
    return whole


def with_native(counted: Statistics, counts: Mapping[str, int], seconds: float, usage: Usage) -> Statistics:
    """What a job's tasks counted, together with what the runner knows of them."""
    native = Statistics(counts, {"seconds": ExactSum.of(seconds)}).merge(usage.statistics())
    taken = {name for _, values in counted.kinds() for name in values if name in NAMES}
    taken |= {name for kind, values in counted.kinds() for name in values if kind != "count" and name in counts}
    return counted.without(taken).merge(Statistics({f"{DROPPED}.{name}": 1 for name in taken})).merge(native)
