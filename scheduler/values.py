"""Values that a job hands to those after it: declared, typed, small, and only those of an attempt that succeeded."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from pinflow.errors import ConfigurationError
from pinflow.scheduler.parameters import KINDS as SCALARS
from pinflow.scheduler.parameters import Parameter
from pinflow.zygote import JSON

if TYPE_CHECKING:
    from pinflow.scheduler.store import Store

LIMIT = 16 * 1024
"""How many bytes the values of an attempt may have, as JSON; what is larger belongs into a dataset or a file."""
VALUES = "values"
"""Where the values stand in what a job leaves."""
_STRUCTURES: Mapping[str, type] = {"list": list, "object": dict}
KINDS = (*SCALARS, *_STRUCTURES)
_SHOWN = 200


class NotGivenError(ConfigurationError):
    """A value that a job takes was not given."""


def check_declared(job: str, gives: Mapping[str, str], takes: Mapping[str, str]) -> None:
    """Raise `ConfigurationError` for what a job cannot declare: `gives` name -> kind, `takes` name -> JOB.NAME."""
    for name, kind in gives.items():
        if kind not in KINDS:
            raise ConfigurationError(f"job {job!r}: the value {name!r} has no kind {kind!r}; valid: {', '.join(KINDS)}")
        Parameter(name)
    for name, source in takes.items():
        Parameter(name)
        if not isinstance(source, str) or not all(source.rpartition(".")[::2]):
            raise ConfigurationError(f"job {job!r}: takes must say JOB.VALUE for {name!r}, not {source!r}")


def check_source(job: str, source: str, given: Mapping[str, Mapping[str, str]], before: Collection[str]) -> None:
    """Raise `ConfigurationError` unless a job `before` this one declares the value `source`, JOB.NAME."""
    giver, _, name = source.rpartition(".")
    if giver not in before:
        raise ConfigurationError(f"job {job!r} takes {source}, but {giver!r} is not among the jobs before it (`after`)")
    if name not in given[giver]:
        known = ", ".join(given[giver]) or "none"
        raise ConfigurationError(f"job {job!r} takes {source}, which {giver!r} does not give; it gives: {known}")


def typed(gives: Mapping[str, str], left: str | None, *, complete: bool) -> dict[str, JSON]:
    """The values in what a job left, read by the kinds that it declares; `complete`: it has to give all of them.

    Raises `ConfigurationError` for one that is missing, not declared, of another kind, and when all are too large.
    """
    found = json.loads(left).get(VALUES, {}) if left else {}
    if not isinstance(found, dict):
        raise ConfigurationError(f"what it left as {VALUES} is no JSON object")
    if undeclared := sorted(found.keys() - gives.keys()):
        raise ConfigurationError(
            f"it left the value {undeclared[0]!r}, which it does not declare; declared: {', '.join(gives) or 'none'}"
        )
    if complete and (missing := [name for name in gives if name not in found]):
        raise ConfigurationError(f"it left no value {missing[0]!r}, which it declares")
    values = {name: _read(name, gives[name], value) for name, value in found.items()}
    if (size := len(json.dumps(values))) > LIMIT:
        raise ConfigurationError(f"its values have {size} bytes, at most {LIMIT} are kept; leave a path in their place")
    return values


def shown(values: Mapping[str, JSON]) -> str:
    """Values for people, cut to one line.

    >>> shown({"rows": 3, "place": "s3://x"})
    'gave rows=3, place="s3://x"'
    """
    text = "gave " + ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in values.items())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def taken(store: "Store", run_id: str, takes: Mapping[str, str]) -> dict[str, JSON]:
    """The values that a job takes, each from the last attempt that left it. Raises `NotGivenError`."""
    from pinflow.database import fetch  # those who only declare values need no database
    from pinflow.scheduler import statements as sql

    sources = {name: source.rpartition(".")[::2] for name, source in takes.items()}
    rows = fetch(
        store.engine, sql.LEFT_BY_JOBS, {"b_run_id": run_id, "b_jobs": sorted({job for job, _ in sources.values()})}
    )
    return {name: _newest(run_id, rows, job, value) for name, (job, value) in sources.items()}


def environment_of(values: Mapping[str, JSON]) -> dict[str, str]:
    """How a command gets values: each as PINFLOW_VALUE_NAME, a text as it is, others as JSON.

    >>> environment_of({"rows": 3, "place": "s3://x"})
    {'PINFLOW_VALUE_ROWS': '3', 'PINFLOW_VALUE_PLACE': 's3://x'}
    """
    return {
        f"PINFLOW_VALUE_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
    }


def _newest(run_id: str, rows: Sequence[Any], job: str, name: str) -> JSON:
    for row in rows:
        values = json.loads(row.result).get(VALUES, {})
        if row.job == job and name in values:
            value: JSON = values[name]
            return value
    raise NotGivenError(f"{job} was skipped, and gave no value {name!r}; do it anew with: pinflow redo {run_id} {job}")


def _read(name: str, kind: str, value: Any) -> JSON:
    if kind not in _STRUCTURES:
        return Parameter(name, kind).read(value)
    if type(value) is not _STRUCTURES[kind]:
        raise ConfigurationError(f"the value {name!r} must be a {kind}, not {str(value)[:_SHOWN]!r}")
    return cast(JSON, value)
