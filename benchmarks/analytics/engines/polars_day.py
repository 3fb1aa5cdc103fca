"""One day's events, pins and users as Polars frames of integers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from benchmarks.analytics.task import ALL, EVENT_TYPES, NETWORKS, RANKING, UNKNOWN, Task

TYPES = len(EVENT_TYPES)
PIN_TEXTS = ("pin_id", "board_id", "owner_id", "domain")
USER_TEXTS = ("user_id", "country", "gender")
EVENT_TEXTS = ("event_type", "user_id", "pin_id", "app", "country", "metro", "network")


@dataclass(frozen=True)
class Day:
    """Events, pins and users as rows of integers, and the sorted texts that these stand for.

    Columns can be packed into one integer in mixed radix, so that one sort brings equal rows together.
    """

    events: pl.DataFrame
    pins: pl.DataFrame
    users: pl.DataFrame
    names: Mapping[str, pl.Series]

    def of(self, kind: str) -> "Day":
        """The day with column `subject` for the subjects of one kind: domain or profile."""
        pins = self.pins.with_columns(subject=kind)
        events = self.events.with_columns(subject=pins["subject"].gather(self.events["pin"])).drop_nulls("subject")
        return replace(self, events=events, pins=pins, names={**self.names, "subject": self.names[kind]})

    def pack(self, *columns: str) -> pl.Expr:
        """The columns as one integer, the last one lowest."""
        key = pl.lit(0, pl.UInt64)
        for column in columns:
            key = key * len(self.names[column]) + pl.col(column)
        return key

    def unpack(self, frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
        """The frame with these columns in place of `key`, which packs them."""
        key, found = pl.col("key"), []
        for column in reversed(columns):
            found.append((key % len(self.names[column])).cast(pl.UInt32).alias(column))
            key = key // len(self.names[column])
        return frame.with_columns(found).drop("key")

    @property
    def apps(self) -> int:
        """The number of apps: the names of platforms are theirs and, last, `all`."""
        return len(self.names["platform"]) - 1

    def bits(self, types: Sequence[int] = range(TYPES)) -> Iterator[int]:
        """For each platform, the bits in a mask that stand for its events of these types."""
        own = [sum(1 << (app * TYPES + event) for event in types) for app in range(self.apps)]
        yield from own
        yield sum(own)


def read(task: Task) -> Day:
    """Read everything; events of other types, other days or unknown pins are left out."""
    pins = _scan(task, "pins", PIN_TEXTS, search_score=pl.Float64()).collect().sort("pin_id")
    users = _scan(task, "users", USER_TEXTS).collect()
    start = pl.lit(task.day).str.to_date().dt.epoch("s")
    wanted = pl.col("timestamp").is_between(start, start + 86_400, closed="left")
    wanted &= pl.col("event_type").is_in(EVENT_TYPES)
    events = _scan(task, "events", EVENT_TEXTS, timestamp=pl.Int64()).filter(wanted).collect(engine="streaming")
    names = {
        "pin": pins["pin_id"],
        "board": _distinct(pins["board_id"]),
        "domain": _distinct(pins["domain"].str.to_lowercase()),
        "profile": _distinct(pins["owner_id"]),
        "user": _distinct(users["user_id"], events["user_id"]),
        "platform": pl.concat([_distinct(events["app"]), pl.Series([ALL])]),
        "country": _distinct(users["country"], events["country"], pl.Series([UNKNOWN])),
        "metro": _distinct(events["metro"], pl.Series([UNKNOWN])),
        "gender": _distinct(users["gender"], pl.Series([UNKNOWN])),
        "by": pl.Series((*EVENT_TYPES, RANKING)),
    }
    types, networks = pl.Series(EVENT_TYPES), pl.Series(NETWORKS)
    return Day(
        events.select(
            _code("pin_id", names["pin"]).alias("pin"),
            _code("user_id", names["user"]).alias("user"),
            _code("event_type", types).alias("type"),
            _code("app", names["platform"]).alias("app"),
            _code("network", networks).fill_null(len(networks)),
            _code("country", names["country"], UNKNOWN),
            _code("metro", names["metro"], UNKNOWN),
        )
        .drop_nulls("pin")
        .with_columns(bit=pl.col("app") * TYPES + pl.col("type")),
        pins.select(
            _code("board_id", names["board"]).alias("board"),
            _code(pl.col("domain").str.to_lowercase(), names["domain"]).alias("domain"),
            _code("owner_id", names["profile"]).alias("profile"),
            pl.col("search_score").alias(RANKING),
        ),
        pl.DataFrame({"user_id": names["user"]})
        .join(users, on="user_id", how="left", maintain_order="left")
        .select(_code("country", names["country"]), _code("gender", names["gender"], UNKNOWN)),
        names,
    )


def _scan(task: Task, kind: str, texts: Sequence[str], **others: pl.DataType) -> pl.LazyFrame:
    return pl.scan_ndjson(task.files(kind), schema={**dict.fromkeys(texts, pl.String()), **others})


def _distinct(*columns: pl.Series) -> pl.Series:
    return pl.concat([column.alias("name") for column in columns]).drop_nulls().unique().sort()


def _code(text: str | pl.Expr, names: pl.Series, missing: str | None = None) -> pl.Expr:
    """The place of a text among sorted names, null where it is none of them."""
    column = pl.col(text) if isinstance(text, str) else text
    filled = column if missing is None else column.fill_null(missing)
    return filled.cast(pl.Enum(names), strict=False).to_physical().cast(pl.UInt32)


def _text(names: pl.Series, column: str) -> pl.Expr:
    return pl.lit(names).gather(pl.col(column)).alias(column)
