from pathlib import Path

import pytest

from pinflow import api, config
from pinflow.errors import UnknownNameError

MODULE = """
from pinflow.scheduler.declare import Command, Stage, Workflow
from pinflow.scheduler.parameters import Parameter
from pinflow.scheduler.schedules import Schedule

def stages(day, given):
    return [Stage("s", [Command("say", argv=["echo", given["word"]]), Command("no", argv=["false"], after=["say"])])]

def workflows(owner):
    return [Workflow("api_demo", owner, stages, "", Schedule("@daily"), [Parameter("word", default="hello")])]
"""


@pytest.fixture
def pinflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> api.Pinflow:
    (tmp_path / "api_flows.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "pinflow.toml").write_text('workflows = ["api_flows"]\n', encoding="utf-8")
    monkeypatch.setenv("PINFLOW_CONFIG", str(tmp_path / "pinflow.toml"))
    return api.Pinflow(config.load())


def test_what_the_commands_do_from_python(pinflow: api.Pinflow) -> None:
    with pinflow:
        seen: list[str] = []
        run = pinflow.run(
            "api_demo", "2015-05-18", parameters={"word": "hi"}, on_event=lambda event: seen.append(event.state)
        )
        assert (run.run_id, run.state, run.parameters["word"]) == ("api_demo-2015-05-18-1", "failed", "hi")
        assert [job.state for job in run.jobs] == ["succeeded", "failed"]
        assert [known.run_id for known in pinflow.runs(workflow="api_demo")] == [run.run_id]
        story = [event.state for event in pinflow.events("api_demo")]
        assert (story[0], story[1:]) == ("running", seen)
        assert pinflow.explain(run.run_id, "no").causes[0].kind == "failed"
        assert pinflow.get_run(run.run_id).jobs[0].name == "say"
        assert list(pinflow.workflows().workflows) == ["api_demo"]


def test_schedules_from_python(pinflow: api.Pinflow) -> None:
    with pinflow:
        (info,) = pinflow.schedules(count=3)
        assert (info.state, len(info.next)) == ("on", 3)
        assert pinflow.pause_schedule("api_demo")
        assert not pinflow.pause_schedule("api_demo")
        assert pinflow.schedules()[0].state == "paused"
        assert pinflow.resume_schedule("api_demo")
        with pytest.raises(UnknownNameError):
            pinflow.pause_schedule("other")
        assert pinflow.cancel_backfills("api_demo") == []


def test_a_backfill_from_python(pinflow: api.Pinflow) -> None:
    with pinflow:
        ended = pinflow.backfill("api_demo", "2015-05-18", "2015-05-18")
        assert (ended.state, [day.state for day in ended.days]) == ("failed", ["failed"])
        assert len(pinflow.runs()) == 1
