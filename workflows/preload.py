"""What the processes of a run have in common, imported once, in their zygote; as little as they can do with."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING, Any

from pinflow.zygote import Zygote

if TYPE_CHECKING:
    from pinflow.config import Settings
    from pinflow.scheduler.declare import Node

_ANALYTICS = (
    "board_counts",
    "boards",
    "domain_audience",
    "domain_metrics",
    "domain_top_boards",
    "domain_top_pins",
    "extract_events",
    "persist_audience",
    "persist_metrics",
    "persist_top_items",
    "pin_counts",
    "pins",
    "profile_audience",
    "profile_metrics",
    "profile_top_boards",
    "profile_top_pins",
    "read_events",
    "user_actions",
    "users",
)
_CONDITIONS = "pinflow.workflows.conditions"
_MAPREDUCE = "pinflow.workflows.mapreduce"
BARE = ("pinflow.scheduler.child",)
"""What every job needs."""
PRELOAD = (
    "polars",
    "polars._utils.parquet",
    "numpy.ma",
    "pyarrow.compute",
    "pyarrow.parquet",
    "thriftpy2.utils",
    _MAPREDUCE,
    _CONDITIONS,
    "pinflow.stats_engine.columns",
    "pinflow.stats_engine.judgement",
    "pinflow.stats_engine.packed_buckets",
    "pinflow.stats_engine.thrift_types",
    "pinflow.mr_jobs.local_tasks",
    "pinflow.mr_jobs.task_processes",
    "pinflow.mr_jobs.inputs.access_log",
    "pinflow.hbase_schema.embedded",
    *(f"pinflow.mr_jobs.analytics.{name}" for name in _ANALYTICS),
)
"""What MapReduce jobs need."""

OF_STORAGE = {
    "s3": ("pinflow.storage_s3",),
    "hdfs": ("pinflow.storage_hdfs",),
    "webhdfs": ("pinflow.storage_hdfs",),
    "swebhdfs": ("pinflow.storage_hdfs",),
}
OF_SCHEME = {
    **OF_STORAGE,
    "hbase": ("pinflow.hbase_schema.hbase",),
    "sqlite": ("pinflow.workflows.rehearsal:rehearse",),
    "mysql+pymysql": ("sqlalchemy.dialects.mysql.pymysql", "pymysql"),
}
"""What else is imported or called, by the scheme of a place that is configured; `OF_STORAGE`: by conditions, too."""
LIKELY = (*BARE, *PRELOAD, *OF_SCHEME["sqlite"])
"""What a run needs that has MapReduce jobs and only places of this machine."""

_begun: list[Zygote] = []


def begin() -> None:
    """Start a zygote with what a run is likely to need, before that is known; `start_zygote` takes it, or `leave` ends.

    That takes as long to import as what a command needs to find it out.
    """
    leave()
    _begun.append(Zygote.start(LIKELY))


def leave() -> None:
    """End the zygote that was begun, if no run has taken it."""
    while _begun:
        _begun.pop().close()


def start_zygote(settings: "Settings", calls: Iterable[str] = ()) -> Zygote:
    """Start the zygote of a run; returns at once, while it still imports.

    It imports what every job needs and what jobs that call the functions `calls` do; more of it (`needs_of`) before
    the first job that needs more. One that `begin` started is taken if it is the one for MapReduce jobs.
    """
    needs = needs_of(settings)
    modules = {call.partition(":")[0] for call in calls}
    more = [name for module in modules for name in needs.get(module, ())]
    if _begun and _MAPREDUCE in modules and set(more) <= set(LIKELY):
        return _begun.pop()
    leave()
    return Zygote.start((*BARE, *dict.fromkeys(more)))


def calls_of(settings: "Settings", workflow: str, day: date, given: Mapping[str, Any]) -> set[str]:
    """What the jobs of a workflow are likely to call, found before all that checks it is imported; none if it fails."""
    if f"{__package__}.{workflow}" in settings.workflows:
        return {f"{_MAPREDUCE}:run"}  # the graphs of pinflow's own take longer to make
    from pinflow.workflows.catalog import catalog, parameters

    with suppress(Exception, SystemExit):  # the code of whoever wrote it; the run will tell
        declared = catalog(settings).find(workflow)
        stages = declared.stages(day, parameters(settings) | declared.typed(given))
        return calls_in(node for stage in stages for node in stage.jobs)
    return set()


def calls_in(nodes: "Iterable[Node]") -> set[str]:
    """The functions that jobs call."""
    from pinflow.scheduler.declare import Condition, Job

    return {node.call for node in nodes if isinstance(node, Job | Condition)}


def needs_of(settings: "Settings") -> dict[str, tuple[str, ...]]:
    """What the jobs of a module's functions have in common, by the module's name: for `Place.needs`."""
    return {
        _CONDITIONS: (_CONDITIONS, *_of_places(settings, OF_STORAGE)),
        _MAPREDUCE: (*PRELOAD, *_of_places(settings, OF_SCHEME)),
    }


def _of_places(settings: "Settings", of_scheme: Mapping[str, tuple[str, ...]]) -> list[str]:
    places = (settings.input, settings.warehouse, settings.serving, settings.database_url)
    return sorted({name for place in places for name in of_scheme.get(place.partition("://")[0], ())})
