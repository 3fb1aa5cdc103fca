"""Rules that could not be judged at night are refused when their workflow is loaded."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest

from pinflow.config import Settings
from pinflow.errors import ConfigurationError
from pinflow.scheduler.declare import Stage, Workflow
from pinflow.scheduler.definition import Definition, define
from pinflow.stats_engine.rules import Rule, absolute, balance, nonzero, ratio, temporal
from pinflow.workflows.analytics import workflows
from pinflow.workflows.catalog import parameters
from pinflow.workflows.checking import check_rules, mapreduce_nodes, share_budget
from pinflow.workflows.counted import counted_by
from pinflow.workflows.node import Day, mapreduce

DAY = date(2015, 5, 18)
ACTIONS = "pinflow.mr_jobs.analytics.user_actions:UserActions"
COUNTS = "pinflow.mr_jobs.analytics.pin_counts:PinCounts"


def defined(
    rules: Sequence[Rule], *, owner: str = "o", after: Sequence[str] = ("pins",), job: str = ACTIONS
) -> Definition:
    """Jobs `pins` and `actions`, the second with these rules."""
    jobs = [
        mapreduce("pins", COUNTS, [], owner="o", rules=[]),
        mapreduce("actions", job, [], owner=owner, rules=rules, after=after),
    ]
    return define(Workflow("w", owner, lambda day, given: [Stage("s", jobs)]), DAY)


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ([temporal("user")], "job 'actions': temporal(user): no statistic is called 'user'; did you mean 'users'?"),
        ([temporal("users", of="event")], "did you mean 'events'?"),
        ([ratio("users", of="pinz", job="pins", max=1)], "did you mean 'pins'?"),
        ([ratio("users", of="pins", job="pin", max=1)], "no job is called 'pin'; did you mean 'pins'?"),
        ([balance([("actions", "users")], ["users"])], "needs 'actions' before it; add it to `after`"),
        ([absolute("users", min=1), absolute("users", min=1)], "has the rule absolute(users, min=1) twice"),
        ([balance([f"_{'x' * 99}{n}" for n in range(7)], ["users"])], "longer than 600 characters"),
    ],
)
def test_rules_that_cannot_be_judged(rules: Sequence[Rule], reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_rules(defined(rules))
    assert reason in str(caught.value)


def test_a_rule_on_a_list_of_items_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'pins_by_events' is a list of items; take a count or a sum"):
        check_rules(defined([temporal("pins_by_events")], job=COUNTS))


def test_rules_without_an_owner_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"it has rules, but no owner who could be told; give owner="):
        check_rules(defined([], owner=" "))


def test_the_other_job_has_to_come_before() -> None:
    rules = [ratio("users", of="pins", job="pins", max=1)]
    check_rules(defined(rules))
    with pytest.raises(ConfigurationError, match="needs 'pins' before it"):
        check_rules(defined(rules, after=()))


@pytest.mark.parametrize("name", ["users", "output_bytes", "seconds", "_skipped.users", "group/counter"])
def test_names_that_may_be_counted_pass(name: str) -> None:
    check_rules(defined([temporal(name)]))


def test_names_are_read_from_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "counting_jobs.py").write_text(
        "from mrjob.job import MRJob\n"
        "class First(MRJob):\n"
        "    def mapper(self, _, line):\n"
        "        self.stats.incr_count('lines', 1)\n"
        "        self.stats.add_sum(f'{line}_total', 1)\n"
        "        self.stats.add_item('top', line, 1)\n"
    )
    (tmp_path / "more_jobs.py").write_text(
        "from counting_jobs import First\nclass Second(First):\n    def late(self):\n"
        "        self.stats.add_to_histogram('age', 1)\n"
    )
    (tmp_path / "open_jobs.py").write_text(
        "from more_jobs import Second\nclass Third(Second):\n    def later(self, name):\n"
        "        self.stats.incr_count(name)\n"
    )
    (tmp_path / "handing_jobs.py").write_text(
        "from more_jobs import Second\nclass Fourth(Second):\n    def later(self):\n        count(self.stats)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    known = counted_by("more_jobs:Second")
    wanted = ["lines", "age", "a_total", "top", "other"]
    assert [known.may_count(name) for name in wanted] == [True, True, True, False, False]
    assert known.is_list("top")
    assert counted_by("open_jobs:Third").may_count("other")
    assert counted_by("handing_jobs:Fourth").may_count("other")
    with pytest.raises(ConfigurationError, match="no module 'no_jobs'"):
        counted_by("no_jobs:Job")


def _settings(tmp_path: Path, **values: object) -> Settings:
    return Settings(home=str(tmp_path), **values)


@pytest.mark.parametrize("form", ["canonical", "access_log"])
def test_the_analytics_workflow_has_rules_that_can_be_judged(tmp_path: Path, form: str) -> None:
    settings = _settings(tmp_path, source={"format": form}, input=str(tmp_path))
    (workflow,) = workflows("o")
    made = define(workflow, DAY, parameters(settings))
    check_rules(made)
    rules = {name: {rule.kind for rule in node.rules} for name, node in mapreduce_nodes(made).items()}
    assert rules["read_events"] >= {"absolute", "ratio", "temporal", "fresh", "balance"}
    assert {"temporal", "balance"} <= rules["user_actions"]
    assert all(kinds & {"temporal", "nonzero"} for kinds in rules.values())


def test_a_workflows_rules_share_its_budget(tmp_path: Path) -> None:
    rules = [temporal("users"), temporal("events", degree="fatal"), nonzero("actions")]
    made = defined(rules)
    settings = _settings(tmp_path, country="GB-ENG", fatals_a_year=2)
    workflow = Workflow("w", "o", lambda day, given: [], warnings_a_year=24)
    told = mapreduce_nodes(share_budget(workflow, settings, made))
    assert {(node.country, node.allowed["warning"], node.allowed["fatal"]) for node in told.values()} == {
        ("GB-ENG", 12.0, 2.0)
    }
    assert [node.rules for node in told.values()] == [node.rules for node in mapreduce_nodes(made).values()]
    with pytest.raises(ConfigurationError, match="holidays of the country 'XX' are not known"):
        share_budget(Workflow("w", "o", lambda day, given: [], country="XX"), settings, made)
    with pytest.raises(ConfigurationError, match="give one above 0"):
        share_budget(Workflow("w", "o", lambda day, given: [], fatals_a_year=0), settings, made)


def test_every_job_is_watched_for_zeros_unless_it_is_already() -> None:
    def rules(*given: Rule) -> list[str]:
        job = mapreduce("j", ACTIONS, [Day("d")], owner="o", rules=given)
        return [rule["rule"] for rule in job.arguments["node"]["rules"]]  # type: ignore[index,call-overload]

    assert rules() == ["nonzero"]
    assert rules(absolute("users", min=1)) == ["absolute", "nonzero"]
    assert rules(temporal("output_rows")) == ["temporal"]
    assert rules(nonzero("output_rows", degree="fatal")) == ["nonzero"]
