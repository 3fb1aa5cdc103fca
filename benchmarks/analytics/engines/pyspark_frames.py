"""PySpark, local: broadcast joins, one cached table of events, distinct users as a bitmask a user."""

import os

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as f

from benchmarks.analytics.task import (
    ALL,
    COUNTS,
    DIMENSIONS,
    EVENT_TYPES,
    ITEMS,
    NETWORKS,
    OTHER,
    RANKING,
    SUBJECTS,
    TOP,
    UNKNOWN,
    Task,
)

PINS = "pin_id string, board_id string, owner_id string, domain string, search_score double"
USERS = "user_id string, country string, gender string"
EVENTS = (
    "event_type string, timestamp long, user_id string, pin_id string, app string, country string, metro string, "
    "network string"
)
MEMORY = 0.5
"""The share of the machine's memory that the JVM may take."""


def start(task: Task) -> SparkSession:
    """A session on all cores, as few partitions as suit one machine."""
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * MEMORY
    options = {
        "spark.driver.memory": f"{int(memory) >> 20}m",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.local.dir": str(task.output),
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(2 * cores),
        "spark.ui.enabled": "false",
    }
    builder = SparkSession.builder.master(f"local[{cores}]").appName("analytics")
    return builder.config(map=options).getOrCreate()


def compute(task: Task, spark: SparkSession) -> None:
    """Write all tables of the day."""
    pins = spark.read.schema(PINS).json(str(task.folder("pins"))).withColumnsRenamed({"owner_id": "profile"})
    pins = pins.withColumn("domain", f.lower("domain")).cache()
    events = read_events(task, spark, pins).cache()
    counts = pin_counts(events, pins).cache()
    apps = [row.app for row in events.select("app").distinct().sort("app").collect()]
    for subject, prefix in SUBJECTS.items():
        items = counts.where(f.col(subject).isNotNull()).withColumn("subject", f.concat(f.lit(prefix), subject))
        own = events.where(f.col(subject).isNotNull()).withColumn("subject", f.concat(f.lit(prefix), subject))
        tables = {
            "metrics": metrics(items, own, apps),
            "audience": audience(own, apps),
            **{f"top_{name}": top_items(items, name) for name in ITEMS},
        }
        for name, table in tables.items():
            table.write.mode("overwrite").parquet(str(task.table(f"{subject}_{name}")))


def read_events(task: Task, spark: SparkSession, pins: DataFrame) -> DataFrame:
    """The day's events of known types and pins, with what belongs to their pins and users."""
    users = spark.read.schema(USERS).json(str(task.folder("users")))
    users = users.withColumnsRenamed({"country": "own_country"})
    start = f.unix_timestamp(f.lit(task.day), "yyyy-MM-dd")
    of_day = (f.col("timestamp") >= start) & (f.col("timestamp") < start + 86_400)
    scanned = spark.read.schema(EVENTS).json(str(task.folder("events")))
    return (
        scanned.where(of_day & f.col("event_type").isin(*EVENT_TYPES))
        .join(f.broadcast(pins.select("pin_id", "domain", "profile")), "pin_id")
        .join(f.broadcast(users), "user_id", "left")
        .select(
            *("domain", "profile", "pin_id", "user_id", "app", "network"),
            f.col("event_type").alias("type"),
            f.coalesce("own_country", "country", f.lit(UNKNOWN)).alias("country"),
            f.coalesce("metro", f.lit(UNKNOWN)).alias("metro"),
            f.coalesce("gender", f.lit(UNKNOWN)).alias("gender"),
        )
    )


def pin_counts(events: DataFrame, pins: DataFrame) -> DataFrame:
    """By pin and platform: the event counts, and the pin's columns."""
    by_app = events.groupBy("pin_id", f.col("app").alias("platform")).agg(*_each_count())
    over_all = by_app.groupBy("pin_id").agg(*_sums(*COUNTS)).withColumn("platform", f.lit(ALL))
    return by_app.unionByName(over_all).join(f.broadcast(pins), "pin_id")


def _each_count() -> list[Column]:
    found = []
    for event in EVENT_TYPES:
        found.append(f.count_if(f.col("type") == event).alias(event))
        found += [
            f.count_if((f.col("type") == event) & (f.col("network") == network)).alias(f"{event}_{network}")
            for network in NETWORKS
        ]
    return found


