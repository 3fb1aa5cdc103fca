"""Periods whose first days have expired: what is served of them is not replaced by what is left (AN-26)."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime

from pinflow.config import Settings
from pinflow.hbase_schema.markers import read_marker
from pinflow.hbase_schema.periods import AGGREGATIONS, days, period_start
from pinflow.hbase_schema.store import open_store
from pinflow.hbase_schema.tables import Section
from pinflow.mr_jobs.analytics.columns import SEPARATOR
from pinflow.mr_jobs.datasets import Warehouse
from pinflow.workflows.inputs import Resolved


def days_read(warehouse: Warehouse, resolved: Resolved, day: date) -> dict[str, int]:
    """By aggregation, how many days of the period that `day` belongs to are in the datasets that are read."""
    read = [warehouse.require(name, text) for name, text, _ in resolved.datasets]
    seen = {text for published in read for _, text, _ in published.inputs}
    return {name: sum(d.isoformat() in seen for d in _period(name, day)) for name in AGGREGATIONS}


def fuller_periods(
    settings: Settings, section: Section, dataset: str, day: date, read: Mapping[str, int], now: datetime
) -> dict[str, int]:
    """By aggregation, how many days are served of the periods that hold more of them than `read`.

    Only of periods that reach back beyond `keep`: of the others no day has expired. `dataset` is the one of the node
    that serves `section`; its published days tell of how many days each period was made.
    """
    limit = (now - settings.keep_for).date()
    expiring = [name for name in read if period_start(name, day) < limit]
    if not expiring:
        return {}
    warehouse = Warehouse(settings.warehouse_url)
    with open_store(settings.serving_url) as store:
        markers = {name: read_marker(store, section, name, period_start(name, day)) for name in expiring}
    seen = [name for name, marker in markers.items() if marker is not None and marker.version is not None]
    served = {name: _days_served(warehouse, dataset, name, day) for name in seen}
    return {name: count for name, count in served.items() if count > read[name]}


def without(labels: Iterable[str], left_out: Mapping[str, int]) -> list[str]:
    """Labels of aggregations, such as `weekly+monthly`, without some of them."""
    kept = (SEPARATOR.join(name for name in label.split(SEPARATOR) if name not in left_out) for label in labels)
    return [label for label in kept if label]


def _days_served(warehouse: Warehouse, dataset: str, aggregation: str, day: date) -> int:
    """The most days that a run of the period's days has left served; one that cannot be read tells of none."""
    of_period = (
        published
        for other in sorted(set(warehouse.days(dataset)).intersection(_period(aggregation, day)))
        for published in warehouse.published_days(dataset, lambda _: None, other)
    )
    return max((dict(published.served).get(aggregation, 0) for published in of_period), default=0)


def _period(aggregation: str, day: date) -> list[date]:
    return days(aggregation, period_start(aggregation, day))
