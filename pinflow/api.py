"""Pinflow from Python: run a workflow, backfill it, look at runs, steer runs and schedules, as the commands do.

    from pinflow import api

    with api.Pinflow() as pinflow:
        result = pinflow.run("analytics", "2015-05-18")
        for job in result.jobs:
            print(job.name, job.state)

Errors are those of the commands: subclasses of `pinflow.errors.PinflowError`.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from pinflow import config
from pinflow.database import open_database
from pinflow.errors import ConfigurationError, UnknownNameError
from pinflow.scheduler import backfills, explaining, reading, repair, schedule_reading, signals
from pinflow.scheduler.backfills import Backfill, BackfillDay, BackfillRequest, Reprocess
from pinflow.scheduler.explaining import Explanation
from pinflow.scheduler.identity import user_name
from pinflow.scheduler.reading import RunInfo
from pinflow.scheduler.records import Event
from pinflow.scheduler.repair import Plan, Repair
from pinflow.scheduler.schedule_reading import ScheduleInfo
from pinflow.scheduler.signals import Action, Signal
from pinflow.scheduler.store import Store
from pinflow.workflows import steering
from pinflow.workflows.backfilling import drive_backfill, push
from pinflow.workflows.catalog import Catalog, catalog, definition, timetable
from pinflow.workflows.preload import calls_of, start_zygote
from pinflow.workflows.run import Request, continue_run, prepare_home, run_workflow, submit_workflow
from pinflow.workflows.scheduling import set_paused

Day = date | str
"""A day, or its text, YYYY-MM-DD."""


class Pinflow:
    """One configuration and its database; for one thread. Close it, or use it in a `with` statement."""

    def __init__(self, settings: config.Settings | None = None) -> None:
        """By default the settings that the commands have here: pinflow.toml and PINFLOW_* variables."""
        self.settings = settings or config.load()
        prepare_home(self.settings)
        self._store = Store(open_database(self.settings.database_url))

    def close(self) -> None:
        """Give the connections back."""
        self._store.close()
        self._store.engine.dispose()

    def __enter__(self) -> "Pinflow":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def workflows(self) -> Catalog:
        """The workflows that are declared, and the modules that are broken."""
        return catalog(self.settings)

    def run(
        self,
        workflow: str,
        day: Day,
        *,
        parameters: Mapping[str, Any] | None = None,
        stage: str | None = None,
        rebuild: bool = False,
        wait: timedelta = timedelta(0),
        on_event: Callable[[Event], None] = lambda _: None,
    ) -> RunInfo:
        """Run a workflow's day to its end, or follow the run of it that is under way; look at its `state`."""
        request = Request(workflow, _day(day), stage, rebuild, wait, parameters or {})
        with start_zygote(self.settings, calls_of(self.settings, workflow, request.date, request.parameters)) as zygote:
            return run_workflow(self.settings, request, zygote, on_event=on_event).run

    def runs(self, *, workflow: str | None = None, limit: int = 50) -> list[RunInfo]:
        """The newest runs, without their jobs."""
        return reading.list_runs(self._store, workflow=workflow, limit=limit)

    def get_run(self, run: str) -> RunInfo:
        """A run with its jobs; the start of its name is enough."""
        return reading.get_run(self._store, run)

    def events(self, run: str) -> list[Event]:
        """The story of a run in order."""
        return [event for _, event in self._store.events(self.get_run(run).run_id)]

    def explain(self, run: str, job: str) -> Explanation:
        """Why a job of a run is not running."""
        return explaining.explain(self._store, run, job)

    def submit(
        self,
        workflow: str,
        day: Day,
        *,
        parameters: Mapping[str, Any] | None = None,
        stage: str | None = None,
        rebuild: bool = False,
        wait: timedelta = timedelta(0),
    ) -> RunInfo:
        """Leave a workflow's day to workers, and return at once; a run of it that is under way is given.

        Raises `OtherWorkError` when that run does other work.
        """
        request = Request(workflow, _day(day), stage, rebuild, wait, parameters or {})
        return self.get_run(submit_workflow(self.settings, request).run_id)

    def retry(self, run: str, jobs: Sequence[str] = (), *, detach: bool = False) -> RunInfo:
        """Run again what failed or was aborted, or only `jobs` of it, and what waited for that; as `redo` does."""
        return self._repair([repair.plan(self._store, run, Repair.RETRY, jobs)], detach=detach)[0]

    def redo(self, run: str, jobs: Sequence[str], *, detach: bool = False) -> RunInfo:
        """Do jobs anew with all that comes after them.

        With `detach`, and when workers share the run or another process drives it, it returns at once; else the run is
        driven to its end here.
        """
        return self._repair([repair.plan(self._store, run, Repair.REDO, jobs)], detach=detach)[0]

    def skip(self, run: str, jobs: Sequence[str], *, detach: bool = False) -> RunInfo:
        """Count jobs as done, so that what waits for them starts; as `redo` does."""
        return self._repair([repair.plan(self._store, run, Repair.SKIP, jobs)], detach=detach)[0]

    def poison(self, run: str, jobs: Sequence[str], *, later: bool = False, detach: bool = False) -> list[RunInfo]:
        """Do anew all that hangs on what `jobs` made, with `later` also in the last run of each later day."""
        return self._repair(repair.poison(self._store, run, jobs, later=later), detach=detach)

    def preview(self, action: str, run: str, jobs: Sequence[str] = (), *, later: bool = False) -> list[Plan]:
        """What `retry`, `redo`, `skip` or `poison` would change."""
        if action == "poison":
            return repair.poison(self._store, run, jobs, later=later)
        if action not in list(Repair):
            raise UnknownNameError("repair", action, ["poison", *Repair], "pinflow retry --help")
        return [repair.plan(self._store, run, Repair(action), jobs)]

    def pause(
        self, run: str | None = None, *, workflow: str | None = None, everything: bool = False, reason: str = ""
    ) -> None:
        """Start no more jobs of a run, of a workflow, or of all (one of the three); what runs goes on."""
        self._send(Action.PAUSE, (run, workflow, everything), reason)

    def drain(
        self, run: str | None = None, *, workflow: str | None = None, everything: bool = False, reason: str = ""
    ) -> None:
        """The same, and commands that drive a run end when nothing of it runs any more."""
        self._send(Action.DRAIN, (run, workflow, everything), reason)

    def abort(
        self, run: str | None = None, *, workflow: str | None = None, everything: bool = False, reason: str = ""
    ) -> list[str]:
        """End runs and their jobs now; gives the runs. Unless one run is named, no new one starts until `resume`."""
        return self._send(Action.ABORT, (run, workflow, everything), reason)

    def resume(
        self,
        run: str | None = None,
        *,
        workflow: str | None = None,
        everything: bool = False,
        detach: bool = False,
    ) -> list[Action]:
        """Undo pause, drain and abort; gives what there was. Aborted runs go on, as with `redo`: the one that is named,
        those that the abort of the workflow, or of all, ended.
        """
        scope = steering.scope_of(self.settings, self._store, run, workflow, everything)
        resumed = steering.resume(self._store, scope, author=user_name(), detach=detach)
        self._drive(resumed.own)
        return resumed.undone

    def disable(self, name: str, job: str, *, reason: str = "no reason given") -> None:
        """Let a job count as skipped when it could start, in all runs of a workflow or in one run."""
        scope = steering.scope_of_job(self.settings, self._store, name, job)
        signals.send(self._store, scope, Action.DISABLE, author=user_name(), reason=reason, job=job)

    def enable(self, name: str, job: str) -> None:
        """Undo `disable`."""
        steering.enable(self._store, name, job)

    def signals(self) -> list[Signal]:
        """What holds runs, workers and jobs: who said so, when and why."""
        return signals.standing(self._store)

    def backfill(
        self,
        workflow: str,
        first: Day,
        last: Day,
        *,
        max_runs: int = 1,
        reverse: bool = False,
        reprocess: str = "none",
        rebuild: bool = False,
        parameters: Mapping[str, Any] | None = None,
        detach: bool = False,
        on_day: Callable[[Backfill, BackfillDay], None] = lambda _backfill, _day: None,
    ) -> Backfill:
        """Run the days of a span to their end; the same call goes on with one that was stopped or killed.

        From the main thread only: it hears SIGINT and SIGTERM. With `detach` the days are left to workers, and it
        returns at once.
        """
        request = BackfillRequest(
            workflow, _day(first), _day(last), max_runs, reverse, _reprocess(reprocess), rebuild, parameters or {}
        )
        definition(self.settings, workflow, request.first, rebuild=rebuild, given=request.parameters)
        begun, _ = backfills.open_backfill(self._store, request, detach=detach)
        if detach:
            push(self.settings)
            return backfills.get_backfill(self._store, begun.number)
        return drive_backfill(self._store, begun.number, on_day)

    def cancel_backfills(self, workflow: str) -> list[int]:
        """Let the running backfills of a workflow start no further day; gives their numbers."""
        return backfills.cancel(self._store, workflow)

    def schedules(self, *, count: int = 1) -> Sequence[ScheduleInfo]:
        """All schedules, each with its next `count` ticks."""
        return schedule_reading.list_schedules(self._store, timetable(self.settings).schedules, count=count)

    def pause_schedule(self, workflow: str) -> bool:
        """Start no more runs by a workflow's schedule; False if it was paused."""
        return self._set_paused(workflow, paused=True)

    def resume_schedule(self, workflow: str) -> bool:
        """Let a workflow's schedule go on from now; False if it was on."""
        return self._set_paused(workflow, paused=False)

    def _send(self, action: Action, whom: tuple[str | None, str | None, bool], reason: str) -> list[str]:
        scope = steering.scope_of(self.settings, self._store, *whom)
        return signals.send(self._store, scope, action, author=user_name(), reason=reason)

    def _repair(self, plans: Sequence[Plan], *, detach: bool) -> list[RunInfo]:
        self._drive(steering.carry_out(self._store, plans, author=user_name(), detach=detach))
        return [self.get_run(plan.run_id) for plan in plans]

    def _drive(self, own: Sequence[str]) -> None:
        if own:
            with start_zygote(self.settings) as zygote:
                for run_id in own:
                    continue_run(self.settings, run_id, zygote)

    def _set_paused(self, workflow: str, *, paused: bool) -> bool:
        return set_paused(self._store, timetable(self.settings).schedules, workflow, paused=paused)


def _day(day: Day) -> date:
    try:
        return date.fromisoformat(day) if isinstance(day, str) else day
    except ValueError as error:
        raise ConfigurationError(f"{day!r} is no day: {error}; write YYYY-MM-DD, such as 2015-05-18") from error


def _reprocess(name: str) -> Reprocess:
    try:
        return Reprocess(name)
    except ValueError:
        raise ConfigurationError(f"reprocess cannot be {name!r}; valid: {', '.join(Reprocess)}") from None
