"""`python -m benchmarks.analytics --events 2e6`: pinflow beside other engines on a generated day.

Every engine runs in fresh processes and folders. In the warm-up memory is watched and the tables are compared; then
the rounds are timed, the engines in turn.
"""

import json
import shutil
import sys
import tempfile
import zlib
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import click

from benchmarks import generate
from benchmarks.analytics.compare import difference
from benchmarks.analytics.engines import ENGINES, EXTRA, Engine
from benchmarks.analytics.measure import FailedError, Measured, run
from benchmarks.analytics.plot import is_installed, plot
from benchmarks.analytics.report import Missing, Result, show, to_json
from benchmarks.analytics.task import TABLES, Task

DAY = date(2015, 5, 18)


def generated(folder: Path, events: int, seed: int, pins: int | None = None) -> Path:
    """The input folder with a day of so many events; what is there from an earlier call is used again."""
    code = zlib.crc32(Path(generate.__file__).read_bytes())
    more = f"-pins-{pins}" if pins else ""
    target = folder / f"events-{events}{more}-seed-{seed}-{code:08x}"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix="unfinished-") as unfinished:
            generate.generate_day(Path(unfinished) / "day", DAY, events=events, pins=pins, seed=seed)
            (Path(unfinished) / "day").rename(target)
    return target


class Comparison:
    """The engines on one day, their output below one folder."""

    def __init__(self, day: Path, folder: Path, engines: Sequence[Engine]) -> None:
        self._engines = engines
        self._tasks = {engine.name: Task(day, DAY.isoformat(), folder / engine.name) for engine in engines}

    def results(self, events: int, rounds: int) -> list[Result]:
        """Warm-up and rounds."""
        watched = {engine.name: self._run(engine, watch_memory=True) for engine in self._engines}
        differences = {engine.name: self._difference(engine) for engine in self._engines}
        turns = [{engine.name: self._run(engine) for engine in self._engines} for _ in range(rounds)]
        return [
            Result(name, events, tuple(turn[name] for turn in turns), watched[name], differences[name])
            for name in self._tasks
        ]

    def _run(self, engine: Engine, *, watch_memory: bool = False) -> Measured:
        task = self._tasks[engine.name]
        shutil.rmtree(task.output, ignore_errors=True)
        task.output.mkdir(parents=True)
        click.echo(f"{engine.name}{', watching memory' if watch_memory else ''} …", err=True)
        return run(engine.command(task), task.output, watch_memory=watch_memory)

    def _difference(self, engine: Engine) -> str:
        """What differs from the first engine, which is right when all the others agree with it."""
        first = self._engines[0]
        for name, table in TABLES.items():
            folders = [each.table(self._tasks[each.name], name) for each in (first, engine)]
            if found := difference(*folders, table):
                return f"{name}: {found}"
        return ""


def _sizes(_: click.Context, __: click.Parameter, text: str) -> list[int]:
    return [int(float(size)) for size in text.split(",")]


def _engines(_: click.Context, __: click.Parameter, text: str) -> list[Engine]:
    names = text.split(",")
    if unknown := set(names) - set(ENGINES):
        raise click.BadParameter(f"no engine is called {', '.join(sorted(unknown))}; there are {', '.join(ENGINES)}")
    return [ENGINES[name] for name in names]


@click.command(context_settings={"show_default": True})
@click.option("--events", "sizes", callback=_sizes, default="2e6", help="Events of the day; several by comma.")
@click.option(
    "--engines", callback=_engines, default=",".join(ENGINES), help="By comma; all are compared with the first."
)
@click.option("--rounds", type=click.IntRange(1), default=3, help="Timed rounds after the warm-up.")
@click.option("--pins", type=float, help="Pins of the day; by default a twentieth of the events.")
@click.option("--seed", type=int, default=1, help="Of the generated day.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(tempfile.gettempdir()) / "pinflow-benchmarks",
    help="Keeps generated days; the engines write below it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@click.option("--plot", "plots", type=click.Path(path_type=Path, file_okay=False), help="Draw PNG and SVG into it.")
def main(
    sizes: list[int],
    engines: list[Engine],
    rounds: int,
    pins: float | None,
    seed: int,
    folder: Path,
    as_json: bool,
    plots: Path | None,
) -> None:
    """Compare engines on pinflow's stages extract, aggregate and top_items of one day."""
    if plots and not is_installed():
        raise click.UsageError(f"--plot needs matplotlib; get it with: {EXTRA}")
    missing = {engine.name: engine.missing for engine in engines if engine.missing}
    present = [engine for engine in engines if engine.name not in missing]
    results: list[Result | Missing] = []
    for events in sizes:
        day = generated(folder, events, seed, int(pins) if pins else None)
        with tempfile.TemporaryDirectory(dir=folder, prefix="run-") as runs:
            try:
                found = Comparison(day, Path(runs), present).results(events, rounds)
            except FailedError as error:
                raise click.ClickException(str(error)) from error
        results += [*found, *(Missing(name, events, reason) for name, reason in missing.items())]
    if as_json:
        click.echo(json.dumps([to_json(result) for result in results], indent=1))
    else:
        show(results, [f"{engine.name} {engine.version}" for engine in present])
    if plots:
        plot([result for result in results if isinstance(result, Result)], plots)
    sys.exit(any(isinstance(result, Result) and result.difference for result in results))


if __name__ == "__main__":
    main()
