from datetime import date

import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinflow.errors import ConfigurationError, UnknownNameError
from pinflow.scheduler import tables
from pinflow.scheduler.declare import Command, Condition, Job, Stage, Workflow
from pinflow.scheduler.definition import Definition, define
from pinflow.scheduler.durations import priorities

DAY = date(2015, 5, 18)


def workflow(*stages: Stage) -> Definition:
    return define(Workflow("demo", "owner@example.com", lambda _day, _parameters: stages), DAY)


def job(name: str, *after: str, **options: object) -> Job:
    return Job(name, call="m:f", after=after, **options)  # type: ignore[arg-type]


def test_a_definition_survives_its_frozen_form():
    definition = workflow(
        Stage("one", [Condition("c", call="m:f", poll="1s", deadline="6h"), job("a", "c", retries=2, owner="x")]),
        Stage("two", [Command("b", argv=["ls", "-l ü"], after=["a"], timeout="1h", publishes=["d"])]),
    )
    again = Definition.from_text(definition.text)
    assert (again.nodes, again.digest, again.order) == (definition.nodes, definition.digest, definition.order)
    assert {n.name: n.owner for n in again.nodes.values()} == {
        "c": "owner@example.com",
        "a": "x",
        "b": "owner@example.com",
    }


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ([job("a"), job("a")], "two jobs called 'a'"),
        ([job("a", "bee"), job("bees")], "did you mean 'bees'"),
        ([job("a", "c"), job("b", "a"), job("c", "b")], "wait for each other: .* -> "),
        ([job("a", "a")], "wait for each other: a -> a"),
    ],
)
def test_a_workflow_that_cannot_run_is_refused(jobs, message):
    with pytest.raises(ConfigurationError, match=message):
        workflow(Stage("s", jobs))


@pytest.mark.parametrize(
    "declare",
    [
        lambda: job("../etc"),
        lambda: job(""),
        lambda: job("a b"),
        lambda: job("x" * 101),
        lambda: job("a\n"),
        lambda: Stage("-s", []),
        lambda: Workflow("a/b", "o", lambda _d, _p: []),
        lambda: Job("a", call="os.system"),
        lambda: Job("a", call="m:f", arguments={"x": object()}),  # type: ignore[dict-item]
        lambda: Job("a", call="m:f", arguments={"x": float("nan")}),
        lambda: Job("a", call="m:f", after="b"),
        lambda: job("a", retries=-1),
        lambda: job("a", timeout="soon"),
        lambda: Command("a", argv="ls -l"),
        lambda: Command("a", argv=[]),
        lambda: Condition("a", call="m:f", poll="now"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused(declare):
    with pytest.raises(ConfigurationError):
        declare()


def test_one_stage_waits_for_no_other():
    definition = workflow(Stage("one", [job("a")]), Stage("two", [job("b", "a"), job("c", "b")]))
    assert {n.name: n.after for n in definition.only("two").nodes.values()} == {"b": (), "c": ("b",)}
    with pytest.raises(UnknownNameError):
        definition.only("three")


def test_a_stage_is_a_networkx_graph_and_back():
    graph: networkx.DiGraph = networkx.DiGraph()
    graph.add_node("a", job=job("a"))
    graph.add_node("b", job=job("b"))
    graph.add_edge("a", "b")
    stage = Stage.from_graph("s", graph)
    assert {j.name: j.after for j in stage.jobs} == {"a": (), "b": ("a",)}
    assert set(stage.graph().edges) == {("a", "b")}


@given(
    st.integers(1, 12).flatmap(
        lambda n: st.tuples(st.just(n), st.sets(st.tuples(st.integers(0, 11), st.integers(0, 11))))
    )
)
def test_order_priority_and_descendants_agree_with_networkx(drawn):
    count, pairs = drawn
    edges = {(a, b) for a, b in pairs if a < b < count}
    jobs = [job(f"j{n}", *(f"j{a}" for a, b in edges if b == n)) for n in range(count)]
    definition = workflow(Stage("s", jobs))
    graph = definition.graph()
    assert set(graph.edges) == {(f"j{a}", f"j{b}") for a, b in edges}
    place = {name: i for i, name in enumerate(definition.order)}
    assert all(place[a] < place[b] for a, b in graph.edges)
    for name in graph:
        assert set(definition.descendants(name)) == networkx.descendants(graph, name)
        below = graph.subgraph({name} | networkx.descendants(graph, name))
        assert priorities(definition, {})[name] == len(networkx.dag_longest_path(below, weight=None, default_weight=1))


@pytest.mark.parametrize(
    ("declare", "what"),
    [
        (lambda owner: Workflow("demo", owner, lambda _day, _parameters: []), "workflow 'demo'"),
        (lambda owner: Job("a", call="m:f", owner=owner), "job 'a'"),
    ],
)
def test_an_owner_is_as_long_as_the_tables_hold(declare, what):
    assert tables.workflow.c.owner.type.length == tables.job.c.owner.type.length == 255
    declare("o" * 255)
    with pytest.raises(ConfigurationError, match=rf"^{what}: its owner 'o+'\.+ has 256 characters; .*, at most 255$"):
        declare("o" * 256)
