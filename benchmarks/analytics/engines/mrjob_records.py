"""mrjob as it is usually written: generators over records, the small sides in memory, one shuffle by subject."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import nsmallest
from typing import Any

from mrjob.job import MRJob

from benchmarks.analytics.task import (
    ALL,
    DIMENSIONS,
    EVENT_TYPES,
    METRICS,
    NETWORKS,
    OTHER,
    RANKING,
    TOP,
    UNKNOWN,
)

SECONDS = 86_400
KINDS = {"d:": "domain", "p:": "profile"}

Row = list[Any]
Items = dict[str, dict[str, float]]


@dataclass
class Tally:
    """What is counted of one subject on one platform. Items are ids with values, by event type and ranking."""

    counts: Counter[str] = field(default_factory=Counter)
    users: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    audience: defaultdict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    pins: Items = field(default_factory=lambda: defaultdict(dict))
    boards: Items = field(default_factory=lambda: defaultdict(dict))

    def add(self, event: Row) -> None:
        """Count an event."""
        kind, _, network, user, pin, board, score, *values = event
        self.counts[kind] += 1
        if network in NETWORKS:
            self.counts[f"{kind}_{network}"] += 1
        self.users[kind].add(user)
        for dimension in zip(DIMENSIONS, values, strict=True):
            self.audience[dimension].add(user)
        for items, item in ((self.pins, pin), (self.boards, board)):
            if item is not None:
                by_type, ranking = items[kind], items[RANKING]
                by_type[item] = by_type.get(item, 0) + 1
                if score is not None:
                    ranking[item] = max(score, ranking.get(item, score))

    def metrics(self) -> Row:
        """The columns of the table of metrics."""
        found: dict[str, int] = {f"{event}_users": len(users) for event, users in self.users.items()}
        found["users"] = len(set().union(*self.users.values()))
        for name in ("pins", "boards"):
            found[name] = len({item for event in EVENT_TYPES for item in getattr(self, name).get(event, ())})
        return [(self.counts | found).get(name, 0) for name in METRICS.numbers]


class Analytics(MRJob):
    """All tables of a day: rows as `[table, [columns]]`."""

    def configure_args(self) -> None:
        """Declare the small sides, which are shipped with the job, and the day."""
        super().configure_args()
        self.add_file_arg("--pins")
        self.add_file_arg("--users")
        self.add_passthru_arg("--date")

    def mapper_init(self) -> None:
        """Load pins and users."""
        self.pins = {pin["pin_id"]: pin for pin in _rows(self.options.pins)}
        self.users = {user["user_id"]: user for user in _rows(self.options.users)}
        self.start = datetime.strptime(self.options.date, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()

    def mapper(self, _: None, line: str) -> Iterator[tuple[str, Row]]:
        """An event that counts, for its pin's domain and owner."""
        event = json.loads(line)
        pin = self.pins.get(event["pin_id"])
        in_day = 0 <= event["timestamp"] - self.start < SECONDS
        if pin is None or event["event_type"] not in EVENT_TYPES or not in_day:
            return
        user = self.users.get(event["user_id"], {})
        values = (user.get("country") or event["country"], event["metro"], user.get("gender"))
        record = [
            *(event["event_type"], event["app"], event["network"], event["user_id"], event["pin_id"]),
            *(pin["board_id"], pin["search_score"], *(value or UNKNOWN for value in values)),
        ]
        if pin["domain"]:
            yield f"d:{pin['domain'].lower()}", record
        if pin["owner_id"]:
            yield f"p:{pin['owner_id']}", record

    def reducer(self, subject: str, events: Iterable[Row]) -> Iterator[tuple[str, Row]]:
        """All rows of a subject."""
        tallies: defaultdict[str, Tally] = defaultdict(Tally)
        every = tallies[ALL]
        for event in events:
            every.add(event)
            tallies[event[1]].add(event)
        kind = KINDS[subject[:2]]
        for platform, tally in tallies.items():
            yield f"{kind}_metrics", [subject, platform, *tally.metrics()]
            for (dimension, value), users in tally.audience.items():
                yield f"{kind}_audience", [f"a:{subject}", platform, dimension, value, len(users)]
            for name, items in (("pins", tally.pins), ("boards", tally.boards)):
                for by, values in items.items():
                    for row in top(values):
                        yield f"{kind}_top_{name}", [subject, platform, name, by, *row]


def top(values: dict[str, float]) -> Iterator[Row]:
    """Id, rank and value of the first `TOP` items, and the sum of the others."""
    best = nsmallest(TOP, ((-value, item) for item, value in values.items()))
    for rank, (negative, item) in enumerate(best, 1):
        yield [item, rank, float(-negative)]
    if len(values) > TOP:
        yield [OTHER, None, float(sum(values.values()) + sum(negative for negative, _ in best))]


def _rows(path: str) -> Iterator[dict[str, Any]]:
    with open(path) as lines:  # noqa: PTH123
        yield from map(json.loads, lines)


if __name__ == "__main__":
    Analytics.run()
