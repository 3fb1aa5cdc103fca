"""`pinflow stats` as a person sees it, over eighty days of a job."""

import json
import random
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pinflow.cli import cli
from pinflow.commands.charts import BAR_WIDTH, bars
from pinflow.commands.differences import ItemsChange, differences
from pinflow.commands.statistics import Shown
from pinflow.database import open_database
from pinflow.scheduler.schema import prepare
from pinflow.stats_engine.alerts import JobKey
from pinflow.stats_engine.engine import StatsEngine
from pinflow.stats_engine.history import read_history
from pinflow.stats_engine.record import mark_published, record
from pinflow.stats_engine.rules import Background, temporal
from pinflow.stats_engine.series import Owner, forecasts
from pinflow.stats_engine.statistics import Histogram, Item, Items, Statistics

LAST = date(2015, 5, 18)
DIP = date(2015, 5, 14)
NOW = datetime(2015, 5, 19, tzinfo=UTC)

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    engine = open_database(f"sqlite:///{folder}/pinflow.db").execution_options(writes=True)
    prepare(engine)
    numbers = random.Random(1)
    for back in reversed(range(80)):
        day = LAST - timedelta(days=back)
        stats = StatsEngine()
        events = int((1200 if day.weekday() < 5 else 900) * numbers.lognormvariate(0, 0.04)) // (4 if day == DIP else 1)
        stats.incr_count("events", events)
        stats.add_sum("revenue", 2.5)
        stats.add_to_histogram("age", [10, 20, 20, 40 + back % 2])
        stats.add_item("pins", ["old", "both"] if back else ["both", "new"], [3, 2])
        stats.add_distinct("users", list(range(50)))
        key = JobKey("demo", f"demo-{day}-1", "count", 1, day.isoformat(), "ann@example.com")
        steps = [
            Statistics({"nodes": n}, items={"ranks": Items(1, (Item(f"best {n}", n),))})
            for n in (events, events // 2, 7)
        ]
        record(engine, key, stats.statistics(), [], NOW, steps)
        mark_published(engine, key)
    # a second run of the last day, not published
    key = JobKey("demo", f"demo-{LAST}-2", "count", 1, LAST.isoformat(), "ann@example.com")
    record(engine, key, Statistics(counts={"events": 7}), [], NOW)
    engine.dispose()
    return folder


@pytest.fixture
def run(home: Path) -> Run:
    def call(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(cli, ["--home", str(home), "stats", *arguments], prog_name="pinflow")
        assert result.exit_code == code, result.output
        return result

    return call


def test_a_day_is_shown_with_its_forecasts(run: Run) -> None:
    shown = run("count", "--date", str(DIP))
    line = next(line for line in shown.output.splitlines() if line.startswith("events"))
    name, value, expected, low, high, remark = (word.replace(",", "") for word in line.split())
    assert (name, remark) == ("events", "outside")
    assert 250 < float(value) < 350 < float(low) < float(expected) < float(high)
    assert 1000 < float(expected) < 1400
    assert "users: about 50 different, 50 to 50" in shown.output
    assert "age: 4 values  p50 20.12" in shown.output
    assert "pins, lowest:" in shown.output
    assert "outside" not in run("count").output.replace("outside of", "")


def test_the_band_is_the_one_of_the_jobs_rules(home: Path) -> None:
    """Holidays and budget of the workflow that declares the job; the rule alarms just outside of the band shown."""
    database = open_database(f"sqlite:///{home}/pinflow.db").execution_options(writes=True)
    day, whose = LAST, Owner("US", 0.7)
    history = read_history(database, "demo", "count", ["events"], day)
    found = forecasts(database, "demo", "count", day, {"events": 1000.0}, whose)["events"]
    background = Background(day=day, read_history=lambda: history, country="US", allowed={"warning": 0.7, "fatal": 0.1})
    rule = temporal("events")
    assert found.low is not None
    assert found.high is not None
    for value, alarms in ((found.low * 0.99, 1), (found.low * 1.01, 0), (found.high * 0.99, 0), (found.high * 1.01, 1)):
        assert len(rule.judge(Statistics(sums={"events": value}), background)) == alarms
    wider = forecasts(database, "demo", "count", day, {"events": 1000.0}, Owner("US", 12.0))["events"]
    assert (found.low, found.high) != (wider.low, wider.high)


def test_json_has_everything(run: Run) -> None:
    found = json.loads(run("count", "--date", str(DIP), "--json").output)
    assert found["counts"]["events"] < 350
    assert found["sums"] == {"revenue": 2.5}
    assert found["distincts"]["users"]["low"] == 50
    assert found["items"]["pins"]["bottom"] == [["both", 2.0], ["old", 3.0]]
    assert found["forecasts"]["events"]["outside"] is True
    assert found["run_id"] == f"demo-{DIP}-1"


def test_history_is_drawn_and_listed(run: Run) -> None:
    shown = run("count", "events", "--last", "30d").output
    assert "┤" in shown
    assert "xx outside" in shown
    assert [line.split()[-1] for line in shown.splitlines() if line.startswith(str(DIP))] == ["outside"]
    points = json.loads(run("count", "events", "--last", "30d", "--json").output)["points"]
    assert [point["date"] for point in points] == [str(LAST - timedelta(days=back)) for back in reversed(range(30))]
    assert [point["date"] for point in points if point["outside"]] == [str(DIP)]
    assert all(point["low"] < point["expected"] < point["high"] for point in points)


def test_other_kinds_have_a_history_too(run: Run) -> None:
    assert "how many values age had:" in run("count", "age").output
    for name, value in (("users", 50.0), ("age", 4.0), ("revenue", 2.5)):
        points = json.loads(run("count", name, "--last", "3d", "--json").output)["points"]
        assert [round(point["value"], 2) for point in points] == [value] * 3
    assert json.loads(run("count", "pins", "--json").output)["top"] == [["both", 3.0], ["new", 2.0]]
    assert "pins, highest:" in run("count", "pins", "--items", "1").output


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_history_is_drawn_into_a_file(run: Run, tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"events.{kind}"
    run("count", "events", "--plot", str(file))
    data = file.read_bytes()
    if kind == "png":
        assert data.startswith(b"\x89PNG")
    else:
        assert ElementTree.fromstring(data).tag.endswith("svg")


def test_days_and_runs_are_compared(run: Run) -> None:
    before = LAST - timedelta(days=1)
    shown = run("count", "--against", str(before)).output
    assert "  + new\n" in shown
    assert "  - old\n" in shown
    found = json.loads(run("count", "--against", f"demo-{LAST}-2", "--json").output)
    numbers = {one["name"]: one for one in found["numbers"]}
    assert found["against"]["published"] is False
    assert numbers["events"]["before"] == 7
    assert numbers["events"]["change"] == numbers["events"]["value"] - 7
    assert numbers["revenue"] == {"name": "revenue", "value": 2.5, "before": None, "change": 2.5, "percent": None}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("count", "evnts"), "did you mean 'events'"),
        (("count", "events", "--step", "2"), "known: nodes. See"),
        (("count", "nodes"), "known: age, events, revenue, users. See"),
        (("cont",), "did you mean 'count'"),
        (("count", "--last", "3d"), "name it"),
        (("count", "events", "--against", "today"), "leave NAME out"),
        (("count", "events", "--plot", "x.gif"), "ends with .png or .svg"),
        (("count", "--against", "demo-2015-05-18-9"), "did you mean 'demo-2015-05-18-"),
        (("count", "--date", "2014-01-01"), "2014-01-01"),
        (("count", "--step", "4"), "no step of count"),
        (("count", "nodes", "--steps", "--last", "3d"), "--steps shows the steps of one day"),
    ],
)
def test_what_cannot_be_shown_is_said(home: Path, arguments: tuple[str, ...], says: str) -> None:
    result = CliRunner().invoke(cli, ["--home", str(home), "stats", *arguments])
    text = result.output + str(result.exception)
    assert result.exit_code != 0
    assert says in text


