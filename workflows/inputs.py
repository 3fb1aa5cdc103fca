"""Turns the inputs of a node into input lines for its map tasks, options, and an identity that says what was read."""

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pinflow
from pinflow.config import Settings
from pinflow.hbase_schema.periods import AGGREGATIONS, days, period_start
from pinflow.mr_jobs.analytics.columns import SEPARATOR, day_sets
from pinflow.mr_jobs.datasets import Published, Warehouse
from pinflow.mr_jobs.inputs.discover import Source
from pinflow.mr_jobs.inputs.numeric import numeric_columns
from pinflow.mr_jobs.inputs.splits import Split, plan_splits
from pinflow.mr_jobs.local_tasks import load_job
from pinflow.mr_jobs.splits import DatasetSplit, bucket_splits, part_splits
from pinflow.mr_jobs.udfs import rankings
from pinflow.workflows.node import Day, MapReduce, Periods, Raw

SPLIT_BYTES = 32 << 20
INFLATION = {"gzip": 8, "zstd": 8, "": 1}
PARQUET_INFLATION = 6


@dataclass
class Resolved:
    """What a job is to read: input lines with their weight in bytes, options, and what identifies it all.

    `datasets` are name, day and attempt of each dataset read.
    """

    lines: list[tuple[str, int]] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    raw: list[Any] = field(default_factory=list)
    datasets: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def weight(self) -> int:
        """Estimated bytes of all input once it is in memory."""
        return sum(weight for _, weight in self.lines)


def resolve(node: MapReduce, day: date, settings: Settings, warehouse: Warehouse) -> Resolved:
    """Find everything that the node reads. Raises `InputMissingError` when a dataset is not published."""
    resolved = Resolved()
    for given in node.inputs:
        if isinstance(given, Raw):
            _add_raw(resolved, given.kind, day, settings)
        elif isinstance(given, Day):
            published = warehouse.require(given.dataset, day)
            _add_splits(resolved, part_splits(warehouse, published, given.below), [published])
        else:
            found = period_days(warehouse, given, day)
            resolved.options["days"] = ",".join(published.date for published in found)
            _add_splits(resolved, bucket_splits(warehouse, found), found)
    for name in node.tables:
        published = warehouse.require(name, day)
        resolved.options.setdefault("table", []).append(f"{name}={warehouse.path(published)}")
        resolved.datasets.append((name, published.date, published.attempt))
    return resolved


def period_days(warehouse: Warehouse, given: Periods, day: date) -> list[Published]:
    """The published days of all periods that `day` belongs to. Raises `InputMissingError` without the day itself."""
    warehouse.require(given.dataset, day)
    wanted = {d for name in AGGREGATIONS for d in days(name, period_start(name, day))}
    found = (warehouse.current(given.dataset, d) for d in warehouse.days(given.dataset) if d in wanted)
    return [published for published in found if published is not None]


def served_labels(warehouse: Warehouse, resolved: Resolved, day: date) -> list[str]:
    """The aggregations that this run is to serve, those over the same days joined as in `day_sets`.

    An aggregation is left out when a dataset that is read was made from other days than are published now: another
    run has published a day meanwhile, has seen this day too, and serves the period.
    """
    read = [warehouse.require(name, date_text) for name, date_text, _ in resolved.datasets]
    complete = [
        aggregation
        for aggregation in AGGREGATIONS
        if all(_is_complete(warehouse, published, aggregation, day) for published in read)
    ]
    seen = sorted({date_text for published in read for _, date_text, _ in published.inputs})
    sets = (label.split(SEPARATOR) for label, _ in day_sets(day, seen))
    kept = ([name for name in names if name in complete] for names in sets)
    return [SEPARATOR.join(names) for names in kept if names]


def _is_complete(warehouse: Warehouse, published: Published, aggregation: str, day: date) -> bool:
    made_from = set(published.inputs)
    return all(
        (name, found.date, found.attempt) in made_from
        for name in {name for name, _, _ in made_from}
        for other in set(warehouse.days(name)).intersection(days(aggregation, period_start(aggregation, day)))
        if (found := warehouse.current(name, other)) is not None
    )


def identity_of(node: MapReduce, resolved: Resolved, day: date) -> str:
    """A hash of the code, the options and the inputs: equal for a result that need not be made again (AN-14)."""
    content = {
        "code": code_of(node.job),
        "rankings": rankings_of(node.job),
        "date": day.isoformat(),
        "options": dict(node.options),
        "rules": [rule.to_json() for rule in node.rules],
        "inputs": [resolved.raw, resolved.datasets],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def code_of(job: str) -> list[str]:
    """What stands for a job's code: pinflow's version, the source of its own modules, its `version`."""
    cls = load_job(job)
    modules = sorted({base.__module__ for base in cls.__mro__} - {"builtins", "mrjob.job", "mrjob.launch"})
    digest = hashlib.sha256()
    for name in modules:
        module: Any = sys.modules[name]
        digest.update(module.__loader__.get_data(module.__file__))
    return [pinflow.__version__, digest.hexdigest(), str(getattr(cls, "version", 1))]


def rankings_of(job: str) -> list[list[str]]:
    """What stands for the rankings that a job uses: their names and the sources of their functions."""
    return [r.code for r in rankings()] if getattr(load_job(job), "uses_rankings", False) else []


def _add_splits(resolved: Resolved, splits: Sequence[DatasetSplit], found: Sequence[Published]) -> None:
    resolved.lines += [(split.to_line(), split.size * PARQUET_INFLATION) for split in splits]
    resolved.datasets += [(p.dataset, p.date, p.attempt) for p in found]


def _add_raw(resolved: Resolved, kind: str, day: date, settings: Settings) -> None:
    source = Source.from_settings(settings)
    is_log = source.format == "access_log"
    files = source.files(kind, day)
    splits = plan_splits(files, SPLIT_BYTES, logs=is_log)
    sizes = {file.path: file.size for file in files}
    resolved.lines += [(json.dumps(split.to_json()), _weight(split, sizes[split.path])) for split in splits]
    resolved.options["splits"] = True
    resolved.raw.append([kind, source.identity(files)])
    resolved.options |= raw_options(kind, settings, source.format)
    if kind == "pins" and not is_log:
        resolved.options["columns"] = ",".join(numeric_columns(files, settings.source.fields.get("pins")))
    described = ("format", "fields", "columns", "site", "country_database")
    resolved.raw.append({name: resolved.options.get(name) for name in described})


def raw_options(kind: str, settings: Settings, input_format: str) -> dict[str, Any]:
    """Options of a job that reads raw input of one format."""
    if input_format == "access_log":
        site = {"site": settings.source.site, "home": str(settings.home_path)}
        return {"format": input_format, **site, "country_database": settings.source.country_database or None}
    fields = settings.source.fields.get(kind, {})  # type: ignore[call-overload]
    return {"format": input_format, "fields": json.dumps(fields) if fields else None}


def _weight(split: Split, size: int) -> int:
    length = size if split.kind_of_file == "parquet" else split.length
    return max(1, length * INFLATION[split.compression] * (PARQUET_INFLATION if split.kind_of_file == "parquet" else 1))
