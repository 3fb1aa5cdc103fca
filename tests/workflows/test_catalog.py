"""Other people's modules: broken ones, doubled names, typed parameters, and what a run may not freeze."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinflow import config
from pinflow.errors import ConfigurationError
from pinflow.scheduler.declare import check_name
from pinflow.scheduler.parameters import Parameter, read_parameters
from pinflow.workflows.catalog import catalog, definition, timetable, trial

DAY = date(2015, 5, 18)
GOOD = """
from pinflow.scheduler.declare import Command, Stage, Workflow
from pinflow.scheduler.parameters import Parameter
from pinflow.scheduler.schedules import Schedule

def stages(day, given):
    return [Stage("s", [Command("echo", argv=["echo", given["text"], str(given["top"])])])]

def workflows(owner):
    given = [Parameter("text", default="x"), Parameter("top", "whole number", default=3)]
    return [Workflow("NAME", owner, stages, "says it", Schedule("@daily", parameters={"text": "{date}"}), given)]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., config.Settings]:
    """Writes modules beside a pinflow.toml that names them; each test has its own names, since Python keeps them."""

    def make(**modules: str) -> config.Settings:
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        names = ", ".join(f'"{name}"' for name in modules)
        (tmp_path / "pinflow.toml").write_text(f"workflows = [{names}]\n", encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.path", [*__import__("sys").path])
        return config.load()

    return make


def test_a_broken_module_is_shown_with_its_traceback_and_the_others_work(project):
    settings = project(
        fine_one=GOOD.replace("NAME", "fine"),
        broken_import="import not_there_at_all",
        broken_syntax="def workflows(owner:",
        broken_exit="raise SystemExit(3)",
        broken_empty="x = 1",
        broken_shape="def workflows(owner): return ['analytics']",
        broken_cron="from pinflow.scheduler.schedules import Schedule\nSchedule('every day')",
    )
    found = catalog(settings)
    assert list(found.workflows) == ["fine"]
    reasons = {broken.module: broken.reason for broken in found.broken}
    assert reasons["broken_import"] == "ModuleNotFoundError: No module named 'not_there_at_all'"
    assert reasons["broken_syntax"].startswith("SyntaxError: ")
    assert reasons["broken_exit"] == "SystemExit: 3"
    assert "no function workflows(owner)" in reasons["broken_empty"]
    assert "must give a list of Workflow, not one of 'analytics'" in reasons["broken_shape"]
    assert "'every day' is no cron expression" in reasons["broken_cron"]
    assert all("Traceback" in broken.traceback for broken in found.broken)
    assert definition(settings, "fine", DAY).nodes.keys() == {"echo"}
    assert list(timetable(settings).schedules) == ["fine"]


def test_a_workflow_that_is_not_there_may_be_in_a_broken_module(project):
    settings = project(fine_two=GOOD.replace("NAME", "fine"), broken_two="1/0")
    with pytest.raises(ConfigurationError, match=r"did you mean 'fine'.* see: pinflow workflows check"):
        definition(settings, "fin", DAY)


def test_two_modules_with_one_name_leave_the_first(project):
    settings = project(first_of=GOOD.replace("NAME", "same"), second_of=GOOD.replace("NAME", "same"))
    found = catalog(settings)
    assert found.modules == {"same": "first_of"}
    assert found.broken[0].reason == "it declares a workflow 'same', and so does 'first_of'; rename one"


def test_the_parameters_of_a_run_are_typed_and_frozen(project):
    settings = project(typed_one=GOOD.replace("NAME", "typed"))
    frozen = definition(settings, "typed", DAY, given={"top": "7"})
    assert (frozen.parameters["text"], frozen.parameters["top"]) == ("x", 7)
    assert frozen.nodes["echo"].argv == ("echo", "x", "7")
    with pytest.raises(ConfigurationError, match="'top' must be a whole number, not 'seven'"):
        definition(settings, "typed", DAY, given={"top": "seven"})
    with pytest.raises(ConfigurationError, match="no parameter of typed is called 'tpo'; did you mean 'top'"):
        definition(settings, "typed", DAY, given={"tpo": "7"})


def test_a_workflow_whose_stages_fail_is_told_with_the_traceback(project):
    text = GOOD.replace("NAME", "fails").replace("    return [Stage", "    1 / 0\n    return [Stage", 1)
    settings = project(stages_fail=text)
    with pytest.raises(ConfigurationError, match=r"its stages cannot be made: ZeroDivisionError(?s:.*)Traceback"):
        trial(settings, catalog(settings).find("fails"), DAY)


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        ("text", "a; rm -rf /", "a; rm -rf /"),
        ("whole number", "12", 12),
        ("whole number", 12.0, 12),
        ("number", "1.5", 1.5),
        ("yes or no", "No", False),
        ("yes or no", True, True),
        ("day", "2015-05-18", "2015-05-18"),
    ],
)
def test_a_parameter_is_read(kind, value, read):
    found = Parameter("p", kind).read(value)
    assert (found, type(found)) == (read, type(read))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text", 5),
        ("text", "a\0b"),
        ("text", "x" * 5000),
        ("whole number", "1.5"),
        ("whole number", True),
        ("whole number", None),
        ("number", "nan"),
        ("number", "1e999"),
        ("yes or no", "maybe"),
        ("day", "18.5.2015"),
        ("day", 20150518),
    ],
)
def test_a_value_of_another_kind_is_refused(kind, value):
    with pytest.raises(ConfigurationError, match=f"'p' must be a {kind}"):
        Parameter("p", kind).read(value)


def test_choices_and_required_parameters():
    declared = [Parameter("country", choices=["de", "us"], required=True)]
    assert read_parameters("w", declared, {"country": "de"}) == {"country": "de"}
    with pytest.raises(ConfigurationError, match="cannot be 'fr'; valid: de, us"):
        read_parameters("w", declared, {"country": "fr"})
    with pytest.raises(ConfigurationError, match="needs the parameter 'country'; add: --set country=VALUE"):
        read_parameters("w", declared, {})


@given(st.text(max_size=120))
def test_no_name_leaves_its_folder_or_command_line(name):
    """Runs, jobs and workflows are named in paths, URLs and command lines."""
    try:
        check_name("job", name)
    except ConfigurationError:
        return
    assert Path("/logs", name).resolve().parent == Path("/logs")
    assert name == name.strip()
    assert not name.startswith("-")
    assert set(name) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../x", "", "-rf", "a b", "a\n", "a" * 101, "ä", "a\0"])
def test_names_that_are_paths_or_options_are_refused(name):
    with pytest.raises(ConfigurationError, match="cannot be called"):
        check_name("workflow", name)


def test_no_secret_of_the_configuration_is_frozen(project, monkeypatch):
    secret = "hunter2-secret"
    for name, url in {
        "DATABASE": f"mysql://pin:{secret}@db.example.com/pinflow",
        "MAIL": f"smtp://pin:{secret}@mail.example.com",
        "WAREHOUSE": f"hdfs://pin:{secret}@namenode/warehouse",
    }.items():
        monkeypatch.setenv(f"PINFLOW_{name}", url)
    monkeypatch.setenv("PINFLOW_INPUT", ".")
    project(secretive=GOOD.replace("NAME", "secretive"))
    monkeypatch.setenv("PINFLOW_WORKFLOWS", "secretive,pinflow.workflows.analytics")
    settings = config.load()
    assert secret in settings.database_url
    for name in ("secretive", "analytics"):
        frozen = definition(settings, name, DAY)
        assert secret not in frozen.text
        assert secret not in json.dumps(frozen.to_json())
