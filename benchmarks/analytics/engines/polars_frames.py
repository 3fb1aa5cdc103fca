"""Polars: one scan, ids as integers, then distinct users as a bitmask a user, by sorting packed integers."""

from dataclasses import replace

import polars as pl

from benchmarks.analytics.engines.polars_day import TYPES, Day, read
from benchmarks.analytics.task import COUNTS, EVENT_TYPES, ITEMS, NETWORKS, OTHER, RANKING, SUBJECTS, TOP, Task

MASK_BITS = 64
CELLS = TYPES * (len(NETWORKS) + 1)


def compute(task: Task) -> None:
    """Write all tables of the day."""
    whole = read(task)
    counts = pin_counts(whole)
    for kind, prefix in SUBJECTS.items():
        day = whole.of(kind)
        items = counts.rename({kind: "subject"}).drop_nulls("subject")
        masks = masks_of_users(day)
        tables = {
            f"{kind}_metrics": metrics(day, items, masks),
            f"{kind}_audience": audience(day, masks),
            **{f"{kind}_top_{name}": top_items(day, items, name) for name in ITEMS},
        }
        for name, table in tables.items():
            prefixes = pl.lit("a:" + prefix if name.endswith("audience") else prefix)
            named = table.with_columns(subject=prefixes + _name(day, "subject"), platform=_name(day, "platform"))
            named.write_parquet(task.table(name) / "part.parquet", compression="zstd")


