"""What the analytics workflow has to publish, computed a second way: DuckDB SQL over the raw canonical files.

Nothing of pinflow is imported. Lines are read with Python's own `json`, `datetime` and `zlib`
(`oracle_input`); joins, counts, distinct counts and top lists are SQL over a table of facts with one row for
each event, subject, platform and aggregation, so that every number is a plain `count` over it.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from tests.oracle_input import (
    EVENT_TEXTS,
    PIN_TEXTS,
    USER_TEXTS,
    Read,
    read_board,
    read_event,
    read_pin,
    read_rows,
    read_user,
)

EVENT_TYPES = ("impression", "clickthrough", "repin", "like", "create")
REQUIRED = ("event_type", "timestamp", "user_id", "pin_id", "app")
TOP = 100
RANKING = "search_rank"
BIWEEKLY_EPOCH = date(1970, 1, 5)


Key = tuple[str, str, str]
"""Whose numbers: subject, platform, aggregation."""


def period(aggregation: str, day: date) -> tuple[date, date]:
    """First day of the period that `day` is in, and first day of the next one.

    >>> period("biweekly", date(1970, 1, 18))
    (datetime.date(1970, 1, 5), datetime.date(1970, 1, 19))
    """
    if aggregation == "daily":
        return day, day + timedelta(days=1)
    if aggregation == "weekly":
        first = date.fromisocalendar(*day.isocalendar()[:2], 1)
        return first, first + timedelta(days=7)
    if aggregation == "biweekly":
        first = day - timedelta(days=(day - BIWEEKLY_EPOCH).days % 14)
        return first, first + timedelta(days=14)
    first = day.replace(day=1)
    return first, (first + timedelta(days=31)).replace(day=1)


AGGREGATIONS = ("daily", "weekly", "biweekly", "monthly")


Columns = dict[str, pl.DataType]

TEXT = pl.String()
DAY_ROW: Columns = {"day": pl.Date(), "row": pl.Int64()}
EVENT_COLUMNS: Columns = DAY_ROW | {"timestamp": pl.Int64()} | dict.fromkeys(EVENT_TEXTS, TEXT)
PIN_COLUMNS: Columns = DAY_ROW | {"score": pl.Float64()} | dict.fromkeys(PIN_TEXTS, TEXT)
USER_COLUMNS: Columns = DAY_ROW | dict.fromkeys(USER_TEXTS, TEXT)
PERIOD_COLUMNS: Columns = {"aggregation": TEXT, "start": pl.Date(), "day": pl.Date()}

JUDGED = f"""
create table judged as
select e.*, p.pin_id is not null as known, p.board_id, p.domain as pin_domain, p.owner_id as pin_owner,
    case
        when event_type not in {EVENT_TYPES} then 'other_event_types'
        when timestamp < epoch_us(e.day::timestamp) then 'out_of_day_events'
        when timestamp >= epoch_us(e.day::timestamp + interval 1 day) then 'out_of_day_events'
        when p.pin_id is null and e.domain is null and e.owner_id is null then 'unknown_pins'
        else 'events_kept'
    end as verdict
from events e left join pins p on p.day = e.day and p.pin_id = e.pin_id
"""

LAST_ROW = """
create table {kind} as
select * from {kind}_read qualify row_number() over (partition by day, {key} order by row desc) = 1
"""

FACTS = """
create table facts as
with kept as (
    select j.day, event_type as type, j.user_id, j.pin_id, board_id, app, network,
        coalesce(j.domain, pin_domain) as domain, coalesce(j.owner_id, pin_owner) as owner,
        coalesce(u.country, j.country, '_unknown') as country,
        coalesce(u.metro, j.metro, '_unknown') as metro,
        coalesce(u.gender, '_unknown') as gender
    from judged j left join users u on u.day = j.day and u.user_id = j.user_id
    where verdict = 'events_kept'
), of_subjects as (
    select *, 'd:' || domain as subject from kept where domain is not null
    union all
    select *, 'p:' || owner from kept where owner is not null
), of_platforms as (
    select *, 'all' as platform from of_subjects
    union all
    select *, app from of_subjects where app is not null
)
select f.*, aggregation, start from of_platforms f join periods using (day)
"""

COUNTS = """
select subject, platform, aggregation, start, type, count(*), count(*) filter (network = 'on'),
    count(*) filter (network = 'off'), count(distinct user_id)
from facts group by all
"""

DISTINCTS = """
select subject, platform, aggregation, start, count(distinct user_id), count(distinct pin_id),
    count(distinct board_id)
from facts group by all
"""

AUDIENCE = """
unpivot (
    select subject, platform, aggregation, user_id, country, metro, gender
    from facts where user_id is not null
) on country, metro, gender into name attribute value v
"""

TOP_COUNTS = """
select subject, platform, aggregation, '{items}' as items, type as rank_by, {key} as id,
    count(*)::double as value
