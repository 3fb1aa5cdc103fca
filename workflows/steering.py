"""What people do about runs, for the commands and for Python: whom a signal is for, and repairs carried out."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

from pinflow.config import Settings
from pinflow.errors import ConfigurationError, UnknownNameError
from pinflow.scheduler import reading, repair, signals
from pinflow.scheduler.repair import Plan, Repair
from pinflow.scheduler.signals import ALL, Action, Scope
from pinflow.scheduler.store import Store
from pinflow.workflows.catalog import catalog, look


def scope_of(settings: Settings, store: Store, run: str | None, workflow: str | None, everything: bool) -> Scope:
    """Whom a signal is for: exactly one of a run, a workflow, and all. Raises `ConfigurationError`.

    A workflow is known that is declared, has had a run, or is held by a signal.
    """
    if sum([run is not None, workflow is not None, everything]) != 1:
        raise ConfigurationError("say for whom: a RUN, --workflow NAME or --all, one of them; see: pinflow runs")
    if run is not None:
        return Scope("run", reading.get_run(store, run).run_id)
    if workflow is None:
        return ALL
    scope = Scope("workflow", workflow)
    is_held = any(signal.scope == scope for signal in signals.standing(store))
    if not is_held and not reading.list_runs(store, workflow=workflow, limit=1):
        catalog(settings).find(workflow)
    return scope


def scope_of_job(settings: Settings, store: Store, name: str, job: str) -> Scope:
    """The workflow or run of this name, which must have the job; raises `UnknownNameError`."""
    workflows = catalog(settings).workflows
    if name in workflows:
        known: Iterable[str] = look(settings, workflows[name], datetime.now(UTC).date()).nodes
        scope = Scope("workflow", name)
    else:
        run = reading.get_run(store, name)
        known, scope = [each.name for each in run.jobs], Scope("run", run.run_id)
    if job not in known:
        raise UnknownNameError("job", job, known, f"pinflow graph {name}")
    return scope


class Resumed(NamedTuple):
    """What held a scope, what has become of the runs that go on, and which of these somebody has to drive now."""

    undone: list[Action]
    plans: list[Plan]
    own: list[str]


def resume(store: Store, scope: Scope, *, author: str, detach: bool) -> Resumed:
    """Undo what holds a scope; a run that was aborted goes on, of a workflow or all those that their abort ended.

    What holds the scope is undone at last, so that the same call goes on after a failure.
    """
    if scope.kind == "run":
        aborted = reading.get_run(store, scope.name).state == "aborted"
        plans = [repair.plan(store, scope.name, Repair.RESUME)] if aborted else []
    else:
        plans = list(_plans_of(store, signals.ended_by_abort(store, scope)))
    own = carry_out(store, plans, author=author, detach=detach)
    return Resumed(signals.undo(store, scope, author=author), plans, own)


def _plans_of(store: Store, aborted: Sequence[str]) -> Iterator[Plan]:
    for run_id in aborted:
        with suppress(ConfigurationError):  # of a run all of whose jobs were done nothing goes on
            yield repair.plan(store, run_id, Repair.RESUME)


def enable(store: Store, name: str, job: str) -> list[Scope]:
    """Undo that a job of a workflow or run is disabled; raises `ConfigurationError` when it is not."""
    done = [scope for scope in (Scope("workflow", name), Scope("run", name)) if signals.undo(store, scope, job=job)]
    if not done:
        raise ConfigurationError(f"{job} of {name} is not disabled; see: pinflow signals")
    return done


def carry_out(store: Store, plans: Sequence[Plan], *, author: str, detach: bool) -> list[str]:
    """Do what was planned; gives the runs that somebody has to drive now: they are not shared, and nobody does."""
    own = []
    for plan in plans:
        is_shared = reading.get_run(store, plan.run_id).shared or detach
        repair.apply(store, plan, author=author, detach=is_shared)
        if not is_shared and not store.is_driven(plan.run_id):
            own.append(plan.run_id)
    return own
