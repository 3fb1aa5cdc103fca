"""A fatal maximum stops a job of a real run that would go on for a minute, with alert and mail as any fatal rule."""

import json
import mailbox
import time
from datetime import date
from pathlib import Path

from tests.workflows.command import Command

DAY = date(2015, 5, 18)
ROOT = Path(__file__).parents[2]
WORKFLOW = """
from pinflow.scheduler.declare import Stage, Workflow
from pinflow.stats_engine.rules import absolute
from pinflow.workflows import analytics
from pinflow.workflows.node import Day, mapreduce

def stages(day, parameters):
    rules = [absolute("steps", min=5, max=1500, degree="fatal"), absolute("never", min=1)]
    job, inputs = "tests.mr_jobs.sample_jobs:Endless", [Day("read_events")]
    node = mapreduce("endless", job, inputs, owner="ann@example.com", rules=rules)
    return [analytics.stages(day, parameters)[0], Stage("endless", [node])]

def workflows(owner):
    return [Workflow("endless", owner, stages, "goes on")]
"""


def test_a_job_that_would_run_for_a_minute_is_stopped_with_alert_and_mail(tmp_path: Path) -> None:
    (tmp_path / "own_workflows.py").write_text(WORKFLOW)
    traces = tmp_path / "traces"
    traces.mkdir()
    variables = {
        "PINFLOW_WORKFLOWS": "own_workflows",
        "PYTHONPATH": f"{tmp_path}:{ROOT}",
        "SAMPLE_TRACES": str(traces),
    }
    command = Command(tmp_path / "home", tmp_path / "input", variables)
    folder = command.input / "events" / f"date={DAY}"
    folder.mkdir(parents=True)
    event = {"event_type": "like", "timestamp": f"{DAY}T01:00:00", "user_id": "u", "pin_id": "p", "app": "web"}
    (folder / "a.jsonl").write_text(json.dumps(event | {"domain": "a.example"}) + "\n")

    result = command("run", "endless", "--date", str(DAY), "--json")
    ended = time.time()
    assert result.code == 3, result.err
    (job,) = (job for job in result.json["jobs"] if job["name"] == "endless")
    assert job["state"] == "failed"
    assert "stopped while it ran: steps is " in job["reason"]
    begun = min(trace.stat().st_mtime for trace in traces.iterdir())
    assert ended - begun < 30, "a task counts on for a minute at least"

    alerts = command("alerts", "--job", "endless", "--json").json
    assert [(a["name"], a["degree"], a["state"]) for a in alerts] == [("steps", "fatal", "open")]
    assert 1500 < alerts[0]["value"] < 60_000
    mails = [str(mail) for mail in mailbox.Maildir(command.home / "mail", create=False)]
    (mail,) = (mail for mail in mails if "To: ann@example.com" in mail)
    assert f"pinflow alerts show {alerts[0]['id']}" in mail
    assert command("datasets", "--json").json
    assert not [found for found in command("datasets", "--json").json if found["dataset"] == "endless"]
