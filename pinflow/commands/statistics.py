"""What a job counted: of a day, against its forecast, against another day, over time."""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import date, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from pinflow import config
from pinflow.commands.output import DATE, DURATION, date_option, json_option, print_json, print_table
from pinflow.commands.recorded import statistics_database
from pinflow.errors import ConfigurationError, PinflowError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from pinflow.stats_engine.distincts import Estimate
    from pinflow.stats_engine.queries import JobInfo
    from pinflow.stats_engine.series import Owner, Point
    from pinflow.stats_engine.statistics import Items, Statistics

QUANTILES = (0.5, 0.9, 0.99)
WIDEST = 110


class Shown(NamedTuple):
    """An attempt of a job, its statistics and its distinct counts."""

    info: "JobInfo"
    statistics: "Statistics"
    distincts: Mapping[str, "Estimate"]

    @property
    def numbers(self) -> dict[str, float]:
        """Counts, sums and distinct counts by name."""
        found: dict[str, float] = dict(self.statistics.counts)
        found |= {name: float(value) for name, value in self.statistics.sums.items()}
        found |= {name: estimate.estimate for name, estimate in self.distincts.items()}
        return dict(sorted(found.items()))

    @property
    def title(self) -> str:
        """Which attempt it is, in words."""
        state = "published" if self.info.published else "not published"
        step = f", step {self.info.step}" if self.info.step else ""
        return f"{self.info.workflow} {self.info.date}: {self.info.job}{step}, attempt {self.info.attempt} of " + (
            f"{self.info.run_id}, {state}"
        )