def _sums(*columns: str) -> list[Column]:
    return [f.sum(column).alias(column) for column in columns]


def metrics(items: DataFrame, events: DataFrame, apps: list[str]) -> DataFrame:
    """Events, distinct users, pins and boards by subject and platform."""
    users = [
        f.sum(f.when(f.col("mask").bitwiseAND(_bit(event)) != 0, f.col("n")).otherwise(0)) for event in EVENT_TYPES
    ]
    named = [count.alias(f"{event}_users") for count, event in zip(users, EVENT_TYPES, strict=True)]
    of_users = _masks_by_platform(events, apps, "subject").groupBy("subject", "platform")
    counts = items.groupBy("subject", "platform").agg(
        *_sums(*COUNTS), f.count("*").alias("pins"), f.countDistinct("board_id").alias("boards")
    )
    return counts.join(of_users.agg(*named, f.sum("n").alias("users")), ["subject", "platform"])


def audience(events: DataFrame, apps: list[str]) -> DataFrame:
    """Distinct users by subject, platform, dimension and value."""
    found = [
        _masks_by_platform(events.withColumn("value", f.col(name)), apps, "subject", "value")
        .groupBy("subject", "platform", "value")
        .agg(f.sum("n").alias("users"))
        .withColumn("dimension", f.lit(name))
        for name in DIMENSIONS
    ]
    rows = found[0].unionByName(found[1]).unionByName(found[2])
    return rows.withColumn("subject", f.concat(f.lit("a:"), "subject"))


def _bit(event: str) -> int:
    return 1 << EVENT_TYPES.index(event)


def _masks_by_platform(events: DataFrame, apps: list[str], *columns: str) -> DataFrame:
    """How many users have which bits of event types: `n` by columns, platform and `mask`."""
    width, every = len(EVENT_TYPES), (1 << len(EVENT_TYPES)) - 1
    place = f.array_position(f.lit(apps), f.col("app")).cast("int") - 1
    kind = f.array_position(f.lit(list(EVENT_TYPES)), f.col("type")).cast("int") - 1
    bit = f.call_function("shiftleft", f.lit(1).cast("long"), place * width + kind)
    masks = events.groupBy(*columns, "user_id").agg(f.bit_or(bit).alias("bits"))
    by_mask = masks.groupBy(*columns, "bits").agg(f.count("*").alias("n"))
    of_apps = [f.shiftright("bits", width * number).bitwiseAND(every) for number in range(len(apps))]
    of_all = of_apps[0]
    for own in of_apps[1:]:
        of_all = of_all.bitwiseOR(own)
    platforms = zip([*apps, ALL], [*of_apps, of_all], strict=True)
    exploded = f.explode(
        f.array(*(f.struct(f.lit(name).alias("platform"), own.alias("mask")) for name, own in platforms))
    )
    rows = by_mask.select(*columns, "n", exploded.alias("own")).select(*columns, "n", "own.*")
    return rows.where(f.col("mask") != 0)


def top_items(items: DataFrame, name: str) -> DataFrame:
    """The lists of `TOP` items by each event type and by the ranking, and the sums of what was cut."""
    item = f"{name.removesuffix('s')}_id"
    totals = items.where(f.col(item).isNotNull()).groupBy("subject", "platform", f.col(item).alias("id"))
    summed = totals.agg(*_sums(*EVENT_TYPES), f.max("search_score").alias(RANKING))
    values = [f.col(by).cast("double").alias(by) for by in (*EVENT_TYPES, RANKING)]
    long = summed.select("subject", "platform", "id", *values).unpivot(
        ["subject", "platform", "id"], [*EVENT_TYPES, RANKING], "by", "value"
    )
    counted = long.where((f.col("value") > 0) | ((f.col("by") == RANKING) & f.col("value").isNotNull()))
    group = ["subject", "platform", "by"]
    order = Window.partitionBy(*group).orderBy(f.desc("value"), "id")
    ranked = counted.withColumn("rank", f.row_number().over(order))
    kept = f.col("rank") <= TOP
    lists = ranked.groupBy(*group, f.when(kept, f.col("rank")).alias("rank")).agg(
        f.when(f.first(kept), f.first("id")).otherwise(OTHER).alias("id"), f.sum("value").alias("value")
    )
    return lists.withColumn("items", f.lit(name))


if __name__ == "__main__":
    given = Task.from_arguments()
    session = start(given)
    compute(given, session)
    session.stop()
