"""A workflow of somebody else's: a plain `MRJob`, unchanged, over the raw input and over a dataset."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from mrjob.job import MRJob

from pinflow.scheduler.declare import Condition, Stage, Workflow
from pinflow.stats_engine.rules import absolute
from pinflow.workflows.node import INPUT_READY, Day, Raw, mapreduce

EVENTS = Raw("events")


class Statuses(MRJob):
    """How often a web server answered with each status."""

    def mapper(self, _: None, line: str) -> Iterator[tuple[str, int]]:
        self.increment_counter("log", "lines")
        yield line.split('" ')[1].split()[0], 1

    def combiner(self, status: str, counts: Iterable[int]) -> Iterator[tuple[str, int]]:
        yield status, sum(counts)

    reducer = combiner


class UsersOfApp(MRJob):
    """Distinct users by app, of rows as JSON lines."""

    def mapper(self, _: None, line: str) -> Iterator[tuple[str, str]]:
        row = json.loads(line)
        yield row["app"], row["user_id"]

    def reducer(self, app: str, users: Iterable[str]) -> Iterator[tuple[str, int]]:
        yield app, len(set(users))


def stages(day: date, parameters: Mapping[str, Any]) -> Sequence[Stage]:
    """What is read, and the two plain jobs."""
    owner, rule = parameters["owner"], absolute("log/lines", min=1, degree="fatal")
    ready = Condition(
        INPUT_READY, call="pinflow.workflows.conditions:input_is_ready", arguments={"date_text": day.isoformat()}
    )
    read = mapreduce("read_events", "pinflow.mr_jobs.analytics.read_events:ReadEvents", [EVENTS], owner=owner, rules=[])
    statuses = mapreduce("statuses", f"{__name__}:Statuses", [EVENTS], owner=owner, rules=[rule])
    users = mapreduce("users_of_app", f"{__name__}:UsersOfApp", [Day("read_events")], owner=owner, rules=[])
    return [Stage("plain", [ready, read, statuses, users])]


def workflows(owner: str) -> list[Workflow]:
    """The workflow `plain`."""
    return [Workflow("plain", owner, stages, "plain jobs")]