def test_steps_stand_beside_each_other(run: Run) -> None:
    lines = [line.split() for line in run("count", "--steps", "--date", str(DIP)).output.splitlines()]
    events = next(float(line[1].replace(",", "")) for line in lines if line[0] == "nodes")
    assert [line[1:] for line in lines if line[0] == "nodes"] == [[f"{events:,.0f}", f"{events // 2:,.0f}", "7"]]
    shown = run("count", "ranks", "--steps", "--date", str(DIP)).output
    best = [line.split()[1:] for line in shown.splitlines() if line.startswith("best")]
    assert best == [[f"{n:.0f}", f"{n:,.0f}"] for n in (events, events // 2, 7)]
    steps = json.loads(run("count", "--steps", "--json").output)["steps"]
    assert [one["step"] for one in steps] == [1, 2, 3]
    assert steps[2]["counts"] == {"nodes": 7}
    (*_, last) = json.loads(run("count", "ranks", "--steps", "--json").output)["steps"]
    assert last["items"] == {"ranks": {"top": [["best 7", 7.0]], "bottom": []}}
    assert [kind for kind, values in last.items() if values] == ["items", "step"]
    points = json.loads(run("count", "nodes", "--step", "2", "--last", "9d", "--json").output)["points"]
    assert [point["outside"] for point in points] == [p["date"] == str(DIP) for p in points]
    assert "step 3" in run("count", "--step", "3", "--against", str(DIP)).output


def test_bars_add_up_and_grow_with_their_counts() -> None:
    histogram = Histogram("x", {(float(n), n + 1.0): n for n in range(1, 41)}, 1.0, 41.0)
    lines = bars(histogram, 10)
    assert len(lines) == 10
    counts = [int(line.split()[3]) for line in lines]
    assert sum(counts) == histogram.count
    assert [line.split()[0] for line in lines][:2] == ["1", "5"]
    lengths = [len(line.split()[4]) for line in lines]
    assert lengths == sorted(lengths)
    assert lengths[-1] == BAR_WIDTH
    assert bars(Histogram("x", {}, 0.0, 0.0)) == []


def test_differences_are_those_of_both_sides() -> None:
    info = None
    now = Statistics({"a": 3, "same": 1}, items={"i": Items(2, (Item("x", 2), Item("y", 1)))})
    before = Statistics({"a": 2, "same": 1}, {"b": 1.5}, items={"i": Items(2, (Item("z", 2), Item("y", 1)))})
    found = differences(Shown(info, now, {}), Shown(info, before, {}))  # type: ignore[arg-type]
    assert [(d.name, d.value, d.before, d.change, d.percent) for d in found.numbers] == [
        ("b", None, 1.5, -1.5, -100.0),
        ("a", 3, 2, 1, 50.0),
    ]
    assert found.items == (ItemsChange("i", "highest", ("x",), ("z",)),)