from facts where {key} is not null group by all
"""

LATEST = """
create table latest as
with last_days as (
    select subject, platform, aggregation, pin_id, max(day) as day
    from facts where pin_id is not null group by all
)
select l.*, score from last_days l join pins using (day, pin_id) where score is not null
"""

# From the pin's latest day with any event, in place of its latest day in the subject and platform.
LATEST_ANYWHERE = """
create table latest as
with last_days as (
    select aggregation, pin_id, max(day) as day from facts where pin_id is not null group by all
), scores as (
    select aggregation, pin_id, score from last_days join pins using (day, pin_id)
)
select distinct subject, platform, aggregation, pin_id, score
from facts join scores using (aggregation, pin_id) where score is not null
"""

# A board's value comes from its own latest day in the subject and platform: its best pin with events on that day.
LATEST_BOARDS = """
create table latest_boards as
with last_days as (
    select subject, platform, aggregation, board_id, max(day) as day
    from facts where board_id is not null group by all
), active as (
    select distinct subject, platform, aggregation, board_id, day, pin_id from facts
), scores as (
    select day, pin_id, score from pins where score is not null
)
select subject, platform, aggregation, board_id, max(score) as score
from last_days join active using (subject, platform, aggregation, board_id, day) join scores using (day, pin_id)
group by all
"""

TOP_RANKED = f"""
select subject, platform, aggregation, 'pins', '{RANKING}', pin_id, score from latest
union all
select subject, platform, aggregation, 'boards', '{RANKING}', board_id, score from latest_boards
"""


class Oracle:
    """Everything that is to be published for `day` when `days`, with `day` among them, are published.

    Args:
        folder: The canonical input.
        days: The published days; later ones than `day` count too where they lie in the same period.
        day: The day whose periods are wanted.
        required: Fields without which an event is a bad line.
        latest_anywhere: A pin's value in a ranking over a period comes from its latest day with any event, in
            place of its latest day with events of the subject and platform.
    """

    def __init__(
        self,
        folder: Path | str,
        days: Iterable[date | str],
        day: date | str,
        *,
        required: Sequence[str] = REQUIRED,
        latest_anywhere: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.day = _date(day)
        self.days = sorted({_date(value) for value in days})
        if self.day not in self.days:
            raise ValueError(f"{self.day} is not among the published days {[str(value) for value in self.days]}")
        self.required = tuple(required)
        self.read_counts: dict[tuple[str, date], Counter[str]] = {}
        self.sql = duckdb.connect()
        self.sql.execute("set threads = 2; set TimeZone = 'UTC'")
        self._load()
        self.sql.execute(LATEST_ANYWHERE if latest_anywhere else LATEST)
        self.sql.execute(LATEST_BOARDS)

    def counts(self) -> dict[str, int]:
        """Totals of the day's input: what was read, kept and lost; all names are there, also zeros."""
        events = self.read_counts["events", self.day]
        verdicts = dict(self._rows("select verdict, count(*) from judged where day = ? group by 1", [self.day]))
        kept = "select count(*) from judged where day = ? and verdict = 'events_kept' and not known"
        counts = {name: events[name] for name in ("lines_read", "blank_lines", "bad_lines", "truncated_files")}
        losses = ("events_kept", "other_event_types", "out_of_day_events", "unknown_pins")
        counts |= {name: verdicts.get(name, 0) for name in losses}
        counts["unknown_pins_kept"] = self._rows(kept, [self.day])[0][0]
        for kind in ("pins", "boards", "users"):
            read = self.read_counts[kind, self.day]
            counts[f"repeated_{kind}"] = read["repeated"]
            counts[f"{kind}_lines_read"] = read["lines_read"]
            counts[f"{kind}_bad_lines"] = read["bad_lines"]
        return counts

    def kept_by_type(self) -> dict[str, int]:
        """The day's kept events by type."""
        query = "select event_type, count(*) from judged where day = ? and verdict = 'events_kept' group by 1"
        return dict(self._rows(query, [self.day]))

    def metrics(self) -> dict[Key, dict[str, Any]]:
        """By key, the entry that `pinflow metrics --json` lists for the period of the day."""
        found: dict[Key, dict[str, Any]] = {}
        for *key, start, kind, count, on, off, users in self._rows(COUNTS):
            values = {kind: count, f"{kind}_on": on, f"{kind}_off": off, f"{kind}_users": users}
            self._add(found, _key(key), start, values)
        for *key, start, users, pins, boards in self._rows(DISTINCTS):
            self._add(found, _key(key), start, {"users": users, "pins": pins, "boards": boards})
        return found

    def audience(self) -> dict[Key, dict[str, dict[str, int]]]:
        """By key, what `pinflow audience --json` prints; the subject is `d:…` or `p:…`, without `a:`."""
        found: dict[Key, dict[str, dict[str, int]]] = {}
        grouped = f"select * exclude (user_id), count(distinct user_id) from ({AUDIENCE}) group by all"
        for *key, attribute, value, users in self._rows(grouped):
            empty: dict[str, dict[str, int]] = {"country": {}, "metro": {}, "gender": {}}
            found.setdefault(_key(key), empty)[attribute][value] = users
        return found

    def top(self, length: int = TOP) -> dict[Key, dict[tuple[str, str], list[dict[str, Any]]]]:
        """By key and then by (items, by), what `pinflow top --json` prints; lists without entries are absent.

        What was cut off stands last, with rank None and id `_other`.
        """
        pins, boards = (TOP_COUNTS.format(items=kind, key=f"{kind[:-1]}_id") for kind in ("pins", "boards"))
        union = f"{pins} union all {boards} union all {TOP_RANKED}"
        lists: dict[tuple[Key, tuple[str, str]], list[tuple[str, float]]] = {}
        for *key, items, by, name, value in self._rows(f"{union} order by value desc, id"):
            lists.setdefault((_key(key), (items, by)), []).append((name, value))
        found: dict[Key, dict[tuple[str, str], list[dict[str, Any]]]] = {}
        for (whose, what), entries in lists.items():
            found.setdefault(whose, {})[what] = _cut(entries, length)
        return found

    def _rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self.sql.execute(query, list(parameters)).fetchall()

    def _add(self, found: dict[Key, dict[str, Any]], key: Key, start: date, values: Mapping[str, int]) -> None:
        _, platform, aggregation = key
        empty = {"date": str(start), "platform": platform, "aggregation": aggregation, "metrics": {}}
        entry = found.setdefault(key, empty)
        entry["metrics"] |= {name: value for name, value in values.items() if value}

    def _load(self) -> None:
        periods = [(name, *period(name, self.day)) for name in AGGREGATIONS]
        wanted = [(name, first, day) for name, first, end in periods for day in self.days if first <= day < end]
        self._table("periods", PERIOD_COLUMNS, [dict(zip(PERIOD_COLUMNS, row, strict=True)) for row in wanted])
        days = sorted({day for _, _, day in wanted})
        self._table("events", EVENT_COLUMNS, self._read("events", days, self.required, read_event))
        self._table("pins_read", PIN_COLUMNS, self._read("pins", days, ("pin_id",), read_pin))
        self._table("users_read", USER_COLUMNS, self._read("users", days, ("user_id",), read_user))
        list(self._read("boards", days, ("board_id",), read_board))
        self.sql.execute(LAST_ROW.format(kind="pins", key="pin_id"))
        self.sql.execute(LAST_ROW.format(kind="users", key="user_id"))
        self.sql.execute(JUDGED)
        self.sql.execute(FACTS)

    def _read(self, kind: str, days: Iterable[date], required: Sequence[str], read: Read) -> Iterator[dict[str, Any]]:
        for day in days:
            found = read_rows(self.folder, kind, day, required, read)
            if kind != "events":
                found.counts["repeated"] = len(found.rows) - len({row[required[0]] for row in found.rows})
            self.read_counts[kind, day] = found.counts
            for number, row in enumerate(found.rows):
                yield {"day": day, "row": number} | row

    def _table(self, name: str, columns: Columns, rows: Iterable[Mapping[str, Any]]) -> None:
        """Polars only carries the rows into DuckDB."""
        self.sql.register("read_rows", pl.DataFrame(list(rows), schema=columns).to_arrow())
        self.sql.execute(f"create table {name} as select * from read_rows")
        self.sql.unregister("read_rows")


