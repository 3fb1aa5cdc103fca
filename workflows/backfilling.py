"""Works on a backfill: lanes, each a process with a zygote of its own that runs one day after the other.

The lanes take their days from the store, so that none is run twice and a killed backfill goes on. A lane whose standard
input has ended finishes the day it works on and stops: so it does when the command that started it was killed.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date

from pinflow import config
from pinflow.config import Settings
from pinflow.database import open_database
from pinflow.errors import ConfigurationError, ExitCode, OtherWorkError, PinflowError
from pinflow.scheduler import identity
from pinflow.scheduler.backfills import (
    OPEN_STATES,
    Backfill,
    BackfillDay,
    end_day,
    get_backfill,
    hand_over,
    take_day,
    work_for_workers,
)
from pinflow.scheduler.states import RunState
from pinflow.scheduler.store import Store
from pinflow.workflows.preload import start_zygote
from pinflow.workflows.run import Request, run_workflow, submit_workflow
from pinflow.zygote import Zygote

_LOOK_SECONDS = 0.25


def drive_backfill(
    store: Store, number: int, on_day: Callable[[Backfill, BackfillDay], None], *, lanes: int | None = None
) -> Backfill:
    """Work on a backfill until its last day has ended, or SIGINT or SIGTERM asks to stop; gives how it stands then.

    `on_day` gets each day whose state has changed. When asked to stop, the runs that lanes work on are aborted, and
    their days given back: the same backfill goes on with them.
    """
    found = get_backfill(store, number)
    count = min(lanes or found.request.max_runs, max(1, found.count(*OPEN_STATES)))
    with _Lanes(number, count if found.state == "running" else 0) as running:
        seen: dict[object, str] = {}
        while True:
            found = get_backfill(store, number)
            for day in found.days:
                if seen.get(day.date, "waiting") != day.state:
                    on_day(found, day)
                seen[day.date] = day.state
            if not running.are_alive():
                return get_backfill(store, number)
            time.sleep(_LOOK_SECONDS)


def work_on(settings: Settings, number: int) -> int:
    """One lane: run days of a backfill until there are no more, or standard input ends."""
    with start_zygote(settings) as zygote, Store(open_database(settings.database_url)) as store:
        while not _is_asked_to_stop():
            taken = take_day(store, number, identity.process_id())
            if taken is not None:
                _run_day(settings, store, zygote, number, taken)
            elif not _may_come_more(store, number):
                break
            else:
                time.sleep(_LOOK_SECONDS)
    return ExitCode.SUCCEEDED


def push(settings: Settings) -> None:
    """Put as many days of detached backfills into the database, for workers to run, as may run at once.

    A day that cannot be made now is given back, one of broken code has failed; the other backfills go on. A day of
    which a run of other work is under way waits for the end of that, the days after it do not.
    """
    with Store(open_database(settings.database_url)) as store:
        for number in work_for_workers(store):
            tried: set[date] = set()
            while (taken := take_day(store, number, identity.process_id(), leave_out=tried)) is not None:
                tried.add(taken.date)
                if not _push_day(settings, store, number, taken):
                    break


def _push_day(settings: Settings, store: Store, number: int, taken: BackfillDay) -> bool:
    """Give a day to workers; False if it was given back, and those after it would be, too."""
    wanted = get_backfill(store, number).request
    request = Request(wanted.workflow, taken.date, rebuild=wanted.rebuild, parameters=wanted.parameters)
    try:
        opened = submit_workflow(settings, request)
    except (Exception, SystemExit) as error:
        state = _end_without_run(store, number, wanted.workflow, taken, error)
        return state == "failed" or isinstance(error, OtherWorkError)
    hand_over(store, number, taken.date, opened.run_id)
    return True


def _end_without_run(store: Store, number: int, workflow: str, taken: BackfillDay, error: BaseException) -> str:
    """Say why a day could not be run, which may be the code of whoever declared the workflow; gives its state."""
    is_ours = isinstance(error, PinflowError)
    reason = str(error) if is_ours else f"{type(error).__name__}: {error}"
    sys.stderr.write(f"backfill {number}: {workflow} {taken.date}: {reason}\n")
    state = "waiting" if is_ours and not isinstance(error, ConfigurationError) else "failed"
    end_day(store, number, taken.date, state, taken.run_id, driver=identity.process_id())
    return state


def push_anew(settings: Settings) -> None:
    """The same, if there is something to do, in a process that imports the workflows as they are now."""
    with Store(open_database(settings.database_url)) as store:
        found = work_for_workers(store)
    if found:
        subprocess.run([sys.executable, "-m", "pinflow.workflows.backfilling", "push"], check=False)


def _run_day(settings: Settings, store: Store, zygote: Zygote, number: int, taken: BackfillDay) -> None:
    wanted = get_backfill(store, number).request
    share = settings.model_copy(update={"slots": max(1, settings.slot_count // wanted.max_runs)})
    request = Request(wanted.workflow, taken.date, rebuild=wanted.rebuild, parameters=wanted.parameters)
    try:
        result = run_workflow(share, request, zygote)
    except (Exception, SystemExit) as error:
        if _end_without_run(store, number, wanted.workflow, taken, error) == "waiting":
            sys.exit(ExitCode.FAILED)  # so it would be with the next day
        return
    state = "succeeded" if result.run.state is RunState.SUCCEEDED else "failed"
    if result.run.state is RunState.ABORTED and _is_asked_to_stop():
        state = "waiting"
    end_day(store, number, taken.date, state, result.run.run_id, driver=identity.process_id())


def _may_come_more(store: Store, number: int) -> bool:
    """Whether there may be a day later: another lane that works on one may give it back or die."""
    found = get_backfill(store, number)
    return found.state == "running" and found.count(*OPEN_STATES) > 0


def _is_asked_to_stop() -> bool:
    readable, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(readable) and not os.read(sys.stdin.fileno(), 1)


class _Lanes:
    """The processes of a backfill, which hear of SIGINT and SIGTERM by this one alone; the second kills them."""

    def __init__(self, number: int, count: int) -> None:
        command = [sys.executable, "-m", "pinflow.workflows.backfilling", str(number)]
        self._command = command
        self._count = count
        self._stopping = 0
        self._lanes: Sequence[subprocess.Popen[bytes]] = ()

    def __enter__(self) -> "_Lanes":
        self._before = {n: signal.signal(n, self._stop) for n in (signal.SIGINT, signal.SIGTERM)}
        self._lanes = [
            subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
            for _ in range(self._count)
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for lane in self._lanes:
            self._close(lane)
        for lane in self._lanes:
            lane.wait()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def are_alive(self) -> bool:
        """Whether one of them still works."""
        return any(lane.poll() is None for lane in self._lanes)

    def _stop(self, *_: object) -> None:
        self._stopping += 1
        for lane in self._lanes:
            self._close(lane)
            with suppress(ProcessLookupError):
                lane.send_signal(signal.SIGTERM if self._stopping == 1 else signal.SIGKILL)

    @staticmethod
    def _close(lane: "subprocess.Popen[bytes]") -> None:
        if lane.stdin is not None:
            lane.stdin.close()


def main() -> None:
    """The process of a lane, or with `push` one that gives workers what they can begin."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # until a run takes it; standard input says the same
    try:
        if sys.argv[1] == "push":
            push(config.load())
        else:
            sys.exit(work_on(config.load(), int(sys.argv[1])))
    except PinflowError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
