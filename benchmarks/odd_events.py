"""The events of an odd day as lines of bytes, with a tally of what was put in."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import cycle, islice
from random import Random
from typing import Any

from benchmarks.odd_world import HEAVY_DOMAIN, ODD_COUNTRIES, ODD_IDS, TIED_DOMAIN, World

Row = dict[str, Any]

EVENT_TYPES = ("impression", "clickthrough", "repin", "like", "create")
OTHER_TYPES = ("heartbeat", "IMPRESSION", "repin ", "unlike", "Ωmega")
DAY_SECONDS = 86_400


def encode(row: Mapping[str, Any], random: Random) -> bytes:
    """One line of JSON: keys in any order, with and without escapes and spaces, now and then ended by CR."""
    items = list(row.items())
    random.shuffle(items)
    separators = random.choice(((",", ":"), (", ", ": ")))
    text = json.dumps(dict(items), ensure_ascii=random.random() < 0.5, separators=separators)
    return text.encode() + (b"\r" if random.random() < 0.01 else b"")


def _changed(**values: Any) -> Callable[[Row], bytes]:
    return lambda row: json.dumps(row | values).encode()


def _without(name: str) -> Callable[[Row], bytes]:
    return lambda row: json.dumps({key: value for key, value in row.items() if key != name}).encode()


def _always(line: bytes) -> Callable[[Row], bytes]:
    return lambda _: line


def _half(row: Row) -> bytes:
    text = json.dumps(row).encode()
    return text[: len(text) // 2]


BAD_EVENTS: dict[str, Callable[[Row], bytes]] = {
    "text": _always(b"this is not JSON"),
    "cut": _half,
    "binary": _always(bytes(range(128, 256)) + b"\x00\x01\x1f\x8b"),
    "zeros": _always(b"\x00" * 40),
    "not_utf8": lambda row: json.dumps(row | {"user_id": "@@"}).encode().replace(b"@@", b"caf\xe9"),
    "cut_utf8": lambda row: json.dumps(row | {"pin_id": "@@"}).encode().replace(b"@@", b"\xe2\x82"),
    "array": lambda row: b"[" + json.dumps(row).encode() + b"]",
    "number": _always(b"42"),
    "string": _always(b'"impression"'),
    "null": _always(b"null"),
    "empty_object": _always(b"{}"),
    "two_objects": lambda row: json.dumps(row).encode() * 2,
    "trailing_text": lambda row: json.dumps(row).encode() + b" x",
    "single_quotes": lambda row: json.dumps(row).encode().replace(b'"', b"'"),
    "no_type": _without("event_type"),
    "null_type": _changed(event_type=None),
    "empty_type": _changed(event_type=""),
    "no_time": _without("timestamp"),
    "null_time": _changed(timestamp=None),
    "time_of_words": _changed(timestamp="yesterday"),
    "impossible_date": _changed(timestamp="2015-02-30T10:00:00Z"),
    "impossible_hour": _changed(timestamp="2015-05-18T25:00:00Z"),
    "nested_time": _changed(timestamp={"seconds": 1}),
    "nested_user": _changed(user_id={"id": 1}),
    "list_of_pins": _changed(pin_id=["pin1", "pin2"]),
    "other_network": _changed(network="somewhere"),
    "reserved_app": _changed(app="all"),
    "year_ten_thousand": _changed(timestamp=253_402_300_800),
    "other_type_without_time": _always(json.dumps({"event_type": "heartbeat", "user_id": "u"}).encode()),
}
"""A bad line made of a good event, by kind."""

MISSING_FIELDS: dict[str, Callable[[Row], bytes]] = {
    "no_user": _without("user_id"),
    "no_pin": _without("pin_id"),
    "no_app": _without("app"),
    "empty_user": _changed(user_id=""),
    "empty_pin": _changed(pin_id=""),
    "empty_app": _changed(app=""),
}
"""More kinds of bad lines: events that lack one of the other required fields."""

ALL_BAD_EVENTS = BAD_EVENTS | MISSING_FIELDS


@dataclass
class EventWriter:
    """Collects the lines of one day in `lines` and what they are in `tally`."""

    random: Random
    day: date
    apps: tuple[str, ...]
    world: World
    lines: list[bytes] = field(default_factory=list)
    tally: Counter[str] = field(default_factory=Counter)

    @property
    def midnight(self) -> datetime:
        """The day's first moment."""
        return datetime(self.day.year, self.day.month, self.day.day, tzinfo=UTC)

    def timestamp(self, seconds: float) -> str | int | float:
        """The moment so many seconds after midnight, written in one of the ways there are."""
        moment = self.midnight + timedelta(seconds=seconds)
        zone = timezone(timedelta(minutes=self.random.choice((120, -420, 330))))
        return self.random.choice(
            (
                int(moment.timestamp()),
                int(moment.timestamp()),
                int(moment.timestamp()) + self.random.choice((0.0, 0.25, 0.5)),
                moment.strftime("%Y-%m-%dT%H:%M:%S"),
                moment.strftime("%Y-%m-%d %H:%M:%S"),
                moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
                moment.strftime("%Y-%m-%dT%H:%M:%S.250Z"),
                moment.strftime("%Y-%m-%dT%H:%M:%S.123456"),
                moment.astimezone(zone).isoformat(timespec="seconds"),
            )
        )

    def event(self, pin_id: Any, **fixed: Any) -> Row:
        """An event of the pin at any moment of the day but its last second."""
        random = self.random
        user = random.choice(self.world.users)["user_id"] if random.random() < 0.8 else f"user{random.randrange(99)}"
        row: Row = {
            "event_type": random.choices(EVENT_TYPES, (60, 15, 12, 9, 4))[0],
            "timestamp": self.timestamp(random.randrange(DAY_SECONDS - 1)),
            "user_id": user,
            "pin_id": pin_id,
            "app": random.choices(self.apps, range(2 * len(self.apps), len(self.apps), -1))[0],
        }
        if random.random() < 0.8:
            row["network"] = random.choice(("on", "on", "off", None, ""))
        if random.random() < 0.4:
            row["country"] = random.choice((*ODD_COUNTRIES, None))
            row["metro"] = random.choice(("501", "803", "_unknown", "a/b", None))
        if random.random() < 0.1:
            row |= {"extra": {"nested": [1, {"x": None}]}, "note": 'ünï "quoted"\t', "flag": True}
        return row | fixed

    def add_kept(self, count: int) -> None:
        """Add so many events which are to be kept, half of them (rounded down) of the heavy domain."""
        fixed = [*self._tied(), *self._odd(), *self._edges(), *self._unknown_named(), *self._own_subjects()]
        heavy = [pin["pin_id"] for pin in self.world.pins_of(HEAVY_DOMAIN)]
        half = [self.event(self._popular(heavy)) for _ in range(count // 2)]
        plain = [pin["pin_id"] for pin in self.world.pins if str(pin["pin_id"]).startswith("pin")]
        rest = [self.event(self._popular(plain)) for _ in range(count - len(fixed) - len(half))]
        self.lines += [encode(row, self.random) for row in (*fixed, *half, *rest)]
        self.tally["events_kept"] += count
        self.tally["lines_read"] += count

    def add_losses(self, events: int, bad_kinds: Sequence[str], bad_lines: int | None) -> None:
        """Add blank lines, bad lines, other event types, events out of the day and events of unknown pins."""
        share = events // 100
        bad = min(len(bad_kinds), events * 6 // 1000) if bad_lines is None else bad_lines
        start = self.random.randrange(max(1, len(bad_kinds)))
        kinds = islice(cycle(bad_kinds), start, start + bad)
        self._lose("bad_lines", [ALL_BAD_EVENTS[kind](self.event("pin1")) for kind in kinds])
        others = (self.event("pin1", event_type=self.random.choice(OTHER_TYPES)) for _ in range(share))
        self._lose("other_event_types", [encode(row, self.random) for row in others])
        self._lose("out_of_day_events", [encode(row, self.random) for row in self._out_of_day(share)])
        unknown = (self.event(f"gone{number}", domain="", owner_id=None) for number in range(share))
        self._lose("unknown_pins", [encode(row, self.random) for row in unknown])
        blank = [b"", b"   ", b"\t", b"\r"]
        self.lines += blank
        self.tally["blank_lines"] += len(blank)
        self.tally["lines_read"] += len(blank)

    def shuffled(self) -> list[bytes]:
        """All lines, mixed."""
        return self.random.sample(self.lines, len(self.lines))

    def _lose(self, name: str, lines: list[bytes]) -> None:
        self.lines += lines
        self.tally[name] += len(lines)
        self.tally["lines_read"] += len(lines)

    def _popular(self, pins: Sequence[Any]) -> Any:
        return pins[int(self.random.random() ** 2 * len(pins))]

    def _tied(self) -> list[Row]:
        pins = self.world.pins_of(TIED_DOMAIN)
        return [self.event(pin["pin_id"], event_type=name) for pin in pins for name in ("impression", "repin")]

    def _odd(self) -> list[Row]:
        strange = [pin["pin_id"] for pin in self.world.pins if pin["pin_id"] in ODD_IDS]
        rows = [self.event(name, user_id=strange[-1 - number]) for number, name in enumerate(strange)]
        lacking = ("no-domain", "no-owner", "no-board", "no-score", "nothing")
        numbers = ((7, 12), ("7", "12"), (2**53 + 1, 34), (str(2**53 + 1), 34))
        rows += [self.event(name) for name in lacking for _ in range(3)]
        return rows + [self.event(pin, user_id=user) for pin, user in numbers]

    def _edges(self) -> list[Row]:
        """The first and the last moments of the day, in UTC and with offsets."""
        first = int(self.midnight.timestamp())
        before, after = self.day - timedelta(days=1), self.day + timedelta(days=1)
        moments = (
            *(first, float(first), first + DAY_SECONDS - 1, first + DAY_SECONDS - 0.25),
            *(f"{self.day}T00:00:00", f"{self.day} 23:59:59", f"{self.day}T23:59:59.999999Z"),
            *(f"{before}T23:30:00-01:00", f"{after}T00:30:00+01:00"),
        )
        return [self.event("pin2", timestamp=moment) for moment in moments]

    def _out_of_day(self, count: int) -> list[Row]:
        first = int(self.midnight.timestamp())
        before, after = self.day - timedelta(days=1), self.day + timedelta(days=1)
        moments = (
            *(
                first - 1,
                first - 0.25,
                first + DAY_SECONDS,
                0,
                -1,
                253_402_300_799,
                f"{after}T00:00:00",
                f"{before}T12:00:00Z",
            ),
            *(f"{self.day}T00:30:00+01:00", f"{self.day}T23:30:00-01:00", f"{before} 23:59:59.999999"),
        )
        pins = cycle(("pin2", "gone1"))
        return [self.event(next(pins), timestamp=moment) for moment in islice(cycle(moments), count)]

    def _unknown_named(self) -> list[Row]:
        """Events of unknown pins that name their own domain, owner or both."""
        named = (
            {"domain": "Ghost.Example"},
            {"owner_id": "ghost_owner"},
            {"domain": "site1.example", "owner_id": "owner1"},
        )
        rows = [self.event(f"ghost{number}", **named[number % 3]) for number in range(12)]
        self.tally["unknown_pins_kept"] += len(rows)
        return rows

    def _own_subjects(self) -> list[Row]:
        """Events of known pins that name their own domain, owner or both, which go before the pin's."""
        named = (
            {"domain": "OWN.example"},
            {"owner_id": "own%owner"},
            {"domain": "münchen.example", "owner_id": 700},
        )
        return [self.event(f"pin{number}", **named[number % 3]) for number in range(24)]
