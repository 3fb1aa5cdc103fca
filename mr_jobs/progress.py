"""Counts of a job that runs: its tasks report them, the runner adds them up and stops at a maximum.

Only jobs with a fatal maximum on a count pay for it: their tasks have a thread that looks twice a second. A task hands
its counts to a function, here one that writes a file beside the task's output; where a framework carries counters by
itself, as Hadoop does, that function is all that differs, and `Watch` takes the sums that the framework tells.
"""

import json
import os
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from pinflow.errors import LimitExceededError
from pinflow.stats_engine.engine import StatsEngine, engine
from pinflow.stats_engine.rules import show

WATCHED_VARIABLE = "PINFLOW_WATCHED"
"""In a task's environment: the names whose counts it reports, as a JSON list; not there when it need not."""
INTERVAL = 0.5
"""Seconds between two looks, in a task and in the runner: a job stops about a second after it passed a maximum."""

Counts = Mapping[str, int]


class Reports:
    """Tells of the watched counts of a task when they have changed, and at its end."""

    def __init__(self, names: tuple[str, ...], stats: StatsEngine, tell: Callable[[Counts], None]) -> None:
        self._names, self._stats, self._tell = names, stats, tell
        self._before = dict.fromkeys(names, 0)
        self._told: Counts = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        if names:
            self._thread.start()

    def reset(self) -> None:
        """Let the engine forget; what it had counted stays part of the task's counts."""
        with self._lock:
            self._before = self._now()
            self._stats.reset()

    def close(self) -> None:
        """Tell the last counts."""
        self._over.set()
        if self._names:
            self._thread.join()
            self._look()

    def _run(self) -> None:
        while not self._over.wait(INTERVAL):
            self._look()

    def _look(self) -> None:
        with self._lock:
            counts = self._now()
        if counts != self._told:
            self._tell(counts)
            self._told = counts

    def _now(self) -> dict[str, int]:
        return {name: self._before[name] + self._stats.count(name) for name in self._names}


@contextmanager
def reported(environment: Mapping[str, str], output: str | None) -> Iterator[Reports]:
    """The reports of the task with this output folder; none are made where nothing is watched."""
    watched = environment.get(WATCHED_VARIABLE)
    names = tuple(json.loads(watched)) if watched and output else ()
    reports = Reports(names, engine(), lambda counts: _write(Path(f"{output}.counts"), counts))
    try:
        yield reports
    finally:
        reports.close()


def _write(file: Path, counts: Counts) -> None:
    """Replace the report in one go. A disk that is full stops the task by its own output, not by this."""
    written = file.with_name(f"{file.name}.{os.getpid()}")
    with suppress(OSError):
        written.write_text(json.dumps(counts), encoding="utf-8")
        written.replace(file)


def read_report(output: str | Path) -> Counts:
    """What the task with this output folder last told; nothing when it has not yet."""
    with suppress(OSError):
        return dict(json.loads(Path(f"{output}.counts").read_text(encoding="utf-8")))
    return {}


class Watch:
    """The watched counts of a whole job: of each task, running or done, what it last told."""

    def __init__(self, maxima: Mapping[str, float]) -> None:
        self.maxima = dict(maxima)
        self._reports: dict[Hashable, Counts] = {}

    @property
    def variables(self) -> dict[str, str]:
        """What the tasks need in their environment."""
        return {WATCHED_VARIABLE: json.dumps(sorted(self.maxima))} if self.maxima else {}

    def take(self, task: Hashable, counts: Counts) -> None:
        """Put what a task tells now in the place of what it told before; nothing once it is to be tried again."""
        self._reports[task] = counts

    def check(self) -> None:
        """Raise `LimitExceededError`, with the sums over all tasks, when one is above its maximum."""
        sums = {name: sum(told.get(name, 0) for told in self._reports.values()) for name in self.maxima}
        passed = [name for name, most in self.maxima.items() if sums[name] > most]
        if passed:
            told = (f"{name} is {show(sums[name])}, above its maximum {show(self.maxima[name])}" for name in passed)
            raise LimitExceededError(f"stopped while it ran: {'; '.join(told)}", sums)
