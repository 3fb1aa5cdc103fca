"""Pinflow from Python: run a workflow, backfill it, look at runs, and steer its schedule, as the commands do.

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
from pinflow.scheduler import backfills, explaining, reading, schedule_reading
from pinflow.scheduler.backfills import Backfill, BackfillDay, BackfillRequest, Reprocess
from pinflow.scheduler.explaining import Explanation
from pinflow.scheduler.reading import RunInfo
from pinflow.scheduler.records import Event
from pinflow.scheduler.schedule_reading import ScheduleInfo
from pinflow.scheduler.store import Store
from pinflow.workflows.backfilling import drive_backfill
from pinflow.workflows.catalog import Catalog, catalog, definition, timetable
from pinflow.workflows.preload import start_zygote
from pinflow.workflows.run import Request, prepare_home, run_workflow
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
        with start_zygote(self.settings) as zygote:
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
        on_day: Callable[[Backfill, BackfillDay], None] = lambda _backfill, _day: None,
    ) -> Backfill:
        """Run the days of a span to their end; the same call goes on with one that was stopped or killed.

        From the main thread only: it hears SIGINT and SIGTERM.
        """
        request = BackfillRequest(
            workflow, _day(first), _day(last), max_runs, reverse, Reprocess(reprocess), rebuild, parameters or {}
        )
        definition(self.settings, workflow, request.first, rebuild=rebuild, given=request.parameters)
        begun, _ = backfills.open_backfill(self._store, request)
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

    def _set_paused(self, workflow: str, *, paused: bool) -> bool:
        return set_paused(self._store, timetable(self.settings).schedules, workflow, paused=paused)


def _day(day: Day) -> date:
    return date.fromisoformat(day) if isinstance(day, str) else day
