"""Which jobs of a run may be claimed now: pools, and how many jobs of its workflow may run, are limits over all runs.

A limit is a row of `pool`, which is locked until the claim is stored, so that two that claim at once keep to it.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

from pinflow.scheduler import statements as sql


class Reader(Protocol):
    """What is needed of a transaction."""

    workflow: str

    @property
    def now(self) -> Any:
        """Its time."""

    def rows(self, statement: Any, **values: Any) -> Sequence[Any]:
        """What a query gives."""

    def first(self, statement: Any, **values: Any) -> Any:
        """Its first row."""


def workflow_limit(workflow: str) -> str:
    """The name of the row of `pool` that limits a workflow; no pool can be called so."""
    return f"workflow/{workflow}"


def choose(
    work: Reader, run_id: str, free: int, conditions: int, cap: int | None, pools: Sequence[str]
) -> tuple[list[Any], bool]:
    """At most `free` jobs and `conditions` conditions that may start, and whether a limit kept one from it.

    `cap`: how many jobs of the workflow may run, None for any number; `pools`: only jobs of these, if any are named.
    """
    if cap is not None:
        work.first(sql.LOCK_POOL, b_pool=workflow_limit(work.workflow))
        allowed = max(0, cap - work.first(sql.ACTIVE_IN_WORKFLOW, b_workflow=work.workflow)[0])
        if allowed < free:
            chosen, _ = _choose(work, run_id, allowed, conditions, pools)
            return chosen, True
    return _choose(work, run_id, free, conditions, pools)


def _choose(work: Reader, run_id: str, free: int, conditions: int, pools: Sequence[str]) -> tuple[list[Any], bool]:
    values = {"b_run_id": run_id, "b_now": work.now, "b_limit": free + conditions}
    if not pools:
        found = work.rows(sql.CLAIMABLE, **values)
        if all(row.pool is None for row in found):
            return _first(found, free, conditions), False
    room: dict[str, int] = {}
    over: set[str] = set()
    while True:
        query = {"b_full": sorted(over), "b_any": int(not pools), "b_only": list(pools)}
        found = work.rows(sql.CLAIMABLE_OF_POOLS, **values, **query)
        wanted = Counter(row.pool for row in found if row.pool is not None)
        for name in sorted(wanted.keys() - room.keys()):
            room[name] = _room(work, name)
        more = {name for name, count in wanted.items() if count > room[name]}
        if not more:
            break
        over |= more
    fitting = list(found)
    for name in sorted(over):
        query = {"b_full": [], "b_any": 0, "b_only": [name]}
        fitting += work.rows(sql.CLAIMABLE_OF_POOLS, **values | {"b_limit": max(0, room[name])}, **query)
    return _first(sorted(fitting, key=lambda row: row.turn), free, conditions), bool(over)


def _room(work: Reader, pool: str) -> int:
    """How many more jobs of a pool may run; a pool without a row has no limit."""
    row = work.first(sql.LOCK_POOL, b_pool=pool)
    return 1 << 30 if row is None else int(row.slots - work.first(sql.ACTIVE_IN_POOL, b_pool=pool)[0])


def _first(found: Sequence[Any], free: int, conditions: int) -> list[Any]:
    polls = [row for row in found if row.kind == "condition"][:conditions]
    return polls + [row for row in found if row.kind != "condition"][:free]