def _key(parts: Sequence[str]) -> Key:
    subject, platform, aggregation = parts
    return subject, platform, aggregation


def _date(value: date | str) -> date:
    return date.fromisoformat(value) if isinstance(value, str) else value


def _number(value: float) -> int | float:
    return int(value) if float(value).is_integer() else value


def _cut(entries: Sequence[tuple[str, float]], length: int) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = [
        {"rank": rank, "id": name, "value": _number(value)} for rank, (name, value) in enumerate(entries[:length], 1)
    ]
    if len(entries) > length:
        rest = math.fsum(value for _, value in entries[length:])
        shown.append({"rank": None, "id": "_other", "value": _number(rest)})
    return shown


def expected_metrics(folder: Path | str, days: Iterable[date | str], day: date | str) -> dict[Key, dict[str, Any]]:
    """See `Oracle.metrics`."""
    return Oracle(folder, days, day).metrics()


def expected_audience(
    folder: Path | str, days: Iterable[date | str], day: date | str
) -> dict[Key, dict[str, dict[str, int]]]:
    """See `Oracle.audience`."""
    return Oracle(folder, days, day).audience()


def expected_top(
    folder: Path | str, days: Iterable[date | str], day: date | str, length: int = TOP
) -> dict[Key, dict[tuple[str, str], list[dict[str, Any]]]]:
    """See `Oracle.top`."""
    return Oracle(folder, days, day).top(length)


def expected_counts(folder: Path | str, day: date | str) -> dict[str, int]:
    """See `Oracle.counts`."""
    return Oracle(folder, [day], day).counts()
