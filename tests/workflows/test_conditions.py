"""The ready-made conditions, asked directly and through a run that waits for them without a slot."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from pinflow import config
from pinflow.database import open_database
from pinflow.errors import ConfigurationError, InputMissingError, UnknownNameError
from pinflow.mr_jobs.datasets import Warehouse
from pinflow.scheduler.declare import Command, Condition, Job, Stage, Workflow
from pinflow.scheduler.definition import define
from pinflow.scheduler.records import Outcome
from pinflow.scheduler.run import execute
from pinflow.scheduler.states import AttemptState
from pinflow.scheduler.store import Store
from pinflow.scheduler.worker import Place
from pinflow.workflows import conditions, waits
from pinflow.zygote import Zygote

DAY = date(2015, 5, 18)


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> config.Settings:
    other = f"sqlite:///{tmp_path / 'other.db'}"
    (tmp_path / "pinflow.toml").write_text(f'[connections]\nshop = "{other}"\n', encoding="utf-8")
    monkeypatch.setenv("PINFLOW_CONFIG", str(tmp_path / "pinflow.toml"))
    return config.load()


def ask(condition: Condition) -> bool:
    """Call what the condition would, with the arguments that a run would freeze."""
    function: Callable[..., bool] = getattr(conditions, condition.call.partition(":")[2])
    return function(**condition.arguments)


def test_data(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    assert not ask(waits.data("d", str(folder)))
    folder.mkdir()
    (folder / "a").write_bytes(b"12345")
    assert ask(waits.data("d", str(folder)))
    assert not ask(waits.data("d", str(folder), least_files=2))
    assert not ask(waits.data("d", str(folder), least_bytes=6))
    assert ask(waits.data("d", str(folder), least_bytes=5))
    assert not ask(waits.data("d", str(folder), marker="_SUCCESS"))
    (folder / "_SUCCESS").touch()
    assert ask(waits.data("d", str(folder), marker="_SUCCESS"))


def test_dataset(settings: config.Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = waits.dataset("d", "user_actions", DAY)
    with pytest.raises(InputMissingError, match="user_actions of 2015-05-18 is not published"):
        ask(wanted)
    monkeypatch.setattr(Warehouse, "current", lambda _self, name, day: (name, day))
    assert ask(wanted)


def test_run(settings: config.Settings) -> None:
    wanted = waits.run("r", "demo", DAY)
    with Store(open_database(settings.database_url)) as store:
        with pytest.raises(InputMissingError, match="the run of demo 2015-05-18 is not there, not succeeded"):
            ask(wanted)
        workflow = Workflow("demo", "o", lambda _day, _given: [Stage("s", [Job("a", call="m:f")])])
        lease = store.open_run(define(workflow, DAY), "w").lease
        assert lease is not None
        with pytest.raises(InputMissingError, match="is running, not succeeded"):
            ask(wanted)
        (claim,) = store.advance(lease, [], 1).claims
        store.advance(lease, [Outcome(claim, AttemptState.FAILED, "x", 1)], 0)
        store.close_run(lease)
    with pytest.raises(InputMissingError, match="is failed, not succeeded"):
        ask(wanted)
    assert ask(waits.run("r", "demo", DAY, states=["succeeded", "failed"]))


def test_query(settings: config.Settings) -> None:
    engine = sa.create_engine(settings.connections["shop"])
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE loads (day TEXT)")
    wanted = waits.query("q", "SELECT count(*) FROM loads WHERE day = '2015-05-18'", connection="shop")
    with pytest.raises(InputMissingError, match="the query gives 0"):
        ask(wanted)
    with pytest.raises(InputMissingError, match="the query gives no row"):
        ask(waits.query("q", "SELECT 1 WHERE 0", connection="shop"))
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO loads VALUES ('2015-05-18')")
    assert ask(wanted)
    with pytest.raises(UnknownNameError, match="no connection is called 'shp'; did you mean 'shop'"):
        ask(waits.query("q", "SELECT 1", connection="shp"))
    assert ask(waits.query("q", "DELETE FROM loads RETURNING 1", connection="shop"))
    assert ask(wanted), "a query that deletes is rolled back"
    assert ask(waits.query("q", "SELECT 1"))


def test_command(tmp_path: Path) -> None:
    file = tmp_path / "a; touch injected"
    wanted = waits.command("c", ["test", "-e", str(file)])
    with pytest.raises(InputMissingError, match="test ended with exit code 1"):
        ask(wanted)
    file.touch()
    assert ask(wanted)
    assert not (tmp_path / "injected").exists()
    with pytest.raises(InputMissingError, match=r"sleep did not answer within 0.1 s"):
        ask(waits.command("c", ["sleep", "30"], seconds=0.1))
    with pytest.raises(ConfigurationError, match="cannot start 'not-there-at-all'"):
        ask(waits.command("c", ["not-there-at-all"]))
    # a question without a timeout has a minute
    assert [waits.command("c", ["x"], seconds=s).timeout for s in (60, 600.5)] == [None, "661s"]
    assert waits.command("c", ["x"], seconds=600, timeout="2h").timeout == "2h"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: waits.data("d", "x", marker="m", least_files=2), "give a marker, or how much has to be there"),
        (lambda: waits.run("r", "w", DAY, states=["done"]), "no run ends 'done'; valid: aborted, failed, succeeded"),
        (lambda: waits.query("q", "SELECT 1", connection="mysql://u:p@h/d"), "a name of the setting connections"),
        (lambda: waits.command("c", "test -e x"), "argv must be a list"),
    ],
)
def test_a_condition_that_cannot_be_is_refused_where_it_is_declared(make: Callable[[], object], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        make()


def test_ten_conditions_wait_while_the_only_slot_works(tmp_path: Path, settings: config.Settings) -> None:
    """With one slot: if a condition held it, nobody would make what the conditions wait for."""
    made = tmp_path / "made"
    jobs = [
        *(waits.data(f"there_{n}", str(made), marker="done", poll="1s") for n in range(10)),
        Command("make", argv=["sh", "-c", 'mkdir "$0" && touch "$0/done"', str(made)]),
        Command("last", argv=["true"], after=[f"there_{n}" for n in range(10)]),
    ]
    definition = define(Workflow("waiting", "o", lambda _day, _given: [Stage("s", jobs)]), DAY)
    place = Place(tmp_path / "logs", slots=1, wait=timedelta(minutes=5), folder=tmp_path)
    with (
        Zygote.start(["pinflow.workflows.conditions"]) as zygote,
        Store(open_database(settings.database_url)) as store,
    ):
        result = execute(store, definition, zygote, place)
    assert {job.name: job.state.value for job in result.run.jobs} == dict.fromkeys(definition.nodes, "succeeded")


def test_no_password_is_shown_when_a_setting_is_wrong(tmp_path: Path) -> None:
    text = 'mail = "http://me:hunter2@mail.example.com"\nconnections = "mysql://me:hunter2@h/d"\nkeep = "x"\n'
    (tmp_path / "pinflow.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        config.load()
    assert "hunter2" not in str(caught.value)
    assert "mail.example.com" in str(caught.value)
