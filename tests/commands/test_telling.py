"""Standard error as JSON, as a program reads it."""

import json
from datetime import datetime
from pathlib import Path

from tests.workflows.command import Command

FLOWS = """
from pinflow.scheduler.declare import Command, Stage, Workflow

def workflows(owner):
    jobs = [Command(name, argv=[name == "b" and "false" or "true"], after=after) for name, after in
            {"a": [], "b": ["a"], "c": ["b"]}.items()]
    return [Workflow("told", owner, lambda day, given: [Stage("s", jobs)])]
"""


def test_each_line_of_a_run_is_an_object(tmp_path: Path) -> None:
    (tmp_path / "told_flows.py").write_text(FLOWS)
    (tmp_path / "input" / "events").mkdir(parents=True)
    command = Command(
        tmp_path / "home", tmp_path / "input", {"PINFLOW_WORKFLOWS": "told_flows", "PYTHONPATH": str(tmp_path)}
    )
    ended = command("run", "told", "--date", "2020-01-01", "--log-format", "json")
    assert ended.code == 1
    lines = [json.loads(line) for line in ended.err.splitlines()]
    assert all({"time", "level", "run", "job", "attempt", "message"} <= line.keys() for line in lines)
    assert all(datetime.fromisoformat(line["time"]).tzinfo is not None for line in lines)
    changes = [(line["job"], line["attempt"], line["state"], line["level"]) for line in lines if "state" in line]
    assert changes[-4:] == [
        ("b", 1, "running", "info"),
        ("b", 1, "failed", "error"),
        ("c", None, "upstream_failed", "warning"),
        (None, None, "failed", "error"),
    ]
    assert {line["run"] for line in lines} == {"told-2020-01-01-1"}
    assert any(line["message"] == "see: pinflow logs told-2020-01-01-1 b" for line in lines)
    refused = command("run", "tld", "--date", "2020-01-01", "--log-format", "json")
    (line,) = [json.loads(line) for line in refused.err.splitlines()]
    assert (refused.code, line["level"]) == (2, "error")
    assert "did you mean 'told'" in line["message"]
