"""Who is told that a job failed or input did not come, and when that is taken back."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pinflow.config import Settings
from pinflow.database import open_database
from pinflow.scheduler.store import Store
from pinflow.scheduler.tables import attempt, job, run, workflow
from pinflow.stats_engine import queries
from pinflow.stats_engine.message import email_of
from pinflow.stats_engine.outbox import Post
from pinflow.stats_engine.tables import MAILS
from pinflow.workflows.failures import tell_failed, tell_failed_of
from tests.scheduler.rows import insert

NOW = datetime(2015, 5, 19, 6, tzinfo=UTC)
SETTINGS = Settings(owner="everybody@example.com")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(open_database(f"sqlite:///{tmp_path}/pinflow.db")) as opened:
        yield opened


def add_run(
    store: Store, serial: int, state: str, exit_code: int | None, *, shared: int = 1, ago: int = 1, day: int = 18
) -> str:
    run_id, started = f"daily-2015-05-{day}-{serial}", NOW - timedelta(hours=6)
    of = {"workflow": "daily", "date": f"2015-05-{day}", "serial": serial, "created_at": NOW - timedelta(days=ago)}
    ended = {"started_at": started, "wait_until": NOW, "shared": shared, "state": "failed"}
    insert(store, run, run_id=run_id, **of, **ended)
    ended = {"state": state, "exit_code": exit_code, "finished_at": NOW - timedelta(days=ago)}
    insert(store, job, run_id=run_id, name="input_ready", reason="no events of the 18th", **ended)
    return run_id


def add_failure(store: Store, serial: int, exit_code: int | None = 1, **of_run: Any) -> str:
    """A run whose job `pins` failed at its second attempt."""
    run_id = add_run(store, serial, "succeeded", 0, **of_run)
    ended = {"state": "failed", "exit_code": exit_code, "finished_at": NOW - timedelta(days=of_run.get("ago", 1))}
    insert(
        store, job, run_id=run_id, name="pins", attempts=2, fence=serial, reason="map task 0 failed: no room", **ended
    )
    of_attempt = {"run_id": run_id, "job": "pins", "state": "failed", "log": f"{run_id}/pins.2.log"}
    insert(store, attempt, fence=serial, attempt=2, **of_attempt)
    return run_id


def mails(store: Store) -> list[Post]:
    with store.engine.connect() as connection:
        return [Post(*row) for row in connection.execute(sa.select(*(MAILS.c[n] for n in Post.__dataclass_fields__)))]


def test_a_run_that_nobody_follows_is_told_once_with_what_to_do(store: Store) -> None:
    insert(store, workflow, name="daily", owner="ann@example.com")
    run_id = add_run(store, 1, "failed", 4)
    add_run(store, 3, "failed", 4, shared=0)
    add_run(store, 4, "failed", 4, ago=3)
    assert [tell_failed(SETTINGS, store, NOW) for _ in range(3)] == [1, 0, 0]
    (alert,) = queries.list_alerts(store.engine)
    assert (alert.run_id, alert.rule, alert.degree, alert.owner) == (
        run_id,
        "input_missing",
        "fatal",
        "ann@example.com",
    )
    (mail,) = mails(store)
    assert "no events of the 18th.\nThe run daily-2015-05-18-1 waited 6:00:00 for it and has ended." in mail.body
    html = email_of(mail, "pinflow@localhost").get_body(("html",)).get_content()  # type: ignore[union-attr]
    for text in ("FATAL: input of daily 2015-05-18 is missing", "pinflow run daily --date 2015-05-18 --wait 6h"):
        assert text in html
        assert text in mail.body
    assert f"pinflow alerts ack {alert.id}" in html


def test_a_run_of_a_command_is_told_when_it_waited(store: Store) -> None:
    run_id = add_run(store, 1, "failed", 4, shared=0)
    assert tell_failed_of(SETTINGS, store, run_id, timedelta(0), NOW) == 0
    assert tell_failed_of(SETTINGS, store, run_id, timedelta(hours=6), NOW) == 1
    assert mails(store)[0].recipient == "everybody@example.com"


def test_input_that_a_later_run_finds_resolves_the_alert(store: Store) -> None:
    add_run(store, 1, "succeeded", None)
    add_run(store, 2, "failed", 4)
    tell_failed(SETTINGS, store, NOW)
    assert [alert.state for alert in queries.list_alerts(store.engine)] == ["open"]
    add_run(store, 3, "succeeded", None)
    tell_failed(SETTINGS, store, NOW)
    (alert,) = queries.list_alerts(store.engine)
    assert alert.state == "resolved"
    assert "a later run found the input" in queries.alert_changes(store.engine, alert.id)[-1].why


def test_each_alert_is_judged_by_the_run_that_it_is_about(store: Store) -> None:
    add_run(store, 1, "failed", 4, day=16)
    add_run(store, 1, "succeeded", None, day=17)
    add_run(store, 2, "failed", 4, day=17)
    add_run(store, 3, "failed", 4, day=18)
    tell_failed(SETTINGS, store, NOW)
    assert [alert.state for alert in queries.list_alerts(store.engine)] == ["open"] * 3
    add_run(store, 4, "succeeded", None, day=18)
    tell_failed(SETTINGS, store, NOW)
    states = {a.run_id: a.state for a in queries.list_alerts(store.engine)}
    assert states == {"daily-2015-05-16-1": "open", "daily-2015-05-17-2": "open", "daily-2015-05-18-3": "resolved"}


def test_nobody_hears_of_input_that_a_later_run_has_found(store: Store) -> None:
    add_run(store, 1, "failed", 4)
    add_run(store, 2, "succeeded", None)
    add_run(store, 3, "failed", 4)
    assert tell_failed(SETTINGS, store, NOW) == 1
    assert [alert.run_id for alert in queries.list_alerts(store.engine)] == ["daily-2015-05-18-3"]


def test_the_owner_of_a_failed_job_gets_the_end_of_its_log(store: Store, tmp_path: Path) -> None:
    run_id = add_failure(store, 1)
    log = tmp_path / "logs" / run_id / "pins.2.log"
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {n}\n" for n in range(90)) + "Traceback (most recent call last):\nOSError: <disk>\n")
    settings = Settings(owner="everybody@example.com", home=str(tmp_path))
    assert [tell_failed(settings, store, NOW) for _ in range(2)] == [1, 0]
    (alert,) = queries.list_alerts(store.engine)
    assert (alert.rule, alert.degree, alert.attempt) == ("failed", "fatal", 2)
    (mail,) = mails(store)
    html = email_of(mail, "pinflow@localhost").get_body(("html",)).get_content()  # type: ignore[union-attr]
    assert mail.recipient == "everybody@example.com"
    assert mail.subject == "[pinflow] pins of daily 2015-05-18 failed"
    assert "map task 0 failed: no room.\nIt was tried 2 times.\n" in mail.body
    assert mail.body.count("\nline ") == 38
    assert "Traceback (most recent call last):\nOSError: <disk>\n" in mail.body
    assert "OSError: &lt;disk&gt;" in html
    assert f"pinflow retry {run_id} pins" in html


def test_a_job_whose_log_lies_on_another_machine_is_told_without_it(store: Store, tmp_path: Path) -> None:
    add_failure(store, 1, exit_code=None)
    assert tell_failed(Settings(owner="everybody@example.com", home=str(tmp_path)), store, NOW) == 1
    assert "its log:\n" not in mails(store)[0].body


def test_what_a_fatal_rule_has_stopped_and_what_is_long_ago_is_not_told(store: Store) -> None:
    add_failure(store, 1, exit_code=3)
    add_failure(store, 2, ago=3, day=17)
    assert tell_failed(SETTINGS, store, NOW) == 0


def test_a_failed_job_of_a_command_is_told_and_resolved_by_its_retry(store: Store) -> None:
    run_id = add_failure(store, 1, shared=0)
    assert tell_failed_of(SETTINGS, store, run_id, timedelta(0), NOW) == 1
    with store.engine.execution_options(writes=True).begin() as connection:
        connection.execute(job.update().where(job.c.name == "pins").values(state="succeeded"))
    assert tell_failed_of(SETTINGS, store, run_id, timedelta(0), NOW) == 0
    (alert,) = queries.list_alerts(store.engine)
    assert alert.state == "resolved"
    assert "it was done later" in queries.alert_changes(store.engine, alert.id)[-1].why
