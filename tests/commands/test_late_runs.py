"""A run that will be late, as its owner and whoever asks see it."""

import json
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from pinflow import config
from pinflow.cli import cli
from pinflow.database import open_database
from pinflow.scheduler.deadlines import Deadline
from pinflow.scheduler.declare import Job, Stage, Workflow
from pinflow.scheduler.definition import Definition, define
from pinflow.scheduler.records import Outcome
from pinflow.scheduler.states import AttemptState
from pinflow.scheduler.store import Store
from pinflow.workflows.watching import look


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


def of(day: date) -> Definition:
    jobs = [Job("a", call="m:f"), Job("b", call="m:f", after=["a"])]
    flow = Workflow("late", "ann@example.com", lambda _d, _p: [Stage("s", jobs)], deadline=Deadline(within="2h"))
    return define(flow, day)


@pytest.fixture
def settings(now: datetime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> config.Settings:
    """A run of yesterday whose jobs took an hour each, and one that began 90 minutes ago and still does the first."""
    monkeypatch.setenv("PINFLOW_HOME", str(tmp_path))
    loaded = config.load()
    moment = now - timedelta(hours=24)
    with Store(open_database(loaded.database_url), clock=lambda: moment, is_dead=lambda _: False) as store:
        lease = store.open_run(of(now.date() - timedelta(days=1)), "w").lease
        assert lease is not None
        for _ in "ab":
            (claim,) = store.advance(lease, [], 1).claims
            moment += timedelta(hours=1)
            store.advance(lease, [Outcome(claim, AttemptState.SUCCEEDED, exit_code=0)], 0)
        store.close_run(lease)
        moment = now - timedelta(minutes=90)
        lease = store.open_run(of(now.date()), "w").lease
        assert lease is not None
        store.advance(lease, [], 1)
        store.engine.dispose()
    return loaded


def test_the_owner_gets_a_mail_and_commands_say_when_it_will_end(now: datetime, settings: config.Settings) -> None:
    look(settings)
    look(settings)
    (mail,) = (settings.home_path / "mail" / "new").iterdir()
    text = mail.read_text()
    run_id = f"late-{now.date()}-1"
    assert "To: ann@example.com" in text
    assert f"pinflow explain {run_id}" in text
    assert re.search(r"a: running for 1 h 3\d min, usually 1 h 0 min", text)

    def asked(*words: str) -> str:
        return CliRunner().invoke(cli, list(words), catch_exceptions=False).output

    shown = json.loads(asked("show", run_id, "--json"))
    assert abs(datetime.fromisoformat(shown["expected_at"]) - now - timedelta(hours=1)) < timedelta(minutes=5)
    assert datetime.fromisoformat(shown["due_at"]) == now + timedelta(minutes=30)
    assert shown["warned_at"] is not None
    assert [job["expected_seconds"] for job in shown["jobs"]] == [3600, 3600]
    due = f"{now + timedelta(minutes=30):%Y-%m-%d %H:%M}"
    assert f"{due}, late" in asked("runs")
    for command in ("show", "explain"):
        assert f"due {due}" in asked(command, run_id)
    (alert,) = json.loads(asked("alerts", "--json"))
    assert (alert["job"], alert["rule"]) == ("(run)", "deadline")