def pin_counts(day: Day) -> pl.DataFrame:
    """By pin and platform: the event counts, and the pin's board, domain, profile and ranking."""
    pin_and_app = pl.col("pin").cast(pl.UInt64) * day.apps + pl.col("app")
    cell = (pin_and_app * TYPES + pl.col("type")) * (len(NETWORKS) + 1) + pl.col("network")
    counted = day.events.select(cell.sort().rle().alias("cell")).unnest("cell")
    by_app = (
        counted.select("len", cell=pl.col("value") % CELLS, key=(pl.col("value") // CELLS).set_sorted())
        .group_by("key")
        .agg(_each_count())
        .select(*COUNTS, pin=pl.col("key") // day.apps, platform=pl.col("key") % day.apps)
    )
    over_all = by_app.group_by("pin").agg(pl.col(COUNTS).sum()).with_columns(platform=pl.lit(day.apps, pl.UInt64))
    counts = pl.concat([by_app, over_all.select(by_app.columns)]).cast({"pin": pl.UInt32, "platform": pl.UInt32})
    return counts.hstack(day.pins.select(pl.all().gather(counts["pin"])))


def _each_count() -> list[pl.Expr]:
    """The columns of `COUNTS` from the lengths of cells, of which each type has one a network and one for none."""
    width = len(NETWORKS) + 1
    conditions = []
    for event in range(TYPES):
        conditions.append(pl.col("cell") // width == event)
        conditions += [pl.col("cell") == event * width + network for network in range(len(NETWORKS))]
    pairs = zip(COUNTS, conditions, strict=True)
    return [(pl.col("len") * condition).sum().cast(pl.Int64).alias(name) for name, condition in pairs]


def masks_of_users(day: Day, *dimensions: str) -> pl.DataFrame:
    """By subject, values of the dimensions and user: `mask`, a bit for each event type in each app."""
    columns = ("subject", *dimensions, "user")
    events = day.events.drop_nulls(columns).select(key=day.pack(*columns) * MASK_BITS + pl.col("bit"))
    bits = events.select(pl.col("key").unique().sort()).select(
        key=(pl.col("key") // MASK_BITS).set_sorted(), mask=pl.lit(2, pl.UInt64).pow(pl.col("key") % MASK_BITS)
    )
    return day.unpack(bits.group_by("key").agg(pl.col("mask").sum()), *columns)


def users_by_mask(day: Day, masks: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """How many users have which mask; `key` packs the columns and is in order."""
    radix = 1 << (TYPES * day.apps)
    packed = masks.drop_nulls(columns).select(key=day.pack(*columns) * radix + pl.col("mask"))
    counted = packed.select(pl.col("key").sort().rle()).unnest("key")
    return counted.select(
        key=(pl.col("value") // radix).set_sorted(), mask=pl.col("value") % radix, users=pl.col("len").cast(pl.Int64)
    )


def metrics(day: Day, items: pl.DataFrame, masks: pl.DataFrame) -> pl.DataFrame:
    """Events, distinct users, pins and boards by subject and platform."""
    by_mask = users_by_mask(day, masks, "subject")
    selections = {f"{event}_users": list(day.bits([number])) for number, event in enumerate(EVENT_TYPES)}
    users = []
    for platform, bits in enumerate(day.bits()):
        of_types = [
            (pl.col("users") * (pl.col("mask") & chosen[platform] != 0)).sum().alias(name)
            for name, chosen in selections.items()
        ]
        active = by_mask.filter(pl.col("mask") & bits != 0)
        counted = active.group_by("key").agg(*of_types, pl.col("users").sum())
        users.append(day.unpack(counted, "subject").with_columns(platform=pl.lit(platform, pl.UInt32)))
    sums = items.group_by("subject", "platform").agg(
        pl.col(COUNTS).sum(),
        pins=pl.len().cast(pl.Int64),
        boards=pl.col("board").drop_nulls().n_unique().cast(pl.Int64),
    )
    return sums.join(pl.concat(users), on=["subject", "platform"])


def audience(day: Day, masks: pl.DataFrame) -> pl.DataFrame:
    """Distinct users by subject, platform, dimension and value. Only users without a country take their events'."""
    own = masks.hstack(day.users.select(pl.all().gather(masks["user"])))
    abroad = day.users["country"].is_null().gather(day.events["user"])
    countries = masks_of_users(replace(day, events=day.events.filter(abroad)), "country")
    return pl.concat(
        [
            _audience(day, own, "gender"),
            _audience(day, pl.concat([own.select(countries.columns), countries]), "country"),
            _audience(day, masks_of_users(day, "metro"), "metro"),
        ]
    )


def _audience(day: Day, masks: pl.DataFrame, dimension: str) -> pl.DataFrame:
    by_mask = users_by_mask(day, masks, "subject", dimension)
    found = []
    for platform, bits in enumerate(day.bits()):
        counted = by_mask.filter(pl.col("mask") & bits != 0).group_by("key").agg(pl.col("users").sum())
        found.append(counted.with_columns(platform=pl.lit(platform, pl.UInt32)))
    rows = day.unpack(pl.concat(found), "subject", dimension)
    return rows.select("subject", "platform", "users", dimension=pl.lit(dimension), value=_name(day, dimension))


def top_items(day: Day, items: pl.DataFrame, name: str) -> pl.DataFrame:
    """The lists of `TOP` items by each event type and by the ranking, and the sums of what was cut."""
    item = name.removesuffix("s")
    totals = items.drop_nulls(item)
    if item != "pin":
        of_item = totals.group_by("subject", "platform", item)
        totals = of_item.agg(pl.col(EVENT_TYPES).sum(), pl.col(RANKING).max())
    lists = [
        totals.filter(pl.col(by) > 0 if by in EVENT_TYPES else pl.col(by).is_not_null()).select(
            item, pl.col(by).cast(pl.Float64).alias("value"), by=number, key=day.pack("subject", "platform")
        )
        for number, by in enumerate(day.names["by"])
    ]
    keyed = pl.concat(lists).select(item, "value", key=pl.col("key") * len(lists) + pl.col("by"))
    ordered = keyed.sort(["key", "value", item], descending=[False, True, False]).with_row_index("row")
    start = pl.when(pl.col("key") != pl.col("key").shift()).then(pl.col("row")).forward_fill().fill_null(0)
    ranked = ordered.with_columns(rank=(pl.col("row") - start).cast(pl.Int64) + 1)
    kept = ranked.filter(pl.col("rank") <= TOP).with_columns(id=_name(day, item))
    cut = ranked.filter(pl.col("rank") > TOP).group_by("key").agg(pl.col("value").sum(), id=pl.lit(OTHER))
    rows = pl.concat([kept.select("key", "rank", "id", "value"), cut], how="diagonal")
    return day.unpack(rows, "subject", "platform", "by").with_columns(items=pl.lit(name), by=_name(day, "by"))


def _name(day: Day, column: str) -> pl.Expr:
    return pl.lit(day.names[column]).gather(pl.col(column))


if __name__ == "__main__":
    compute(Task.from_arguments())
