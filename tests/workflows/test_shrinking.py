"""Days that expired: a day that is run again does not replace a fuller period by less."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from shutil import rmtree

import pytest

from benchmarks.generate import generate_odd_day
from pinflow.config import Settings
from pinflow.hbase_schema.store import open_store
from pinflow.hbase_schema.tables import METRICS
from pinflow.hbase_schema.writer import write_period
from pinflow.mr_jobs.datasets import Published, Warehouse
from pinflow.workflows.inputs import Resolved
from pinflow.workflows.shrinking import days_read, fuller_periods, without
from tests.workflows.command import Command, served

DAY = date(2015, 10, 31)
LATER = datetime(2015, 11, 8, tzinfo=UTC)
FIRST = Published("persist_metrics", "2015-10-31", "_attempt-a", fence=1, identity="", rows=0, bytes=0, parts=())
AFTER_CLEAN = {"daily": 1, "weekly": 6, "biweekly": 13, "monthly": 28}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """October is served, of 31 days."""
    settings = Settings(home=str(tmp_path), keep="35d")
    Warehouse(settings.warehouse_url).publish(replace(FIRST, served=(("daily", 1), ("monthly", 31))))
    with open_store(settings.serving_url) as store:
        write_period(store, METRICS, "monthly", date(2015, 10, 1), [], version="r")
    return settings


def fuller(settings: Settings, read: dict[str, int] = AFTER_CLEAN, now: datetime = LATER) -> dict[str, int]:
    return fuller_periods(settings, METRICS, "persist_metrics", DAY, read, now)


def test_a_month_that_lost_days_does_not_replace_the_whole_one(settings: Settings) -> None:
    assert fuller(settings) == {"monthly": 31}
    # what the run leaves says so too, so that a second one knows; so do other days of the period
    again = replace(FIRST, fence=2, served=tuple((AFTER_CLEAN | fuller(settings)).items()))
    Warehouse(settings.warehouse_url).publish(again)
    assert fuller(settings) == {"monthly": 31}
    assert fuller_periods(settings, METRICS, "persist_metrics", date(2015, 10, 20), AFTER_CLEAN, LATER) == {
        "monthly": 31
    }


def test_as_many_days_or_more_are_written(settings: Settings) -> None:
    assert fuller(settings, AFTER_CLEAN | {"monthly": 31}) == {}


def test_within_keep_a_period_is_always_written(settings: Settings) -> None:
    assert fuller(settings, now=LATER - timedelta(days=4)) == {}


def test_a_period_that_is_not_served_is_written(settings: Settings, tmp_path: Path) -> None:
    assert fuller(settings.model_copy(update={"serving": str(tmp_path / "new.db")})) == {}


def test_labels_without_periods() -> None:
    assert without(["daily", "weekly+monthly", "biweekly"], {"monthly": 3, "biweekly": 2}) == ["daily", "weekly"]


def test_days_are_counted_by_period(tmp_path: Path) -> None:
    warehouse = Warehouse(str(tmp_path))
    # 2015-10-31 is a Saturday
    seen = ("2015-10-04", "2015-10-20", "2015-10-26", "2015-10-31")
    inputs = tuple(("counts", day, "_attempt-x") for day in seen)
    warehouse.publish(replace(FIRST, dataset="domain_metrics", inputs=inputs))
    resolved = Resolved(datasets=[("domain_metrics", "2015-10-31", "_attempt-a")])
    found = days_read(warehouse, resolved, DAY)
    assert (found["daily"], found["weekly"], found["monthly"]) == (1, 2, 4)


def test_a_run_leaves_a_fuller_week_and_writes_its_day(tmp_path: Path) -> None:
    command = Command(tmp_path / "home", tmp_path / "input")
    monday, tuesday = date(2015, 5, 18), date(2015, 5, 19)
    for day in (monday, tuesday):
        generate_odd_day(command.input, day, 2, events=800)
        command.run(day)
    before = served(command).metrics
    for folder in command.home.glob(f"warehouse/*/date={monday}"):
        rmtree(folder)
    command.run(tuesday, "--rebuild")
    assert served(command).metrics == before
    whole_week = {row for row in before if row[2] == "weekly"}
    assert {row[:2] for row in whole_week} > {row[:2] for row in before if row[2:] == ("daily", str(tuesday))}
    longer = Command(command.home, command.input, {"PINFLOW_KEEP": "90000d"})
    longer.run(tuesday, "--rebuild")
    after = served(command).metrics
    assert {row: after.get(row) for row in whole_week} != {row: before[row] for row in whole_week}
