"""Values that jobs hand to those after them, with real processes."""

import json
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinflow.database import open_database
from pinflow.errors import ConfigurationError, StaleFenceError
from pinflow.scheduler import reading, repair, values
from pinflow.scheduler.declare import Command, Condition, Job, Stage, Workflow
from pinflow.scheduler.definition import define
from pinflow.scheduler.processes import Place
from pinflow.scheduler.records import Outcome
from pinflow.scheduler.run import RunResult, execute
from pinflow.scheduler.states import AttemptState
from pinflow.scheduler.store import Store
from pinflow.zygote import Zygote

HERE = Path(__file__).parent
GIVEN = {"rows": 7, "ratio": 0.5, "place": "a 'b'; $(rm x)", "full": True, "names": ["ü", "b"], "more": {"k": [1]}}
KINDS = {
    "rows": "whole number",
    "ratio": "number",
    "place": "text",
    "full": "yes or no",
    "names": "list",
    "more": "object",
}
TAKES = {name: f"giver.{name}" for name in KINDS}


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote.start(["pinflow.scheduler.child"]) as zygote:
        yield zygote


@pytest.fixture
def real_store(tmp_path: Path) -> Iterator[Store]:
    with Store(open_database(f"sqlite:///{tmp_path / 'pinflow.db'}")) as store:
        yield store


@pytest.fixture
def run(zygote: Zygote, real_store: Store, tmp_path: Path) -> Callable[..., RunResult]:
    def start(definition: Any, run_id: str | None = None) -> RunResult:
        place = Place(tmp_path / "logs", slots=2, folder=HERE)
        return execute(real_store, definition, zygote, place, run_id=run_id)

    return start


def giver(**options: Any) -> Job:
    return Job("giver", call="sample_jobs:count", arguments=GIVEN, gives=KINDS, **options)


def test_callables_commands_and_conditions_get_the_values(run, of, real_store: Store, tmp_path: Path) -> None:
    shown = 'printf \'%s|\' "$PINFLOW_VALUE_ROWS" "$PINFLOW_VALUE_PLACE" "$PINFLOW_VALUE_NAMES"'
    there = tmp_path / "there"
    there.touch()
    result = run(
        of(
            giver(),
            Job("call", call="sample_jobs:show_taken", after=["giver"], takes=TAKES),
            # not directly before it
            Command("command", argv=["sh", "-c", shown], after=["call"], takes=TAKES),
            Command(
                "place",
                argv=["sh", "-c", f'echo \'{{"values": {{"file": "{there}"}}}}\' > $PINFLOW_RESULT'],
                gives={"file": "text"},
            ),
            Condition("asked", call="sample_jobs:exists", after=["place"], takes={"file": "place.file"}),
        )
    )
    assert {job.name: job.state.value for job in result.run.jobs} == dict.fromkeys(
        ("giver", "call", "command", "place", "asked"), "succeeded"
    )
    logs = {name: (tmp_path / "logs" / f"demo-2015-05-18-1/{name}.1.log").read_text() for name in ("call", "command")}
    assert json.loads(logs["call"]) == GIVEN
    assert logs["command"] == '7|a \'b\'; $(rm x)|["\\u00fc", "b"]|'
    (attempt,) = reading.attempts(real_store, result.run.run_id, "giver")
    assert attempt.result["values"] == GIVEN
    ended = [e for _, e in real_store.events(result.run.run_id) if e.job == "giver" and e.state == "succeeded"]
    assert ended[0].detail is not None
    assert ended[0].detail.startswith('gave rows=7, ratio=0.5, place="a')


@pytest.mark.parametrize(
    ("gives", "left", "reason"),
    [
        ({"rows": "whole number"}, {}, "it left no value 'rows', which it declares"),
        ({"rows": "whole number"}, {"rows": "many"}, "parameter 'rows' must be a whole number, not 'many'"),
        ({"rows": "whole number"}, {"rows": 1, "x": 2}, "it left the value 'x', which it does not declare"),
        ({"rows": "list"}, {"rows": {"a": 1}}, "the value 'rows' must be a list"),
        ({"rows": "list"}, {"rows": ["x" * 20_000]}, "its values have 20"),
        # {"values": {"rows": ["…"]}} around them
        ({"rows": "list"}, {"rows": ["x" * 70_000]}, "what it left has 70026 bytes, at most 65536 are read"),
    ],
)
def test_a_job_that_does_not_give_what_it_declares_fails(run, of, gives, left, reason) -> None:
    jobs = [Job("j", call="sample_jobs:count", arguments=left, gives=gives), Command("k", argv=["true"], after=["j"])]
    first, second = run(of(*jobs)).run.jobs
    assert (first.state, second.state) == ("failed", "upstream_failed")
    assert first.reason is not None
    assert first.reason.startswith(reason.replace("parameter ", "")) or first.reason.startswith(reason)


def test_values_in_a_file_that_is_no_json_are_told_from_none(run, of) -> None:
    broken = Command("j", argv=["sh", "-c", "echo rows=1 > $PINFLOW_RESULT"], gives={"rows": "whole number"})
    (job,) = run(of(broken)).run.jobs
    assert (job.state, job.reason) == ("failed", "what it left is no JSON object")


