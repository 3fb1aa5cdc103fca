"""Runs of two days of one week at once, in any order of their jobs: every period is served from both days."""

import tempfile
from dataclasses import dataclass, field
from datetime import date
from itertools import count
from pathlib import Path

import networkx as nx
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pinflow.config import Settings
from pinflow.hbase_schema.periods import AGGREGATIONS
from pinflow.mr_jobs.datasets import Published, Warehouse
from pinflow.workflows.analytics import STAGES, stages
from pinflow.workflows.analytics.plan import Plan
from pinflow.workflows.inputs import Resolved, resolve, served_labels
from pinflow.workflows.node import MapReduce, Periods

DAYS = (date(2015, 5, 19), date(2015, 5, 20))
SECTIONS = ("persist_audience", "persist_metrics", "persist_top_items")


def jobs_of(day: date) -> "nx.DiGraph[str]":
    """The jobs of all stages, in one graph."""
    return nx.compose_all([stage.graph() for stage in stages(day, {"owner": "o", "format": "canonical"})])


def node_of(graph: "nx.DiGraph[str]", name: str) -> MapReduce:
    return MapReduce.from_json(graph.nodes[name]["job"].arguments["node"])


@pytest.mark.parametrize("section", SECTIONS)
def test_all_that_is_served_together_is_made_after_all_the_days_that_any_of_it_reads(section: str) -> None:
    graph = jobs_of(DAYS[0])
    made = [given.dataset for given in node_of(graph, section).inputs]
    counts = {g.dataset for name in made for g in node_of(graph, name).inputs if isinstance(g, Periods)}
    assert counts
    assert {name: counts - nx.ancestors(graph, name) for name in made} == {name: set() for name in made}


@dataclass
class Runs:
    """Two runs over one warehouse, whose jobs begin (resolve their inputs) and end (publish or serve) one at a time."""

    warehouse: Warehouse
    fences: "count[int]" = field(default_factory=lambda: count(1))
    begun: dict[tuple[date, str], tuple[int, Resolved, list[str]]] = field(default_factory=dict)
    ended: set[tuple[date, str]] = field(default_factory=set)
    served: dict[tuple[str, str], tuple[int, set[str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.graphs = {day: jobs_of(day) for day in DAYS}
        extracted = {job.name for job in STAGES["extract"].jobs(Plan(DAYS[0], "o"))}
        for day in DAYS:
            for name in extracted:
                self.publish(day, name, next(self.fences), Resolved())
                self.ended.add((day, name))

    def possible(self) -> list[tuple[date, str]]:
        """Jobs that can begin or end."""
        return [
            (day, name)
            for day, graph in self.graphs.items()
            for name in sorted(graph)
            if (day, name) not in self.ended and all((day, before) in self.ended for before in graph.predecessors(name))
        ]

    def step(self, day: date, name: str) -> None:
        """Begin the job, or end it when it has begun."""
        node = node_of(self.graphs[day], name)
        if (day, name) not in self.begun:
            resolved = resolve(node, day, Settings(), self.warehouse)
            labels = served_labels(self.warehouse, resolved, day) if node.serves else []
            self.begun[day, name] = (next(self.fences), resolved, labels)
            return
        fence, resolved, labels = self.begun[day, name]
        for aggregation in "+".join(labels).split("+") if labels else ():
            before, _ = self.served.get((name, aggregation), (0, set()))
            if aggregation != "daily" and fence > before:
                self.served[name, aggregation] = (fence, self.days_of(resolved))
        self.publish(day, name, fence, resolved)
        self.ended.add((day, name))

    def days_of(self, resolved: Resolved) -> set[str]:
        """The days that each of the datasets read was made from, where all agree."""
        read = [self.warehouse.require(name, day) for name, day, _ in resolved.datasets]
        return set.intersection(*({day for _, day, _ in published.inputs} for published in read))

    def publish(self, day: date, name: str, fence: int, resolved: Resolved) -> None:
        inputs = tuple(resolved.datasets)
        found = Published(name, str(day), f"_attempt-{day}-{fence}", fence, "", 0, 0, (), inputs=inputs)
        self.warehouse.publish(found)


# every step reads a warehouse: shrinking a failure would take minutes
@settings(max_examples=30, phases=(Phase.generate,))
@given(st.data())
def test_every_period_is_served_from_all_days_whatever_the_order(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(Warehouse(str(Path(folder, "warehouse"))))
        while possible := runs.possible():
            # long stretches of one run are as likely as a change at each step
            stay = data.draw(st.integers(1, 12))
            day = data.draw(st.sampled_from(sorted({day for day, _ in possible})))
            for _ in range(stay):
                if mine := [job for job in runs.possible() if job[0] == day]:
                    runs.step(*data.draw(st.sampled_from(mine)))
    wanted = {(section, name) for section in SECTIONS for name in AGGREGATIONS if name != "daily"}
    assert {key: days for key, (_, days) in runs.served.items()} == {key: set(map(str, DAYS)) for key in wanted}
