"""Whole runs over generated odd days, against the independent computation of tests/oracle.py, cell by cell."""

import shutil
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from benchmarks.generate import generate_odd_day
from pinflow.hbase_schema import reader
from tests.oracle import EVENT_TYPES, TOP, Oracle
from tests.workflows.command import Command, Served, served

# A weekend: the first two days share week and month, the third only the two weeks
DAYS = (date(2015, 5, 30), date(2015, 5, 31), date(2015, 6, 1))
SEED = 11
EVENTS = 1500


def expected(folder: Path, days: tuple[date, ...]) -> Served:
    """What is to be served when all of `days` are published."""
    whole = Served({}, {}, {})
    for day in days:
        oracle = Oracle(folder, days, day)
        metrics = oracle.metrics()
        starts = {aggregation: entry["date"] for (_, _, aggregation), entry in metrics.items()}
        for key, entry in metrics.items():
            whole.metrics[*key, entry["date"]] = entry["metrics"]
        for key, kinds in oracle.audience().items():
            whole.audience[*key, starts[key[2]]] = kinds
        for key, lists in oracle.top(TOP).items():
            rows = {what: [(row["rank"], row["id"], row["value"]) for row in rows] for what, rows in lists.items()}
            whole.top[*key, starts[key[2]]] = rows
    return whole


def assert_equal(found: Served, wanted: Served) -> None:
    for section in ("metrics", "audience", "top"):
        left, right = getattr(found, section), getattr(wanted, section)
        assert left, f"no {section}"
        differing = [key for key in left.keys() | right.keys() if left.get(key) != right.get(key)]
        shown = {key: (left.get(key), right.get(key)) for key in sorted(differing)[:3]}
        assert not differing, f"{section}: {len(differing)} of {len(right)} differ, such as (found, wanted) {shown}"


def assert_counts(command: Command, day: date) -> None:
    """The statistics equal the oracle's, and balance."""
    counts, wanted = command.counts(day), Oracle(command.input, [day], day).counts()
    read = counts["read_events"]
    for name in ("lines_read", "blank_lines", "bad_lines", "other_event_types", "out_of_day_events", "truncated_files"):
        assert read.get(name, 0) == wanted[name], name
    losses = ("blank_lines", "bad_lines", "other_event_types", "out_of_day_events")
    assert read["lines_read"] == read["events_kept"] + sum(read.get(name, 0) for name in losses)
    assert read["events_kept"] == wanted["events_kept"] + wanted["unknown_pins"]
    totals: dict[str, int] = {}
    for event in EVENT_TYPES:
        found = counts[f"extract_{event}"]
        assert found["events_read"] == found["events_kept"] + found.get("unknown_pins_dropped", 0)
        assert found["events_read"] == read.get(event, 0), event
        totals = {name: totals.get(name, 0) + found.get(name, 0) for name in totals | found}
    assert totals["events_kept"] == wanted["events_kept"]
    assert totals.get("unknown_pins_dropped", 0) == wanted["unknown_pins"]
    assert totals.get("unknown_pins", 0) == wanted["unknown_pins"] + wanted["unknown_pins_kept"]
    for kind in ("pins", "boards", "users"):
        objects = counts[kind]
        for mine, theirs in (("lines_read", f"{kind}_lines_read"), ("bad_lines", f"{kind}_bad_lines")):
            assert objects.get(mine, 0) == wanted[theirs], theirs
        assert objects.get(f"repeated_{kind}", 0) == wanted[f"repeated_{kind}"]
        lost = sum(objects.get(name, 0) for name in ("blank_lines", "bad_lines", f"repeated_{kind}"))
        assert objects["lines_read"] == objects[f"{kind}_kept"] + lost


