"""`pinflow alerts`, as a person types it."""

from datetime import UTC, date, datetime
from email.message import EmailMessage
from pathlib import Path

import pytest

from pinflow.database import open_database
from pinflow.scheduler.schema import prepare
from pinflow.stats_engine.alerts import Alert, JobKey
from pinflow.stats_engine.record import record
from pinflow.stats_engine.statistics import Statistics
from tests.stats_engine.test_outbox import Inbox, free_port, smtp_server
from tests.workflows.command import Command

DAY = date(2015, 5, 18)


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """A database with a job's alert and its mail, and a mail server that is away."""
    made = Command(tmp_path / "home", tmp_path / "input", {"PINFLOW_MAIL": f"smtp://127.0.0.1:{free_port()}"})
    engine = open_database(f"sqlite:///{made.home / 'pinflow.db'}").execution_options(writes=True)
    prepare(engine)
    key = JobKey("analytics", f"analytics-{DAY}-1", "read_events", 1, str(DAY), "ann@example.com")
    alert = Alert("absolute(events_kept, min=1)", "events_kept", "warning", "events_kept is 0", value=0, low=1)
    record(engine, key, Statistics(counts={"events_kept": 0}), [alert], datetime.now(UTC))
    engine.dispose()
    return made


def test_handling_alerts_and_sending_what_waits(command: Command) -> None:
    (listed,) = command("alerts", "--json").json
    number = str(listed["id"])
    assert (listed["state"], listed["message"]) == ("open", "events_kept is 0")

    done = command("alerts", "ack", number, "--why", "I look", "--by", "ann")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"alert {number} is acknowledged: ")
    muted = command("alerts", "mute", number, "--for", "7d", "--json").json
    assert muted[0]["state"] == "muted"
    assert command("alerts", "accept", number, "--why", "a test").code == 0
    refused = command("alerts", "ack", number)
    assert refused.code == 2
    assert f"alert {number} is accepted, so you cannot acknowledge it; possible is: reopen" in refused.err
    assert command("alerts", "show", "4711").code == 2

    shown = command("alerts", "show", number)
    for part in (
        "open -> acknowledged by ann: I look",
        "muted -> accepted",
        "a test",
        f"pinflow run analytics --date {DAY}",
    ):
        assert part in shown.out
    about = command("alerts", "show", number, "--json").json
    assert [change["state"] for change in about["changes"]] == ["acknowledged", "muted", "accepted"]
    assert about["record"] == {"alarms": 1, "accepted": 1, "acknowledged": 1, "muted": 1}
    assert number not in {str(alert["id"]) for alert in command("alerts", "list", "--json").json}

    away = command("alerts", "deliver", "--now")
    assert away.code == 1
    assert "0 sent, 1 wait" in away.out
    assert "ConnectionRefusedError" in away.out
    inbox, port = Inbox(), int(command.variables["PINFLOW_MAIL"].rpartition(":")[2])
    with smtp_server(inbox, port):
        assert command("alerts", "deliver", "--now", "--json").json["sent"] == 1
    (message,) = inbox.messages()
    text = message.get_body(("plain",))
    assert isinstance(text, EmailMessage)
    assert f"pinflow alerts show {number}" in text.get_content()
    assert command("alerts", "deliver").out == "0 sent, 0 wait\n"


def test_a_mail_server_that_cannot_be_is_told_before_the_run(tmp_path: Path) -> None:
    command = Command(tmp_path / "home", tmp_path / "input", {"PINFLOW_MAIL": "smtp://host:1?ssl=1"})
    refused = command("run", "analytics", "--date", str(DAY))
    assert refused.code == 2
    assert "set `mail` to" in refused.err
    assert not (command.home / "pinflow.db").exists()
