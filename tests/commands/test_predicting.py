"""Rules and expectations as people list, try and change them."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from pinflow.database import open_database
from pinflow.scheduler.schema import prepare
from pinflow.stats_engine.alerts import JobKey
from pinflow.stats_engine.record import mark_published, record
from pinflow.stats_engine.statistics import Statistics
from tests.workflows.command import Command

FIRST = date(2015, 3, 1)
BAD = FIRST + timedelta(days=50)


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """A home in which user_actions ran on 60 days, and went wrong on one of them."""
    folder = tmp_path_factory.mktemp("predicting")
    made = Command(folder / "home", folder / "input")
    made.home.mkdir(parents=True)
    database = open_database(f"sqlite:///{made.home / 'pinflow.db'}").execution_options(writes=True)
    prepare(database)
    for number in range(60):
        day = FIRST + timedelta(days=number)
        users = 200 if day == BAD else 1000 + 7 * (number % 5)
        counts = {"users": users, "events": 10 * users, "actions": 5 * users, "output_rows": 5 * users}
        key = JobKey("analytics", f"analytics-{day}-1", "user_actions", 1, day.isoformat(), "o")
        record(database, key, Statistics(counts=counts), [], datetime.now(UTC))
        mark_published(database, key)
    database.dispose()
    return made


def test_rules_are_listed(command: Command) -> None:
    found = command("rules", "--json").json
    assert {"workflow": "analytics", "job": "user_actions", "degree": "warning", "rule": "temporal(users)"} in found
    assert {rule["job"] for rule in command("rules", "--job", "pins", "--json").json} == {"pins"}
    missing = command("rules", "--job", "pinz")
    assert (missing.code, "did you mean 'pins'?" in missing.err) == (2, True)


def test_a_rule_is_tried_on_past_days(command: Command) -> None:
    found = command("rules", "try", "user_actions", "--rule", "temporal(users)", "--last", "30d", "--json").json
    assert found["days"] == 30
    assert [(alarm["date"], alarm["degree"]) for alarm in found["alarms"]] == [(BAD.isoformat(), "warning")]
    found = command(
        "rules", "try", "user_actions", "--rule", "absolute(users, min=1001)", "--last", "5d", "--json"
    ).json
    assert len(found["alarms"]) == 1
    shown = command("rules", "try", "user_actions", "--last", "20d")
    assert (shown.code, "temporal(users)" in shown.out, BAD.isoformat() in shown.out) == (0, True, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["user_actions", "--rule", "temporal(user)"], "did you mean 'users'?"),
        (["user_actions", "--rule", "temporal(users"], "is not a rule"),
        (["user_actions", "--rule", "fresh(users, within='1h')"], "cannot be tried"),
        (["pins"], "has published nothing yet"),
    ],
)
def test_what_cannot_be_tried_says_why(command: Command, arguments: list[str], says: str) -> None:
    result = command("rules", "try", *arguments)
    assert result.code != 0
    assert says in result.err


def test_rules_are_suggested_from_history(command: Command) -> None:
    rules = [suggestion["rule"] for suggestion in command("rules", "suggest", "user_actions", "--json").json]
    assert 'temporal("users")' in rules
    assert 'balance(["actions"], ["output_rows"])' in rules
    assert "14 published days" in command("rules", "suggest", "pins").out


def test_changes_are_expected_shown_and_removed(command: Command) -> None:
    shift = ["--from", "2015-05-01", "--to", "2015-05-07", "--factor", "2", "--why", "campaign", "--json"]
    (made,) = command("expect", "user_actions", "users", *shift).json
    assert (made["workflow"], made["job"], made["name"], made["factor"]) == ("analytics", "user_actions", "users", 2.0)
    assert (made["from_date"], made["to_date"], made["why"]) == ("2015-05-01", "2015-05-07", "campaign")
    assert command.sql("SELECT name, from_date, factor FROM expectations") == [("users", "2015-05-01", 2.0)]
    assert "campaign" in command("expect").out
    assert command("expect", "--remove", str(made["id"]), "--json").json == []
    gone = command("expect", "--remove", str(made["id"]))
    assert (gone.code, "there is no expectation" in gone.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["user_actions", "users", "--factor", "2"], "--from, --why is missing"),
        (["user_actions", "user", "--from", "2015-05-01", "--factor", "2", "--why", "x"], "did you mean 'users'?"),
        (["user_action", "users", "--from", "2015-05-01", "--factor", "2", "--why", "x"], "'user_actions'?"),
        (["user_actions", "users", "--from", "2015-05-01", "--factor", "-2", "--why", "x"], "give one above 0"),
    ],
)
def test_expectations_that_make_no_sense_say_why(command: Command, arguments: list[str], says: str) -> None:
    result = command("expect", *arguments)
    assert (result.code, says in result.err) == (2, True)


def test_a_bad_rule_fails_when_the_workflows_are_checked(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from pinflow.scheduler.declare import Stage, Workflow\n"
        "from pinflow.stats_engine.rules import temporal\n"
        "from pinflow.workflows.node import mapreduce\n"
        "def stages(day, given):\n"
        "    job = 'pinflow.mr_jobs.analytics.user_actions:UserActions'\n"
        "    return [Stage('s', [mapreduce('mine', job, [], owner='o', rules=[temporal('userz')])])]\n"
        "def workflows(owner):\n"
        "    return [Workflow('mine', owner, stages)]\n"
    )
    variables = {"PINFLOW_WORKFLOWS": "mine", "PYTHONPATH": str(tmp_path)}
    result = Command(command.home, command.input, variables)("workflows", "check")
    assert result.code == 2
    assert "job 'mine': temporal(userz): no statistic is called 'userz'; did you mean 'users'?" in result.out
