"""What people do about the jobs of a run: retry, redo, poison, skip and resume, each shown before it is done.

`plan` looks, `apply` does it in one transaction, if the run still stands as it was looked at.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from pinflow.errors import ConfigurationError, PinflowError, UnknownNameError
from pinflow.scheduler import ending, reading
from pinflow.scheduler import statements as sql
from pinflow.scheduler import worker_statements as worker_sql
from pinflow.scheduler.definition import Definition
from pinflow.scheduler.records import Lease
from pinflow.scheduler.states import ACTIVE_STATES, DONE_STATES, JobState, RunState
from pinflow.scheduler.store import Store
from pinflow.scheduler.transaction import Transaction

_STOPPED = frozenset({JobState.FAILED, JobState.ABORTED})
_PENDING = frozenset({JobState.WAITING, JobState.READY})


class Repair(StrEnum):
    """What is done: failed jobs again; jobs anew with all after them; jobs counted as done; an aborted run goes on."""

    RETRY = "retry"
    REDO = "redo"
    SKIP = "skip"
    RESUME = "resume"


@dataclass(frozen=True)
class Change:
    """What becomes of one job; `anew`: it is done also when its result is there; `unmet`: the jobs it waits for."""

    job: str
    before: JobState
    after: JobState
    anew: bool = False
    unmet: int = 0


@dataclass(frozen=True)
class Plan:
    """What a repair changes about a run, job by job in the order of declaration; `fence` is the run's as it stands.

    `jobs`: those that were asked for, none for all that it can concern.
    """

    run_id: str
    repair: Repair
    state: RunState
    fence: int
    jobs: tuple[str, ...]
    changes: tuple[Change, ...]

    @property
    def moved(self) -> list[tuple[str, JobState, JobState]]:
        """The jobs whose state changes, each with what it is and becomes."""
        return [(each.job, each.before, each.after) for each in self.changes if each.after is not each.before]


def plan(store: Store, run: str, repair: Repair, jobs: Collection[str] = ()) -> Plan:
    """What a repair of `jobs` would change. Raises `ConfigurationError` for one that makes no sense as the run stands.

    Retry without jobs takes all that failed or were aborted.
    """
    info = reading.get_run(store, run)
    definition = reading.definition_of(store, info.run_id)
    states = {job.name: job.state for job in info.jobs}
    for name in jobs:
        if name not in states:
            raise UnknownNameError("job", name, states, f"pinflow show {info.run_id}")
    return _planned(
        Plan(info.run_id, repair, info.state, store.fence_of(info.run_id), tuple(jobs), ()), definition, states
    )


def _planned(asked: Plan, definition: Definition, states: Mapping[str, JobState]) -> Plan:
    """A plan with its changes, as the jobs of its run stand."""
    chosen = _chosen(asked, definition, states)
    found = replace(asked, changes=consequences(definition, states, chosen, asked.repair))
    if not found.moved:
        raise ConfigurationError(
            f"nothing of {asked.run_id} would go on by that: jobs before it failed; see: pinflow show {asked.run_id}"
        )
    return found


def _chosen(asked: Plan, definition: Definition, states: Mapping[str, JobState]) -> set[str]:
    """The jobs that are moved by the repair itself, not by what follows from it."""
    repair, jobs = asked.repair, asked.jobs
    if repair is Repair.RESUME and asked.state is not RunState.ABORTED:
        raise ConfigurationError(f"run {asked.run_id} is {asked.state}, not aborted; see: pinflow show {asked.run_id}")
    chosen = set(jobs) or {name for name, state in states.items() if state in _STOPPED}
    if repair is Repair.REDO:
        chosen |= {after for name in jobs for after in definition.descendants(name)}
        # what never ran is not done again
        chosen -= {name for name in chosen - set(jobs) if states[name] in _PENDING}
    refused = {
        Repair.RETRY: {*_PENDING, *ACTIVE_STATES, *DONE_STATES},
        Repair.REDO: {*ACTIVE_STATES},
        Repair.SKIP: {*ACTIVE_STATES, *DONE_STATES},
        Repair.RESUME: set(),
    }[repair]
    for name in sorted(chosen, key=definition.positions.__getitem__):
        if states[name] in refused:
            hint = {JobState.RUNNING: "pinflow abort", JobState.SUCCEEDED: "pinflow redo"}.get(states[name])
            other = f"; perhaps you want: {hint} {asked.run_id}" if hint else ""
            raise ConfigurationError(f"cannot {repair} {name}: it is {states[name]}{other}")
    if not chosen:
        raise ConfigurationError(f"there is nothing to {repair} in {asked.run_id}; see: pinflow show {asked.run_id}")
    return chosen


def poison(store: Store, run: str, jobs: Collection[str], *, later: bool = False) -> list[Plan]:
    """What it takes to do `jobs` anew with all after them, in a run and, with `later`, in the last of later days."""
    first = reading.get_run(store, run)
    plans = [plan(store, first.run_id, Repair.REDO, jobs)]
    rows = store.read(worker_sql.RUNS_AFTER, b_workflow=first.workflow, b_date=first.date) if later else ()
    newest = {row.date: row.run_id for row in rows}
    for run_id in newest.values():
        known = {job.name for job in reading.get_run(store, run_id).jobs if job.attempts}
        if same := [job for job in jobs if job in known]:
            plans.append(plan(store, run_id, Repair.REDO, same))
    return plans


def consequences(
    definition: Definition, states: Mapping[str, JobState], chosen: Collection[str], repair: Repair
) -> tuple[Change, ...]:
    """Where every job of a run goes that a repair of the `chosen` ones moves.

    A job that was stopped by others before it (`upstream_failed`, or aborted with its run) waits again as soon as no
    job before it is stopped. One that waits, waits for all before it that are not done.
    """
    again = () if repair is Repair.SKIP else chosen
    new: dict[str, JobState] = {}
    found: dict[str, Change] = {}
    for name in definition.order:
        before = states[name]
        after = set(definition.nodes[name].after)
        is_blocked = any(new[b] in (*_STOPPED, JobState.UPSTREAM_FAILED) for b in after)
        unmet = sum(new[b] not in DONE_STATES for b in after)
        pending = JobState.WAITING if unmet else JobState.READY
        is_freed = before in (JobState.UPSTREAM_FAILED, JobState.ABORTED) and not is_blocked
        if repair is Repair.SKIP and name in chosen:
            new[name] = JobState.SKIPPED
        elif before in ACTIVE_STATES or (before in DONE_STATES and name not in again):
            new[name] = before
        elif is_blocked and (name in again or before in _PENDING):
            new[name] = JobState.UPSTREAM_FAILED if before in _PENDING else before
        else:
            new[name] = pending if name in again or is_freed or before in _PENDING else before
        if new[name] is not before or new[name] in _PENDING:
            is_anew = repair is Repair.REDO and name in again
            found[name] = Change(name, before, new[name], is_anew, unmet)
    return tuple(found[name] for name in definition.positions if name in found)


def apply(store: Store, planned: Plan, *, author: str, detach: bool = False) -> None:
    """Do what was planned, unless it would move other jobs by now; then `PinflowError`.

    A run that has ended goes on: for all workers with `detach`, else for whoever takes it over next.
    """

    def change(work: Transaction) -> None:
        row = work.first(sql.LOCK_RUN, b_run_id=planned.run_id)
        states = {job.name: job for job in work.rows(sql.JOBS, b_run_id=planned.run_id)}
        reason = f"{planned.repair} by {author}"
        for each in _changes_now(planned, row, states):
            _move(work, planned, each, states[each.job], reason)
        ending.hold_back(work, planned.run_id)
        fence = work.reopen(row, reason, shared=detach) if row.state != RunState.RUNNING else row.fence
        if row.shared or detach:
            work.close_if_done(Lease(row.run_id, row.driver, fence))

    store.transact(change)


def _changes_now(planned: Plan, row: Any, jobs: Mapping[str, Any]) -> Sequence[Change]:
    """What the plan comes to as its run stands now: jobs that moved nowhere may have fewer to wait for."""
    states = {name: JobState(job.state) for name, job in jobs.items()}
    try:
        now: Plan | None = _planned(planned, Definition.from_text(row.definition), states)
    except ConfigurationError:
        now = None
    if row.fence != planned.fence or now is None or now.moved != planned.moved:
        raise PinflowError(f"run {planned.run_id} has changed meanwhile; give the same command again")
    return now.changes


def _move(work: Transaction, planned: Plan, change: Change, job: object, reason: str) -> None:
    values = {"b_run_id": planned.run_id, "b_name": change.job}
    if change.after is JobState.SKIPPED:
        work.change(sql.SKIP, **values, b_reason=reason, b_now=work.now)
    elif change.after is JobState.UPSTREAM_FAILED:
        work.change(sql.BLOCK, **values, b_reason=reason, b_now=work.now)
    elif change.after is change.before:
        work.change(sql.SET_UNMET, **values, b_unmet=change.unmet)
        return
    else:
        work.change(sql.AGAIN[change.after], **values, b_unmet=change.unmet, b_anew=int(change.anew))
    attempts = getattr(job, "attempts", None) or None
    work.tell(planned.run_id, change.job, attempts, change.before.value, change.after.value, reason)