def test_a_skipped_job_may_give_and_one_that_did_not_fails_what_takes_it(run, of, real_store: Store) -> None:
    def jobs(call: str) -> list[Any]:
        return [
            Job("j", call=f"sample_jobs:{call}", arguments={"rows": 3} if call == "skipped_with" else {},
                gives={"rows": "whole number"}),
            Job("k", call="sample_jobs:show_taken", after=["j"], takes={"rows": "j.rows"}),
        ]  # fmt: skip

    assert [job.state.value for job in run(of(*jobs("skipped_with"))).run.jobs] == ["skipped", "succeeded"]
    ended = run(of(*jobs("skipped")))
    assert [job.state.value for job in ended.run.jobs] == ["skipped", "failed"]
    assert ended.run.jobs[1].exit_code == 2
    assert ended.run.jobs[1].reason == (
        "j was skipped, and gave no value 'rows'; do it anew with: pinflow redo demo-2015-05-18-2 j"
    )


def test_only_the_newest_attempt_that_succeeded_counts(store: Store, of) -> None:
    definition = of(
        Job("j", call="m:f", gives={"rows": "whole number"}, retries=1),
        Job("k", call="m:f", after=["j"], takes={"rows": "j.rows"}),
    )
    lease = store.open_run(definition, "w").lease
    assert lease is not None
    takes = definition.nodes["k"].takes

    def end(state: AttemptState, rows: int, **more: Any) -> None:
        (claim,) = [c for c in store.advance(lease, [], 1).claims if c.job == "j"]
        left = json.dumps({"values": {"rows": rows}})
        store.advance(lease, [Outcome(claim, state, exit_code=0, result=left, **more)], 0)

    end(AttemptState.FAILED, 1, retry_at=store.clock())
    with pytest.raises(values.NotGivenError):
        values.taken(store, lease.run_id, takes)
    end(AttemptState.SUCCEEDED, 2)
    assert values.taken(store, lease.run_id, takes) == {"rows": 2}
    repair.apply(store, repair.plan(store, lease.run_id, repair.Repair.REDO, ["j"]), author="me")
    end(AttemptState.SUCCEEDED, 3)
    assert values.taken(store, lease.run_id, takes) == {"rows": 3}


def test_a_late_writer_gives_nothing(make_store, of, dead: set[str]) -> None:
    store = make_store()
    definition = of(Job("j", call="m:f", gives={"rows": "whole number"}))
    old = store.open_run(definition, "old").lease
    (claim,) = store.advance(old, [], 1).claims
    dead.add("old")
    new = store.open_run(definition, "new").lease
    (second,) = store.advance(new, [], 1).claims
    store.advance(new, [Outcome(second, AttemptState.SUCCEEDED, exit_code=0, result='{"values": {"rows": 2}}')], 0)
    late = Outcome(claim, AttemptState.SUCCEEDED, exit_code=0, result='{"values": {"rows": 1}}')
    with pytest.raises(StaleFenceError):
        store.advance(old, [late], 0)
    assert values.taken(store, new.run_id, {"r": "j.rows"}) == {"r": 2}


@pytest.mark.parametrize(
    "wrong",
    [
        lambda of: of(Job("j", call="m:f", gives={"rows": "integer"})),
        lambda of: of(Job("j", call="m:f", gives={"Rows": "number"})),
        lambda of: of(Job("j", call="m:f", takes={"rows": "rows"})),
        lambda of: of(Job("j", call="m:f", arguments={"a": 1}, takes={"a": "k.a"})),
        # not before it; not given
        lambda of: of(giver(), Job("k", call="m:f", takes={"rows": "giver.rows"})),
        lambda of: of(giver(), Job("k", call="m:f", after=["giver"], takes={"rows": "giver.row"})),
    ],
)
def test_a_declaration_that_cannot_be_is_refused(of, wrong) -> None:
    with pytest.raises(ConfigurationError):
        wrong(of)


def test_a_stage_that_takes_a_value_from_another_cannot_be_run_alone() -> None:
    taker = Job("taker", call="m:f", after=["giver"], takes={"rows": "giver.rows"})
    other = Job("other", call="m:f", after=["giver"])
    stages = [Stage("one", [giver()]), Stage("two", [taker]), Stage("three", [other])]
    whole = define(Workflow("demo", "o@example.com", lambda _d, _p: stages), date(2015, 5, 18))
    assert list(whole.only("three").nodes) == ["other"]
    told = "'two' cannot be run alone: its job 'taker' takes giver.rows, a value that the stage 'one' gives"
    with pytest.raises(ConfigurationError, match=told):
        whole.only("two")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(JSON_VALUES, max_size=4))
def test_what_is_given_is_what_is_taken(value: Any) -> None:
    left = json.dumps({"values": {"x": value}, "reason": "y"})
    assert values.typed({"x": "list"}, left, complete=True) == {"x": value}
