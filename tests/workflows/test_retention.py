"""What `clean` removes, and what it leaves: old days, attempts that were replaced, died, or still run."""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from pinflow.config import Settings
from pinflow.database import open_database
from pinflow.errors import DamagedFileError
from pinflow.mr_jobs.datasets import Published, Warehouse
from pinflow.scheduler.store import Store
from pinflow.scheduler.tables import attempt
from pinflow.workflows.retention import Removal, clean
from tests.scheduler.test_expiry import add_run

NOW = datetime(2015, 5, 20, 12, tzinfo=UTC)
DAY, OLD_DAY = "2015-05-18", "2015-03-18"
PUBLISHED = Published("pins", DAY, "_attempt-r-1-2", fence=2, identity="i", rows=0, bytes=0, parts=())
LONG_AGO, JUST_NOW = timedelta(hours=9), timedelta(minutes=59)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=str(tmp_path / "home"))


@pytest.fixture
def write(settings: Settings) -> Callable[..., Path]:
    """Makes an attempt's folder of the warehouse whose folders changed `ago`, and its deepest file `file_ago`."""

    def make(fence: int, ago: timedelta, file_ago: timedelta | None = None, day: str = DAY) -> Path:
        folder = settings.home_path / "warehouse/pins" / f"date={day}" / f"_attempt-r-1-{fence}"
        file = folder / "_temporary/0/part-00000.parquet"
        file.parent.mkdir(parents=True)
        file.touch()
        changed(file, file_ago or ago)
        for above in (file.parent, file.parent.parent, folder):
            changed(above, ago)
        return folder

    return make


def changed(path: Path, ago: timedelta) -> None:
    at = (NOW - ago).timestamp()
    os.utime(path, (at, at))


def publish(settings: Settings, ago: timedelta, **values: str) -> None:
    at = (NOW - ago).isoformat()
    Warehouse(settings.warehouse_url).publish(replace(PUBLISHED, published_at=at, **values))  # type: ignore[arg-type]


def run(settings: Settings, fence: int, lease: timedelta = timedelta(0)) -> None:
    """The scheduler's row of an attempt that runs, with a lease until `lease` from now."""
    values = {"fence": fence, "run_id": "r", "job": "pins", "attempt": 1, "state": "running", "worker": "w", "log": ""}
    with Store(open_database(settings.database_url)) as store, store.engine.begin() as connection:
        connection.execute(sa.insert(attempt).values(values | {"started_at": NOW, "lease_until": NOW + lease}))


def cleaned(settings: Settings, *, dry_run: bool = False) -> list[Removal]:
    return clean(settings, NOW, on_damaged=pytest.fail, dry_run=dry_run)


def test_a_replaced_attempt_goes_an_hour_after_it_was_replaced(settings: Settings, write: Callable[..., Path]) -> None:
    before, current = write(1, LONG_AGO), write(2, LONG_AGO)
    publish(settings, JUST_NOW)
    assert cleaned(settings) == []
    publish(settings, timedelta(minutes=61))
    due = [Removal("attempt", f"pins/date={DAY}/_attempt-r-1-1", "replaced")]
    assert cleaned(settings, dry_run=True) == due
    assert before.exists()
    assert cleaned(settings) == due
    assert (before.exists(), current.exists()) == (False, True)


def test_an_attempt_that_died_goes_an_hour_after_its_last_file(settings: Settings, write: Callable[..., Path]) -> None:
    write(1, LONG_AGO)
    written = write(3, LONG_AGO, JUST_NOW)
    assert cleaned(settings) == [Removal("attempt", f"pins/date={DAY}/_attempt-r-1-1", "never published")]
    assert written.exists()


@pytest.mark.parametrize("published", [False, True])
def test_an_attempt_that_runs_stays(settings: Settings, write: Callable[..., Path], published: bool) -> None:
    running = write(3, LONG_AGO)
    if published:
        publish(settings, LONG_AGO)
    run(settings, 3)
    assert cleaned(settings) == []
    assert running.exists()


