"""What people tell running workflows: pause, drain, abort, disable a job, let workers exit; and how it is undone.

A signal is a row until it is undone. It is for all runs, for those of a workflow, or for one run:

- pause: no job starts; what runs goes on, and a command that drives a run waits.
- drain: the same, but a command that drives a run ends when nothing of it runs any more.
- abort: runs end at once, and no run of it is made or goes on.
- disable: a job counts as skipped as soon as it could start.
- exit: workers of a lower generation end what they run, then themselves.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial

from pinflow import database
from pinflow.errors import ConfigurationError
from pinflow.scheduler import identity
from pinflow.scheduler import statements as sql
from pinflow.scheduler import worker_statements as worker_sql
from pinflow.scheduler.states import RunState
from pinflow.scheduler.store import Store
from pinflow.scheduler.transaction import Transaction


class Action(StrEnum):
    """What is asked for."""

    PAUSE = "pause"
    DRAIN = "drain"
    ABORT = "abort"
    DISABLE = "disable"
    EXIT = "exit"


@dataclass(frozen=True)
class Scope:
    """Whom a signal is for: `kind` all, workflow or run; `name` of the workflow or run, empty for all."""

    kind: str = "all"
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".strip()


ALL = Scope()


@dataclass(frozen=True)
class Signal:
    """One signal as it stands."""

    scope: Scope
    action: Action
    job: str
    generation: int | None
    reason: str
    author: str
    at: datetime


def send(store: Store, scope: Scope, action: Action, *, author: str, reason: str = "", job: str = "") -> list[str]:
    """Set a signal, or renew it; gives the runs that an abort ended.

    An abort of one run leaves no signal: the run is `aborted`, and goes on when it is resumed or run again.
    """
    if action is Action.EXIT or (action is Action.DISABLE) != bool(job):
        raise ConfigurationError(f"{action} of {scope} cannot have the job {job!r}; see: pinflow {action} --help")

    def put(work: Transaction) -> None:
        _put(work, scope, action, author, reason, job)

    if action is not Action.ABORT or scope.kind != "run":
        store.transact(put, database.is_race)
    if action is not Action.ABORT:
        return []
    rows = database.fetch(store.engine, worker_sql.RUNNING_RUNS)
    concerned = [row.run_id for row in rows if scope.kind == "all" or scope.name in (row.workflow, row.run_id)]
    why = f"{_ended_by(scope)}{author}" + (f": {reason}" if reason else "")
    return [run_id for run_id in concerned if store.transact(partial(_abort, run_id=run_id, reason=why))]


def ended_by_abort(store: Store, scope: Scope) -> list[str]:
    """The runs that the standing abort of a workflow, or of all, ended, and that are aborted still."""
    found = [signal for signal in standing(store) if (signal.scope, signal.action) == (scope, Action.ABORT)]
    rows = store.read(worker_sql.ABORTED_RUNS, b_since=found[0].at) if found else ()
    return [row.run_id for row in rows if row.reason.startswith(_ended_by(scope))]


def undo(store: Store, scope: Scope, *, job: str = "", author: str = "") -> list[Action]:
    """Take back what holds exactly this scope (with `job`: what disables it); gives what there was.

    Without an `author` it is the user of this process. A run that was aborted is not continued by that; see
    `steering.resume`.
    """

    def remove(work: Transaction) -> list[Action]:
        rows = work.rows(worker_sql.SIGNALS_AT, b_scope=scope.kind, b_name=scope.name, b_job=job)
        rows = [row for row in rows if row.action != Action.EXIT]
        values = {"b_scope": scope.kind, "b_name": scope.name, "b_job": job}
        for row in rows:
            work.try_change(worker_sql.DELETE_SIGNAL, **values, b_action=row.action)
            _tell(work, scope, f"{row.action}{f' of {job}' if job else ''} undone by {author or identity.user_name()}")
        return [Action(row.action) for row in rows]

    return store.transact(remove)


def ask_to_exit(store: Store, generation: int, *, author: str, reason: str = "") -> None:
    """Let workers of a lower generation end what they run, then themselves; those that come later, too."""
    store.transact(lambda work: _put(work, ALL, Action.EXIT, author, reason, "", generation), database.is_race)


def take_back_exit(store: Store) -> bool:
    """Let workers of all generations stay; False if none were asked to exit."""
    return store.transact(
        lambda work: work.try_change(
            worker_sql.DELETE_SIGNAL, b_scope=ALL.kind, b_name=ALL.name, b_job="", b_action=Action.EXIT.value
        )
    )


def standing(store: Store) -> list[Signal]:
    """All signals, those for all first."""
    return [
        Signal(Scope(row.scope, row.name), Action(row.action), row.job, row.generation, row.reason, row.author, row.at)
        for row in database.fetch(store.engine, worker_sql.SIGNALS)
    ]


def _put(
    work: Transaction, scope: Scope, action: Action, author: str, reason: str, job: str, generation: int | None = None
) -> None:
    at = work.now
    if action is Action.ABORT:  # what it has ended since it was first given is known by that
        rows = work.rows(worker_sql.SIGNALS_AT, b_scope=scope.kind, b_name=scope.name, b_job=job)
        at = next((row.at for row in rows if row.action == action), at)
    work.try_change(worker_sql.DELETE_SIGNAL, b_scope=scope.kind, b_name=scope.name, b_job=job, b_action=action.value)
    row = {
        "scope": scope.kind,
        "name": scope.name,
        "action": action.value,
        "job": job,
        "generation": generation,
        "reason": reason,
        "author": author,
        "at": at,
    }
    work.insert(worker_sql.INSERT_SIGNAL, [row])
    of_job = f" of {job}" if job else ""
    _tell(work, scope, f"{action}{of_job} by {author}" + (f": {reason}" if reason else ""))


def _tell(work: Transaction, scope: Scope, detail: str) -> None:
    """Note in the story of a run what it was told; its state is as it was."""
    row = work.first(sql.RUN, b_run_id=scope.name) if scope.kind == "run" else None
    if row is not None:
        work.tell(row.run_id, None, None, row.state, row.state, detail)


def _ended_by(scope: Scope) -> str:
    """How the reason of a run begins that an abort ended; its author follows."""
    return "aborted by " if scope.kind == "run" else f"aborted with {scope} by "


def _abort(work: Transaction, run_id: str, reason: str) -> bool:
    row = work.first(sql.LOCK_RUN, b_run_id=run_id)
    if row is None or row.state != RunState.RUNNING:
        return False
    work.abort(run_id, row.fence, reason)
    return True
