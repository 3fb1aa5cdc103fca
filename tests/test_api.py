from pathlib import Path

import pytest

from pinflow import api, config
from pinflow.errors import AbortedError, ConfigurationError, OtherWorkError, UnknownNameError
from pinflow.scheduler.records import Opened
from pinflow.workflows import backfilling
from pinflow.workflows.run import Request

MODULE = """
from pinflow.scheduler.declare import Command, Stage, Workflow
from pinflow.scheduler.parameters import Parameter
from pinflow.scheduler.schedules import Schedule

def stages(day, given):
    return [Stage("s", [Command("say", argv=["echo", given["word"]]), Command("no", argv=["false"], after=["say"])])]

def workflows(owner):
    word = [Parameter("word", default="hello")]
    return [
        Workflow("api_demo", owner, stages, "", Schedule("@daily"), word),
        Workflow("other_demo", owner, stages, "", None, word),
    ]
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
        assert list(pinflow.workflows().workflows) == ["api_demo", "other_demo"]


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


def test_runs_are_repaired_from_python(pinflow: api.Pinflow) -> None:
    with pinflow:
        run = pinflow.run("api_demo", "2015-05-18")
        (planned,) = pinflow.preview("retry", run.run_id)
        assert [(change.job, change.before, change.after) for change in planned.changes] == [("no", "failed", "ready")]
        assert pinflow.get_run(run.run_id).state == "failed"
        assert [job.attempts for job in pinflow.retry(run.run_id).jobs] == [1, 2]
        skipped = pinflow.skip(run.run_id, ["no"], detach=True)
        assert (skipped.state, [job.state for job in skipped.jobs]) == ("succeeded", ["succeeded", "skipped"])
        redone = pinflow.redo(run.run_id, ["say"], detach=True)
        assert [job.state for job in redone.jobs] == ["ready", "waiting"]
        pinflow.abort(run.run_id)
        shared = pinflow.poison(run.run_id, ["say"], later=True, detach=True)
        assert [(again.run_id, again.state, again.shared) for again in shared] == [(run.run_id, "running", True)]
        with pytest.raises(UnknownNameError):
            pinflow.preview("undo", run.run_id)


def test_runs_are_held_from_python(pinflow: api.Pinflow) -> None:
    with pinflow:
        run = pinflow.submit("api_demo", "2015-05-18")
        assert (run.state, run.shared) == ("running", True)
        pinflow.pause(run.run_id, reason="why not")
        pinflow.drain(workflow="api_demo")
        pinflow.disable("api_demo", "no", reason="broken")
        causes = {cause.kind: cause.command for cause in pinflow.explain(run.run_id, "say").causes}
        assert causes == {"pause": f"pinflow resume {run.run_id}", "drain": "pinflow resume --workflow api_demo"}
        assert {(s.action.value, str(s.scope), s.reason) for s in pinflow.signals()} == {
            ("pause", f"run {run.run_id}", "why not"),
            ("drain", "workflow api_demo", ""),
            ("disable", "workflow api_demo", "broken"),
        }
        pinflow.enable("api_demo", "no")
        assert pinflow.resume(workflow="api_demo") == ["drain"]
        assert pinflow.abort(everything=True) == [run.run_id]
        with pytest.raises(AbortedError):
            pinflow.submit("api_demo", "2015-05-19")
        assert pinflow.resume(everything=True) == ["abort"]
        assert pinflow.resume(run.run_id, detach=True) == ["pause"]
        assert pinflow.get_run(run.run_id).state == "running"
        with pytest.raises(ConfigurationError, match="say for whom"):
            pinflow.pause()


def test_a_backfill_is_left_to_workers_from_python(pinflow: api.Pinflow) -> None:
    with pinflow:
        begun = pinflow.backfill("api_demo", "2015-05-01", "2015-05-05", max_runs=2, detach=True)
        assert [day.state for day in begun.days] == ["running", "running", "waiting", "waiting", "waiting"]
        assert [run.shared for run in pinflow.runs()] == [True, True]
        assert pinflow.cancel_backfills("api_demo") == [begun.number]


def test_other_work_of_a_day_waits_for_the_run_that_is_under_way(pinflow: api.Pinflow) -> None:
    with pinflow:
        first = pinflow.submit("api_demo", "2015-05-18", rebuild=True)
        with pytest.raises(OtherWorkError, match=f"pinflow abort {first.run_id}"):
            pinflow.submit("api_demo", "2015-05-18")
        begun = pinflow.backfill("api_demo", "2015-05-18", "2015-05-19", max_runs=2, detach=True)
        assert [day.state for day in begun.days] == ["waiting", "running"]
        pinflow.abort(first.run_id)
        backfilling.push(pinflow.settings)
        again = pinflow.backfill("api_demo", "2015-05-18", "2015-05-19", max_runs=2, detach=True)
        assert [day.run_id for day in again.days] == ["api_demo-2015-05-18-2", "api_demo-2015-05-19-1"]


@pytest.mark.parametrize(
    ("error", "says"), [(KeyError("site"), "KeyError: 'site'"), (SystemExit("no config"), "SystemExit: no config")]
)
def test_a_backfill_whose_workflow_cannot_be_used_holds_up_no_other(
    pinflow: api.Pinflow,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    says: str,
) -> None:
    with pinflow:
        pinflow.abort(workflow="api_demo")
        held = pinflow.backfill("api_demo", "2015-05-01", "2015-05-02", max_runs=2, detach=True)
        assert [day.state for day in held.days] == ["waiting", "waiting"]
        assert "backfill 1: api_demo 2015-05-01: " in capsys.readouterr().err
        submit = backfilling.submit_workflow

        def fails(settings: config.Settings, request: Request) -> Opened:
            if request.date.day == 11:
                raise error
            return submit(settings, request)

        monkeypatch.setattr(backfilling, "submit_workflow", fails)
        begun = pinflow.backfill("other_demo", "2015-05-11", "2015-05-12", max_runs=2, detach=True)
        assert [day.state for day in begun.days] == ["failed", "running"]
        assert f"backfill 2: other_demo 2015-05-11: {says}\n" in capsys.readouterr().err


def test_what_cannot_be_asked_for_is_refused_with_what_can(pinflow: api.Pinflow) -> None:
    with pinflow:
        with pytest.raises(ConfigurationError, match=r"'2020-13-01' is no day: .*; write YYYY-MM-DD"):
            pinflow.run("api_demo", "2020-13-01")
        with pytest.raises(ConfigurationError, match="reprocess cannot be 'bogus'; valid: none, failed, all"):
            pinflow.backfill("api_demo", "2015-05-01", "2015-05-02", reprocess="bogus")
        with pytest.raises(ConfigurationError, match="max_runs is 1 or more"):
            pinflow.backfill("api_demo", "2015-05-01", "2015-05-02", max_runs=0)
        assert pinflow.runs() == []