@click.command()
@click.argument("job")
@click.argument("name", required=False)
@date_option("Day that the job worked on; default: the last.")
@click.option("--last", type=DURATION, metavar="LENGTH", help="How much history of NAME to show; default: 90d.")
@click.option("--step", type=click.IntRange(1), help="Only this step of a job that has several, from 1.")
@click.option("--steps", "by_step", is_flag=True, help="Each step of the job beside the others, or NAME in each.")
@click.option("--against", metavar="DAY|RUN", help="Show what differs from another day or run.")
@click.option("--items", "most", type=click.IntRange(1), default=10, show_default=True, help="Items of a list to show.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw NAME into a .png or .svg file.")
@json_option
def stats(
    job: str,
    name: str | None,
    date: date | None,
    last: timedelta | None,
    step: int | None,
    by_step: bool,
    against: str | None,
    most: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Print the statistics of a JOB, or one of them, NAME, over time.

    \b
    pinflow stats read_events
    pinflow stats read_events --date 2015-05-18 --against 2015-05-17
    pinflow stats read_events events_kept --last 90d --plot events.png
    pinflow stats pagerank --steps
    """  # noqa: D301 - click's mark for lines that are not wrapped
    if name is None and (last or plot):
        raise click.UsageError("--last and --plot show one statistic: name it, as in pinflow stats JOB NAME --last 90d")
    if name is not None and against:
        raise click.UsageError("--against compares all statistics of a job: leave NAME out")
    if by_step and (last or plot or against or step):
        raise click.UsageError("--steps shows the steps of one day: leave --last, --plot, --against and --step out")
    with statistics_database() as engine:
        shown = _read(engine, job, date, step=step or 0)
        if by_step:
            _show_steps(engine, shown, name, most, as_json)
        elif against:
            _compare(shown, _other(engine, shown, against), most, as_json)
        elif name is None:
            _show_all(engine, shown, most, as_json)
        else:
            _show_one(engine, shown, name, last or timedelta(days=90), most, plot, as_json)


def _read(engine: "sa.Engine", job: str, day: date | None, **which: Any) -> Shown:
    from pinflow.stats_engine.queries import distinct_counts, job_statistics

    info, statistics = job_statistics(engine, job, day.isoformat() if day else None, **which)
    return Shown(info, statistics, distinct_counts(engine, info))


def _other(engine: "sa.Engine", shown: Shown, against: str) -> Shown:
    info = shown.info
    try:
        day = DATE.convert(against, None, None)
    except click.UsageError:
        return _read(engine, info.job, None, workflow=info.workflow, run_id=against, step=info.step)
    return _read(engine, info.job, day, workflow=info.workflow, step=info.step)


def _show_steps(engine: "sa.Engine", shown: Shown, name: str | None, most: int, as_json: bool) -> None:
    from pinflow.stats_engine.queries import distinct_counts, step_statistics

    found = [Shown(*one, distinct_counts(engine, one.info)) for one in step_statistics(engine, shown.info)]
    if not found:
        raise ConfigurationError(f"{shown.info.job} had one step on {shown.info.date}: pinflow stats {shown.info.job}")
    if as_json:
        steps = [_step_as_json(one, name) for one in found]
        print_json(asdict(shown.info) | {"steps": steps})
        return
    click.echo(shown.title)
    wanted = {name} if name else {other for one in found for other in one.numbers}
    if name is None or any(name in one.numbers for one in found):
        rows = [(n, *(one.numbers.get(n) for one in found), shown.numbers.get(n)) for n in sorted(wanted)]
        print_table(("name", *(f"step {one.info.step}" for one in found), "together"), rows, empty="nothing counted")
        return
    for one in found:
        click.echo(f"\nstep {one.info.step}:")
        if name in one.statistics.histograms:
            _print_histogram(one.statistics, name, 8)
        elif name in one.statistics.items:
            _print_items(name, one.statistics.items[name], most)
        else:
            click.echo(f"it did not count {name}")


def _show_all(engine: "sa.Engine", shown: Shown, most: int, as_json: bool) -> None:
    from pinflow.stats_engine.series import forecasts

    info, statistics, distincts = shown
    day, whose = date.fromisoformat(info.date), _judged_as(info)
    points = forecasts(engine, info.workflow, info.job, day, shown.numbers, whose, step=info.step)
    if as_json:
        bands = {name: _band(point) for name, point in points.items() if point.low is not None}
        print_json(asdict(info) | _as_json(statistics, distincts) | {"forecasts": bands})
        return
    click.echo(shown.title)
    _print_numbers(points)
    for name, (estimate, low, high) in distincts.items():
        click.echo(f"\n{name}: about {estimate:,.0f} different, {low:,.0f} to {high:,.0f}")
    for name in sorted(statistics.histograms):
        _print_histogram(statistics, name, 8)
    for name, items in sorted(statistics.items.items()):
        _print_items(name, items, most)


def _judged_as(info: "JobInfo") -> "Owner":
    """As the job's own rules judge; as one rule with the whole budget where no workflow declares it any more."""
    from pinflow.stats_engine.series import Owner
    from pinflow.workflows.declared import find_job

    settings = config.load()
    try:
        node = find_job(settings, info.job, info.workflow).node
    except PinflowError:
        return Owner(settings.country)
    return Owner(node.country, node.allowed["warning"])


def _print_numbers(points: Mapping[str, "Point"]) -> None:
    if any(point.low is not None for point in points.values()):
        rows: Iterable[tuple[Any, ...]] = (
            (name, p.value, p.expected, p.low, p.high, "outside" if p.is_outside else "") for name, p in points.items()
        )
        print_table(("name", "value", "expected", "from", "to", ""), rows, empty="it counted nothing")
    else:
        print_table(("name", "value"), ((n, p.value) for n, p in points.items()), empty="it counted nothing")


def _print_histogram(statistics: "Statistics", name: str, most: int) -> None:
    from pinflow.commands.charts import bars

    histogram = statistics.histograms[name]
    shown = "  ".join(f"p{share * 100:g} {histogram.quantile(share):,.4g}" for share in QUANTILES)
    click.echo(f"\n{name}: {histogram.count:,} values  {shown}")
    for line in bars(histogram, most):
        click.echo(f"  {line}")


def _print_items(name: str, items: "Items", most: int) -> None:
    for side, found in (("highest", items.top), ("lowest", items.bottom)):
        click.echo(f"\n{name}, {side}:")
        print_table(("item", "value"), found[:most], empty="none")


def _show_one(
    engine: "sa.Engine", shown: Shown, name: str, length: timedelta, most: int, plot: Path | None, as_json: bool
) -> None:
    from pinflow.commands.charts import check_plot_file, write_plot
    from pinflow.stats_engine.series import series

    info, statistics, _ = shown
    if plot:
        check_plot_file(plot)
    if name in statistics.items:
        if as_json:
            print_json({"name": name} | _items_as_json(statistics.items[name]))
        else:
            click.echo(shown.title)
            _print_items(name, statistics.items[name], most)
        return
    day, whose = date.fromisoformat(info.date), _judged_as(info)
    points = series(engine, info.workflow, info.job, name, day, length, whose, step=info.step)
    if plot:
        write_plot(points, f"{info.job}: {name}", plot)
        click.echo(f"wrote {plot}", err=True)
    if as_json:
        print_json({"name": name, "points": [{"date": p.day, "value": p.value} | _band(p) for p in points]})
        return
    click.echo(shown.title)
    if name in statistics.histograms:
        _print_histogram(statistics, name, 24)
        click.echo(f"\nhow many values {name} had:")
    _print_points(points, name)


def _print_points(points: list["Point"], name: str) -> None:
    from pinflow.commands.charts import terminal_chart

    if not points:
        click.echo("no run of these days was published; see: pinflow runs")
        return
    if len(points) > 1:
        click.echo(terminal_chart(points, name, min(shutil.get_terminal_size().columns, WIDEST)))
    rows = ((p.day, p.value, p.expected, p.low, p.high, _remark(p)) for p in islice(reversed(points), 14))
    print_table(("date", "value", "expected", "from", "to", ""), rows, empty="none")


def _remark(point: "Point") -> str:
    return "outside" if point.is_outside and point.state == "good" else point.state.replace("good", "")


def _compare(shown: Shown, other: Shown, most: int, as_json: bool) -> None:
    from pinflow.commands.differences import differences

    found = differences(shown, other)
    if as_json:
        print_json({"of": asdict(shown.info), "against": asdict(other.info)} | asdict(found))
        return
    click.echo(f"{shown.title}\nagainst\n{other.title}")
    rows = ((d.name, d.value, d.before, d.change, d.percent) for d in found.numbers)
    print_table(("name", "value", "before", "change", "percent"), rows, empty="no number differs")
    for change in found.items:
        click.echo(f"\n{change.name}, {change.side}:")
        for sign, items in (("+", change.came), ("-", change.went)):
            for item in items[:most]:
                click.echo(f"  {sign} {item}")


def _band(point: "Point") -> dict[str, Any]:
    return {
        "expected": point.expected,
        "low": point.low,
        "high": point.high,
        "outside": point.is_outside,
        "state": point.state,
    }


def _items_as_json(items: "Items") -> dict[str, Any]:
    return {"top": [list(item) for item in items.top], "bottom": [list(item) for item in items.bottom]}


def _step_as_json(shown: Shown, name: str | None) -> dict[str, Any]:
    """All statistics of a step by kind, or that called `name`."""
    kinds = _as_json(shown.statistics, shown.distincts)
    if name is not None:
        kinds = {kind: {name: values[name]} if name in values else {} for kind, values in kinds.items()}
    return kinds | {"step": shown.info.step}


def _as_json(statistics: "Statistics", distincts: Mapping[str, "Estimate"]) -> dict[str, Any]:
    return {
        "counts": dict(sorted(statistics.counts.items())),
        "sums": {name: float(value) for name, value in sorted(statistics.sums.items())},
        "histograms": {
            name: [{"low": low, "high": high, "count": count} for low, high, count in histogram.rows()]
            for name, histogram in sorted(statistics.histograms.items())
        },
        "items": {name: _items_as_json(items) for name, items in sorted(statistics.items.items())},
        "distincts": {name: estimate._asdict() for name, estimate in distincts.items()},
    }
