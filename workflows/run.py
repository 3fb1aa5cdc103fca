"""Runs a workflow of a day as the command does: with the configured input, places and mail."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pinflow.config import Settings, project_folder
from pinflow.database import open_database
from pinflow.errors import OtherWorkError, PinflowError
from pinflow.scheduler.definition import Definition
from pinflow.scheduler.processes import Place
from pinflow.scheduler.reading import RunInfo, definition_of
from pinflow.scheduler.records import Event, Opened
from pinflow.scheduler.run import RunResult, execute
from pinflow.scheduler.store import Store
from pinflow.stats_engine.channels import channels_of
from pinflow.stats_engine.outbox import deliver
from pinflow.storage import free_bytes
from pinflow.workflows.catalog import definition
from pinflow.workflows.failures import tell_failed_of
from pinflow.workflows.preload import needs_of
from pinflow.workflows.watching import watching
from pinflow.zygote import Zygote

LEAST_FREE_BYTES = 16 << 20


@dataclass(frozen=True)
class Request:
    """What a user asks for."""

    workflow: str
    date: date
    stage: str | None = None
    rebuild: bool = False
    wait: timedelta = timedelta(0)
    parameters: Mapping[str, Any] = field(default_factory=dict)


def run_workflow(
    settings: Settings,
    request: Request,
    zygote: Zygote,
    *,
    on_event: Callable[[Event], None] = lambda _: None,
    on_join: Callable[[RunInfo], None] = lambda _: None,
) -> RunResult:
    """Run the workflow's day to its end, or follow the run of it that is under way.

    Its jobs are forked from `zygote`, which `preload.start_zygote` starts while this module is still imported. With
    `wait`, missing input is waited for; when that time is over without it, its owner gets a mail.
    """
    prepare_home(settings)
    channels_of(settings)  # one that cannot be used is told before the run, not after it
    check_room(settings.warehouse_url, "--warehouse")
    check_room(settings.serving_url, "--serving")
    defined = define_request(settings, request)
    with Store(open_database(settings.database_url)) as store:
        place = place_of(settings, wait=request.wait)
        with watching(settings):
            result = execute(store, defined, zygote, place, on_event=on_event, on_join=on_join)
        _tell(settings, store, request, result)
    return result


def submit_workflow(settings: Settings, request: Request) -> Opened:
    """Put the workflow's day into the database, for workers to run; a run of it that is under way is joined.

    Raises `OtherWorkError` when that run does other work.
    """
    prepare_home(settings)
    defined = define_request(settings, request)
    with Store(open_database(settings.database_url)) as store:
        opened = store.submit(defined, wait=request.wait)
    if opened.digest != defined.digest:
        raise OtherWorkError(opened.run_id)
    return opened


def continue_run(
    settings: Settings,
    run_id: str,
    zygote: Zygote,
    *,
    on_event: Callable[[Event], None] = lambda _: None,
    on_join: Callable[[RunInfo], None] = lambda _: None,
) -> RunResult:
    """Drive a run that was retried, redone or resumed to its end, as it was defined when it began."""
    prepare_home(settings)
    with Store(open_database(settings.database_url)) as store:
        defined = definition_of(store, run_id)
        place = place_of(settings)
        with watching(settings):
            result = execute(store, defined, zygote, place, on_event=on_event, on_join=on_join, run_id=run_id)
        post(settings, store)
    return result


def post(settings: Settings, store: Store) -> None:
    """Send the mails that wait, as far as the mail server takes them."""
    engine = store.engine.execution_options(writes=True)
    deliver(engine, channels_of(settings), datetime.now(UTC))


def place_of(settings: Settings, *, slots: int = 0, wait: timedelta = timedelta(0)) -> Place:
    """Where and how the jobs of this configuration run; `slots` 0: as many as it says."""
    logs = settings.logs_path
    return Place(
        logs=logs,
        slots=slots or settings.slot_count,
        wait=wait,
        environment=job_environment(),
        needs=needs_of(settings),
    )


def define_request(settings: Settings, request: Request) -> Definition:
    """What a request asks for, frozen."""
    return definition(
        settings,
        request.workflow,
        request.date,
        stage=request.stage,
        rebuild=request.rebuild,
        given=request.parameters,
    )


def job_environment() -> dict[str, str]:
    """The environment of jobs: this process's, and modules beside pinflow.toml can be imported."""
    folders = [*filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), str(project_folder())]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(folders))}


def prepare_home(settings: Settings) -> None:
    """Make the folder of all embedded state. Raises `PinflowError` when it cannot be, or has no room left."""
    home = settings.home_path
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"cannot make the folder {home}: {error.strerror}; choose another with --home DIR"
        raise PinflowError(reason) from error
    check_room(str(home), "--home")


def check_room(place: str, option: str) -> None:
    """Raise `PinflowError` when a place of this machine has too little room left for a run; `option` names another."""
    free = free_bytes(place)
    if free is not None and free < LEAST_FREE_BYTES:
        raise PinflowError(
            f"the disk of {place} is full: {free >> 20} MB are left, at least {LEAST_FREE_BYTES >> 20} MB are needed; "
            f"make room with `pinflow clean` or choose another place with {option}"
        )


def _tell(settings: Settings, store: Store, request: Request, result: RunResult) -> None:
    """Mail the owner of what failed, or was waited for in vain, and whatever mail could not be sent before."""
    if result.driven:
        tell_failed_of(settings, store, result.run.run_id, request.wait, datetime.now(UTC))
    post(settings, store)
