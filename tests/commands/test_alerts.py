"""`pinflow alerts`, as a person types it."""

import json
from datetime import date
from pathlib import Path

import pytest

from tests.stats_engine.test_outbox import Inbox, free_port, smtp_server
from tests.workflows.command import Command

DAY = date(2015, 5, 18)


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """A day whose only event is about an unknown pin, which is worth a warning, and no mail server."""
    made = Command(tmp_path / "home", tmp_path / "input", {"PINFLOW_MAIL": f"smtp://127.0.0.1:{free_port()}"})
    event = {"event_type": "like", "timestamp": f"{DAY}T01:00:00", "user_id": "u", "pin_id": "p", "app": "web"}
    folder = made.input / "events" / f"date={DAY}"
    folder.mkdir(parents=True)
    (folder / "a.jsonl").write_text(json.dumps(event | {"domain": "a.example"}) + "\n")
    return made


def test_handling_alerts_and_sending_what_waits(command: Command) -> None:
    command.run(DAY)
    listed = command("alerts", "--json").json
    number = str(listed[0]["id"])
    assert {alert["state"] for alert in listed} == {"open"}

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

    ((waiting,),) = command.sql("select count(*) from mails where state = 'waiting'")
    assert waiting > 0
    away = command("alerts", "deliver", "--now")
    assert away.code == 1
    assert f"0 sent, {waiting} wait" in away.out
    assert "ConnectionRefusedError" in away.out
    inbox, port = Inbox(), int(command.variables["PINFLOW_MAIL"].rpartition(":")[2])
    with smtp_server(inbox, port):
        assert command("alerts", "deliver", "--now", "--json").json["sent"] == waiting
    assert len({message["Message-ID"] for message in inbox.messages()}) == len(inbox.envelopes) == waiting
    assert command("alerts", "deliver").out == "0 sent, 0 wait\n"


def test_a_mail_server_that_cannot_be_is_told_before_the_run(command: Command) -> None:
    refused = Command(command.home, command.input, {"PINFLOW_MAIL": "smtp://host:1?ssl=1"})(
        "run", "analytics", "--date", str(DAY)
    )
    assert refused.code == 2
    assert "set `mail` to" in refused.err
    assert not (command.home / "pinflow.db").exists()
