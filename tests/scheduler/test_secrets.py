"""Secrets of the configuration stay in it; names and parameters reach neither paths nor a shell."""

import json
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner

from pinflow import config
from pinflow.cli import cli
from pinflow.errors import ConfigurationError, PinflowError, UnknownNameError
from pinflow.scheduler.declare import Command as CommandNode
from pinflow.scheduler.declare import Job, Stage, Workflow, check_name
from pinflow.scheduler.parameters import Parameter
from pinflow.scheduler.pools import Limit, list_limits, set_limit
from pinflow.workflows.catalog import definition
from tests.workflows.command import Command

SECRET = "hunter2-Zb5"
FLOWS = """
from pinflow import config
from pinflow.scheduler.declare import Command, Job, Stage, Workflow
from pinflow.scheduler.parameters import Parameter
from pinflow.workflows import waits

def connect():
    import sqlalchemy
    from pinflow.database import open_database
    open_database(config.load().connections["shop"]).connect()

def stages(day, given):
    return [Stage("s", [
        waits.query("asks", "SELECT 1", connection="shop"),
        Job("connects", call="secret_flows:connect"),
        Command("says", argv=["echo", given["word"]]),
        Command("fails", argv=["false"], after=["says"], warn_after="1s"),
    ])]

def workflows(owner):
    return [Workflow("secretive", owner, stages, parameters=[Parameter("word", default="x")])]
"""
RUN = "secretive-2020-01-01-1"


@pytest.fixture
def command(tmp_path: Path) -> Command:
    (tmp_path / "secret_flows.py").write_text(FLOWS)
    (tmp_path / "input" / "events").mkdir(parents=True)
    more = {
        "PINFLOW_WORKFLOWS": "secret_flows",
        "PYTHONPATH": str(tmp_path),
        "PINFLOW_MAIL": f"smtp://ann:{SECRET}@127.0.0.1:1?starttls=1",
        "PINFLOW_WEBHOOKS": f"http://127.0.0.1:1/services/{SECRET}",
        "PINFLOW_CONNECTIONS": json.dumps({"shop": f"mysql+pymysql://ann:{SECRET}@127.0.0.1:1/shop"}),
    }
    return Command(tmp_path / "home", tmp_path / "input", more)


def test_secrets_are_in_no_log_row_event_or_answer(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = command("run", "secretive", "--date", "2020-01-01", "--log-format", "json")
    assert ended.code == 1
    said = [ended.out, ended.err]
    for name, value in command.environment.items():
        monkeypatch.setenv(name, value)
    places = ["--home", str(command.home), "--input", str(command.input)]
    asked = ["show RUN", "events RUN", "explain RUN", "alerts", "doctor", "workflows", "workflows check", "signals"]
    for line in asked:
        words = line.replace("RUN", RUN).split()
        answer = CliRunner().invoke(cli, [*places, *words, "--json"])
        assert answer.output, line
        said += [answer.output, str(answer.exception)]
    assert "127.0.0.1" in "".join(said)
    assert [place for place, text in enumerate(said) if SECRET in text] == []
    kept = [path for path in command.home.rglob("*") if path.is_file()]
    assert {"pinflow.db", "asks.1.log", "connects.1.log"} <= {path.name for path in kept}
    assert [path for path in kept if SECRET.encode() in path.read_bytes()] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"mail": f"smtp://ann:{SECRET}@"},
        {"mail": f"smtp://ann:{SECRET}@host:port"},
        {"database": f"mysql+pymysql://ann:{SECRET}@host:port/x"},
        {"database": f"oracle://ann:{SECRET}@host/x"},
        {"database": f"mysql+pymysql://ann:{SECRET}@127.0.0.1:1"},
        {"serving": f"hbase://ann:{SECRET}@host:port"},
        {"warehouse": f"ftp://ann:{SECRET}@host/x"},
        {"input": f"ftp://ann:{SECRET}@host/x"},
        {"webhooks": [f"ftp://host/{SECRET}"]},
        {"webhooks": [f"host/services/{SECRET}"]},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_settings_that_cannot_be_used_are_told_without_their_secrets(wrong: dict[str, object], tmp_path: Path) -> None:
    from pinflow.database import open_database
    from pinflow.hbase_schema.store import open_store as open_serving
    from pinflow.stats_engine.channels import channels_of
    from pinflow.storage import open_storage

    def use() -> None:
        settings = config.load({"home": str(tmp_path), **wrong})
        open_database(settings.database_url)
        open_storage(settings.warehouse_url)
        open_storage(settings.input or str(tmp_path))
        channels_of(settings)
        open_serving(settings.serving_url)

    with pytest.raises(PinflowError) as told:
        use()
    assert SECRET not in str(told.value)


WRONG_NAMES = ["../../etc/passwd", "/etc/passwd", "a/b", "..", ".", "", "a b", "a\n", "a;b", "$(id)", "é", "x" * 101]


@pytest.mark.parametrize("name", WRONG_NAMES)
def test_names_that_are_paths_or_more_are_refused(name: str) -> None:
    for declare in (
        lambda: Job(name, call="m:f"),
        lambda: Stage(name, []),
        lambda: Workflow(name, "o", lambda _d, _p: []),
        lambda: CommandNode("c", argv=["true"], pool=name),
        lambda: check_name("pool", name),
    ):
        with pytest.raises(ConfigurationError):
            declare()


@pytest.mark.parametrize("name", ["../../../../etc/passwd", "%", "_", "", "demo-2015-05-18-1/../x"])
def test_a_run_or_job_is_found_by_its_own_name_alone(store, make, tmp_path: Path, name: str) -> None:
    from pinflow.scheduler.reading import find_attempt, get_run

    opened = store.open_run(make({"a": []}), "w")
    with pytest.raises(UnknownNameError):
        get_run(store, name)
    with pytest.raises(UnknownNameError):
        find_attempt(store, opened.run_id, name)


def test_a_limit_cannot_take_the_place_of_another(store) -> None:
    set_limit(store, Limit("workflow", "demo", 1))
    set_limit(store, Limit("pool", "demo", 2))
    assert {(limit.kind, limit.name, limit.slots) for limit in list_limits(store)} == {
        ("workflow", "demo", 1),
        ("pool", "demo", 2),
    }


INJECTIONS = ["; touch pwned", "$(touch pwned)", "`touch pwned`", "' && touch pwned '", "x\ntouch pwned", "--help"]


def test_parameters_reach_a_command_as_they_are(command: Command) -> None:
    text = " | ".join(INJECTIONS)
    ended = command("run", "secretive", "--date", "2020-01-01", "--set", f"word={text}")
    assert ended.code == 1
    assert (command.home / "logs" / RUN / "says.1.log").read_text() == f"{text}\n"
    assert list(command.home.parent.rglob("pwned")) == []


@pytest.mark.parametrize("day", ["2020-01-01/../..", "../2020-01-01", "2020-1-1", "2020-01-01;x"])
def test_a_day_is_a_day(day: str) -> None:
    answer = CliRunner().invoke(cli, ["run", "analytics", "--date", day])
    assert answer.exit_code == 2
    with pytest.raises(ConfigurationError):
        Parameter("day", "day").read(day)


def test_no_value_of_the_configuration_with_a_secret_is_frozen(command: Command, monkeypatch) -> None:
    for name, value in command.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(command.home.parent))
    frozen = definition(config.load({"home": str(command.home)}), "secretive", date(2020, 1, 1))
    assert SECRET not in frozen.text
    assert "shop" in frozen.text