@pytest.fixture(scope="module")
def three_days(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Three days, run in order."""
    folder = tmp_path_factory.mktemp("three_days")
    command = Command(folder / "home", folder / "input")
    for day in DAYS:
        generate_odd_day(command.input, day, SEED, events=EVENTS)
        command.run(day)
    return command


@pytest.fixture(scope="module")
def wanted(three_days: Command) -> Served:
    return expected(three_days.input, DAYS)


def test_three_days_equal_the_oracle(three_days: Command, wanted: Served) -> None:
    assert_equal(served(three_days), wanted)
    for day in DAYS:
        assert_counts(three_days, day)


def test_the_reader_gives_every_subject_as_the_oracle_has_it(three_days: Command, wanted: Served) -> None:
    with three_days.serving as store:
        assert reader.subjects(store) == sorted({key[0] for key in wanted.metrics})
        for (subject, platform, aggregation, start), values in wanted.metrics.items():
            if (aggregation, start) == ("weekly", "2015-05-25"):
                series = reader.metrics(store, subject, platform, aggregation, DAYS[1], DAYS[1])
                row = {"date": start, "platform": platform, "aggregation": aggregation, "metrics": values}
                assert [found.as_json() for found in series.rows] == [row]
                assert series.missing == []
        for (subject, platform, aggregation, start), lists in wanted.top.items():
            if (platform, aggregation, start) == ("all", "monthly", "2015-05-01"):
                for (items, by), rows in lists.items():
                    found = reader.top(store, subject, items, by, aggregation=aggregation, day=DAYS[0])
                    assert found == rows
        for (subject, platform, aggregation, start), kinds in wanted.audience.items():
            if (aggregation, start) == ("daily", str(DAYS[2])):
                assert reader.audience(store, subject, platform, aggregation, day=DAYS[2]) == kinds


def test_a_changed_earlier_day_changes_its_periods_and_no_others(three_days: Command, tmp_path: Path) -> None:
    command = Command(tmp_path / "home", tmp_path / "input")
    shutil.copytree(three_days.home, command.home)
    shutil.copytree(three_days.input, command.input)
    before = served(command)
    generate_odd_day(command.input, DAYS[0], SEED + 1, events=EVENTS + 100, apps=("web", "tv"))
    states = set(command.run(DAYS[0]).jobs.values())
    assert states == {"succeeded"}
    after = served(command)
    assert_equal(after, expected(command.input, DAYS))
    assert_counts(command, DAYS[0])
    untouched = {("daily", str(day)) for day in DAYS[1:]} | {("weekly", "2015-06-01"), ("monthly", "2015-06-01")}
    for section in ("metrics", "audience", "top"):
        assert _of(getattr(before, section), untouched) == _of(getattr(after, section), untouched)


def _of(rows: Mapping[tuple[str, str, str, str], Any], periods: set[tuple[str, str]]) -> dict[Any, Any]:
    return {key: value for key, value in rows.items() if key[2:] in periods}


@pytest.mark.parametrize(
    ("slots", "options"), [("1", ()), ("3", ()), ("2", ("--runner", "inline"))], ids=["1 slot", "3 slots", "inline"]
)
def test_totals_and_rows_are_the_same_for_any_number_of_tasks(
    three_days: Command, tmp_path: Path, slots: str, options: tuple[str, ...]
) -> None:
    other = Command(tmp_path / "home", three_days.input, {"PINFLOW_SLOTS": slots}, options)
    result = other.run(DAYS[0])
    assert result.json["runner"] == ("inline" if options else "local")
    whole = served(three_days)
    alone = served(other)
    daily = {("daily", str(DAYS[0]))}
    for section in ("metrics", "audience", "top"):
        assert _of(getattr(alone, section), daily) == _of(getattr(whole, section), daily)
    assert_equal(alone, expected(other.input, DAYS[:1]))
    assert _without_bytes(other.counts(DAYS[0])) == _without_bytes(three_days.counts(DAYS[0]))


def _without_bytes(counts: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """Sizes of files and numbers of periods depend on what was published before."""
    return {
        job: {name: value for name, value in values.items() if not name.endswith("_bytes")}
        for job, values in counts.items()
        if job.startswith(("read_", "extract_", "pins", "boards", "users", "pin_", "board_", "user_"))
    }


def test_one_app_only(tmp_path: Path) -> None:
    command = Command(tmp_path / "home", tmp_path / "input")
    generate_odd_day(command.input, DAYS[1], 3, events=900, apps=("ipad",))
    command.run(DAYS[1])
    found = served(command)
    assert {key[1] for key in found.metrics} == {"all", "ipad"}
    assert_equal(found, expected(command.input, DAYS[1:2]))
    assert_counts(command, DAYS[1])


def test_an_empty_day_that_is_ready_is_published_without_rows(tmp_path: Path) -> None:
    command = Command(tmp_path / "home", tmp_path / "input")
    (tmp_path / "pinflow.toml").write_text('[source]\nready = "_SUCCESS"\n')
    generate_odd_day(command.input, DAYS[0], SEED, events=900)
    generate_odd_day(command.input, DAYS[1], empty=True)
    assert command("run", "analytics", "--date", str(DAYS[1])).code == 4
    for day in DAYS[:2]:
        for kind in ("events", "pins", "boards", "users"):
            (command.input / kind / f"date={day}" / "_SUCCESS").touch()
        command.run(day)
    assert_equal(served(command), expected(command.input, DAYS[:2]))
    assert command.counts(DAYS[1])["read_events"].get("lines_read", 0) == 0
    result = command("metrics", "d:half.example", "--from", str(DAYS[0]), "--to", str(DAYS[1]), "--json")
    assert [row["date"] for row in result.json] == [str(DAYS[0])]


def test_a_day_that_became_empty_is_served_without_rows(tmp_path: Path) -> None:
    command = Command(tmp_path / "home", tmp_path / "input")
    generate_odd_day(command.input, DAYS[0], SEED, events=900)
    command.run(DAYS[0])
    shutil.rmtree(command.input)
    generate_odd_day(command.input, DAYS[0], empty=True)
    command.run(DAYS[0])
    assert served(command) == Served(metrics={}, audience={}, top={})
    # The day is published, though it has nothing to show.
    assert command("subjects", "--json").json == []
    with command.serving as store:
        assert reader.last_published_day(store) == DAYS[0]


def test_a_cut_file_is_fatal_and_counted(tmp_path: Path) -> None:
    command = Command(tmp_path / "home", tmp_path / "input")
    made = generate_odd_day(command.input, DAYS[0], 5, events=900, truncated=True)
    result = command.run(DAYS[0], code=3)
    assert result.json["state"] == "failed"
    states = result.jobs
    assert states["read_events"] == "failed"
    assert states["extract_like"] == states["persist_metrics"] == "upstream_failed"
    assert states["pins"] == "succeeded"
    assert not (command.home / "warehouse/read_events" / f"date={DAYS[0]}" / "current.json").exists()
    counted = dict(command.sql("select name, value from stat_counts where job = 'read_events' and step = 0"))
    assert counted["truncated_files"] == 1
    # a task that lives on for a moment is stopped at once: then nothing else is known of it
    others = {name: counted[name] for name in ("bad_lines", "lines_read") if name in counted}
    assert others in ({}, {"bad_lines": made.bad_lines, "lines_read": made.lines_read})
    fatal = command.sql("select job, degree from alerts where rule like '%truncated_files%'")
    assert ("read_events", "fatal") in fatal
