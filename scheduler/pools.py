"""The limits over all runs that people set: how many jobs of a pool, or of a workflow, may run at once."""

from typing import NamedTuple

from pinflow.database import is_race
from pinflow.scheduler import worker_statements as sql
from pinflow.scheduler.limits import workflow_limit
from pinflow.scheduler.store import Store
from pinflow.scheduler.transaction import Transaction


class Limit(NamedTuple):
    """How many jobs of a pool or of a workflow (`kind`) may run at once."""

    kind: str
    name: str
    slots: int


def list_limits(store: Store) -> list[Limit]:
    """All limits that are set."""
    prefix = workflow_limit("")
    return [
        Limit("workflow" if row.name.startswith(prefix) else "pool", row.name.removeprefix(prefix), row.slots)
        for row in store.read(sql.POOLS)
    ]


def set_limit(store: Store, limit: Limit) -> None:
    """Set a limit; what runs already goes on."""

    def put(work: Transaction) -> None:
        name = _row_of(limit.kind, limit.name)
        work.try_change(sql.DELETE_POOL, b_name=name)
        work.insert(sql.INSERT_POOL, [{"name": name, "slots": limit.slots}])

    store.transact(put, is_race)


def remove_limit(store: Store, kind: str, name: str) -> bool:
    """Take a limit away; False if there was none."""
    return store.transact(lambda work: work.try_change(sql.DELETE_POOL, b_name=_row_of(kind, name)))


def _row_of(kind: str, name: str) -> str:
    return workflow_limit(name) if kind == "workflow" else name