def test_an_attempt_of_a_driver_that_died_goes(settings: Settings, write: Callable[..., Path]) -> None:
    dead = write(3, LONG_AGO)
    run(settings, 3, -LONG_AGO)
    assert len(cleaned(settings)) == 1
    assert not dead.exists()


def test_an_old_day_goes_unless_it_is_written(settings: Settings, write: Callable[..., Path]) -> None:
    current = write(2, LONG_AGO, day=OLD_DAY)
    publish(settings, LONG_AGO, date=OLD_DAY)
    run(settings, 2)
    assert cleaned(settings) == []
    with Store(open_database(settings.database_url)) as store, store.engine.begin() as connection:
        connection.execute(sa.update(attempt).values(state="succeeded"))
    assert cleaned(settings) == [Removal("day", f"pins/date={OLD_DAY}", "before 2015-04-15")]
    assert not current.parent.exists()


def test_attempts_of_a_day_that_cannot_be_read_stay(settings: Settings, write: Callable[..., Path]) -> None:
    kept = write(2, LONG_AGO)
    (kept.parent / "current.json").write_text("{")
    write(1, LONG_AGO, day="2015-05-17")
    damaged: list[DamagedFileError] = []
    assert [gone.name for gone in clean(settings, NOW, on_damaged=damaged.append)] == [
        "pins/date=2015-05-17/_attempt-r-1-1"
    ]
    assert kept.exists()
    assert [f"date={DAY}" in str(error) for error in damaged] == [True]


def test_what_lies_in_the_staging_folder_goes_like_attempts(settings: Settings) -> None:
    for name, ago in (("dead-1", LONG_AGO), ("fresh-2", JUST_NOW), ("running-3", LONG_AGO)):
        file = settings.home_path / "staging" / name / "part-00000.parquet"
        file.parent.mkdir(parents=True)
        file.touch()
        changed(file, ago)
        changed(file.parent, LONG_AGO)
    run(settings, 3)
    assert [gone.name for gone in cleaned(settings)] == ["staging/dead-1"]
    assert sorted(path.name for path in (settings.home_path / "staging").iterdir()) == ["fresh-2", "running-3"]


def test_what_jobs_left_on_a_cluster_goes_unless_they_run(settings: Settings) -> None:
    base = settings.home_path / "warehouse/_hadoop"
    for name, ago in (("jobs/pins-r-1-1", LONG_AGO), ("jobs/pins-r-1-2", JUST_NOW), ("jobs/pins-r-1-3", LONG_AGO)):
        file = base / name / "input"
        file.parent.mkdir(parents=True)
        file.touch()
        changed(file, ago)
        changed(file.parent, ago)
    for name, ago in (("old.zip", timedelta(days=40)), ("new.zip", timedelta(days=30))):
        file = base / "environment" / name
        file.parent.mkdir(exist_ok=True)
        file.touch()
        changed(file, ago)
    archive = Removal("archive", "_hadoop/environment/old.zip", "before 2015-04-15")
    assert archive in cleaned(settings, dry_run=True)
    run(settings, fence=3)  # it may need the archive
    due = [Removal("attempt", "_hadoop/jobs/pins-r-1-1", "left behind")]
    assert cleaned(settings, dry_run=True) == due
    assert cleaned(settings) == due
    kept = {path.name for folder in ("jobs", "environment") for path in (base / folder).iterdir()}
    assert kept == {"pins-r-1-2", "pins-r-1-3", "old.zip", "new.zip"}


def test_old_runs_go_with_their_logs(settings: Settings) -> None:
    ended = NOW - timedelta(days=900)
    with Store(open_database(settings.database_url)) as store:
        old = add_run(store, 1, str(ended.date()), "succeeded", ended)
        new = add_run(store, 2, str(NOW.date()), "succeeded", NOW)
    for run_id in (old, new):
        (settings.logs_path / run_id).mkdir(parents=True)
        (settings.logs_path / run_id / "pins.1.log").write_text("hello")
    gone = [Removal("run", old, "day and end before 2013-03-11")]
    assert cleaned(settings, dry_run=True) == gone
    assert (settings.logs_path / old).exists()
    assert cleaned(settings) == gone
    assert [folder.name for folder in settings.logs_path.iterdir()] == [new]
