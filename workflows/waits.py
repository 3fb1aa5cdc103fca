"""Ready-made conditions, in a short form; each is asked again and again, and holds no slot between two questions.

from pinflow.workflows import waits

waits.data("orders_there", f"s3://acme/orders/dt={day}/", marker="_SUCCESS", poll="1m")
waits.run("load_done", "acme_load", day)
"""

from collections.abc import Sequence
from datetime import date
from math import ceil
from typing import Any

from pinflow.errors import ConfigurationError
from pinflow.scheduler.declare import ANSWER_SECONDS, Condition
from pinflow.scheduler.states import RunState
from pinflow.zygote import JSON

_ASKED = "pinflow.workflows.conditions"


def data(
    name: str, folder: str, *, marker: str = "", least_files: int = 1, least_bytes: int = 0, **options: Any
) -> Condition:
    """Waits for a folder or prefix (a path, s3:// or hdfs://): for the file `marker` in it, or for files and bytes.

    `options`, here and below, are those of `Condition`: after, poll, deadline, owner, description.
    """
    if marker and (least_files, least_bytes) != (1, 0):
        raise ConfigurationError(f"condition {name!r}: give a marker, or how much has to be there, not both")
    arguments: dict[str, JSON] = {
        "folder": folder,
        "marker": marker,
        "least_files": least_files,
        "least_bytes": least_bytes,
    }
    return Condition(name, call=f"{_ASKED}:data_is_there", arguments=arguments, **options)


def dataset(name: str, dataset: str, day: date, **options: Any) -> Condition:
    """Waits until a day of a dataset is published in the warehouse."""
    arguments = {"dataset": dataset, "date_text": day.isoformat()}
    return Condition(name, call=f"{_ASKED}:dataset_is_published", arguments=arguments, **options)


def run(name: str, workflow: str, day: date, *, states: Sequence[str] = ("succeeded",), **options: Any) -> Condition:
    """Waits until the newest run of a workflow's day has ended in one of these states."""
    known = {state.value for state in RunState} - {RunState.RUNNING.value}
    if wrong := [state for state in states if state not in known]:
        raise ConfigurationError(f"condition {name!r}: no run ends {wrong[0]!r}; valid: {', '.join(sorted(known))}")
    arguments = {"workflow": workflow, "date_text": day.isoformat(), "states": list(states)}
    return Condition(name, call=f"{_ASKED}:run_has_finished", arguments=arguments, **options)


def query(name: str, query: str, *, connection: str = "", **options: Any) -> Condition:
    """Waits until the first value that a query gives is true.

    `connection` is a name of the setting `connections`, so that no password stands in a workflow; empty: pinflow's
    own database.
    """
    if "://" in connection:
        raise ConfigurationError(
            f"condition {name!r}: connection must be a name of the setting connections, not a URL, since runs freeze it"
        )
    arguments = {"query": query, "connection": connection}
    return Condition(name, call=f"{_ASKED}:query_gives", arguments=arguments, **options)


def command(name: str, argv: Sequence[str], *, seconds: float = 60.0, **options: Any) -> Condition:
    """Waits until a program, started without a shell, ends with exit code 0; each time it gets so many seconds.

    When these are more than a question has without a timeout, the condition has one, a minute longer.
    """
    if isinstance(argv, str) or not argv:
        raise ConfigurationError(f"condition {name!r}: argv must be a list such as ['test', '-e', 'x'], not {argv!r}")
    arguments: dict[str, JSON] = {"argv": list(argv), "seconds": seconds}
    if seconds > ANSWER_SECONDS:
        options.setdefault("timeout", f"{ceil(seconds) + 60}s")
    return Condition(name, call=f"{_ASKED}:command_succeeds", arguments=arguments, **options)
