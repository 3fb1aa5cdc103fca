"""Why a job of a run is not running: one sentence for each cause, with what it waits for and until when."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pinflow.database import fetch
from pinflow.errors import UnknownNameError
from pinflow.scheduler import reading, tables
from pinflow.scheduler.definition import Definition
from pinflow.scheduler.reading import JobInfo, RunInfo
from pinflow.scheduler.states import DONE_STATES, JobState, RunState
from pinflow.scheduler.store import Store

_NAMED_AT_MOST = 5


@dataclass(frozen=True)
class Cause:
    """One cause: its kind, a sentence, the time until which it holds if that is known, and what else it is about."""

    kind: str
    sentence: str
    until: datetime | None = None
    about: Sequence[str] = ()


@dataclass(frozen=True)
class Explanation:
    """Where a job stands and why."""

    run_id: str
    job: str
    state: JobState
    causes: Sequence[Cause]


def explain(store: Store, run: str, job: str) -> Explanation:
    """Why a job of a run is not running; raises `UnknownNameError` for a run or job that is not there."""
    info = reading.get_run(store, run)
    names = [each.name for each in info.jobs]
    if job not in names:
        raise UnknownNameError("job", job, names, f"pinflow show {info.run_id}")
    return _explain(store, info, reading.definition_of(store, info.run_id), info.jobs[names.index(job)])


def explain_all(store: Store, run: str) -> list[Explanation]:
    """The same for all jobs of a run that are not done."""
    info = reading.get_run(store, run)
    definition = reading.definition_of(store, info.run_id)
    return [_explain(store, info, definition, job) for job in info.jobs if job.state not in DONE_STATES]


def _explain(store: Store, run: RunInfo, definition: Definition, job: JobInfo) -> Explanation:
    jobs = {each.name: each for each in run.jobs}
    causes = [*_of_job(run, jobs, job, definition), *_of_run(store, run, job)]
    return Explanation(run.run_id, job.name, job.state, causes)


def _of_job(run: RunInfo, jobs: dict[str, JobInfo], job: JobInfo, definition: Definition) -> list[Cause]:
    log = f"see: pinflow logs {run.run_id} {job.name}"
    why = job.reason or "no reason given"
    match job.state:
        case JobState.WAITING:
            return [_waits_for(jobs, job, definition)]
        case JobState.POLLING:
            return [_polls(job)]
        case JobState.RUNNING:
            since = f" since {_time(job.started_at)}" if job.started_at else ""
            return [Cause("running", f"it is running{since}, attempt {job.attempts}; {log}")]
        case JobState.READY if job.not_before is not None:
            sentence = f"its attempt {job.attempts} failed ({why}); the next starts at {_time(job.not_before)}"
            return [Cause("retry", sentence, job.not_before)]
        case JobState.READY:
            return []
        case JobState.FAILED:
            return [Cause("failed", f"it failed, attempt {job.attempts}: {why}; {log}")]
        case JobState.UPSTREAM_FAILED:
            failed = _failed_before(jobs, job, definition)
            return [Cause("dependency", f"it does not run, since {_names(failed)} before it failed", about=failed)]
        case JobState.ABORTED:
            return [Cause("aborted", f"the run was stopped: {why}")]
        case _:
            return [Cause("done", f"it is done{f': {job.reason}' if job.reason else ''}")]


def _waits_for(jobs: dict[str, JobInfo], job: JobInfo, definition: Definition) -> Cause:
    before = [jobs[name] for name in definition.nodes[job.name].after]
    open_ones = [each for each in before if each.state not in DONE_STATES]
    states = [f"{each.name} ({each.state.value})" for each in open_ones]
    return Cause("dependency", f"it waits for {_names(states)}", about=[each.name for each in open_ones])


def _polls(job: JobInfo) -> Cause:
    reason = job.reason or "it was not asked yet"
    if job.not_before is None:
        return Cause("condition", f"the condition is being asked for the first time; {reason}")
    return Cause(
        "condition",
        f"the condition is not true yet: {reason}; it is asked again at {_time(job.not_before)}",
        job.not_before,
    )


def _failed_before(jobs: dict[str, JobInfo], job: JobInfo, definition: Definition) -> list[str]:
    """The jobs that failed themselves, before a job that was stopped by them."""
    found: dict[str, None] = {}
    queue, seen = [job.name], {job.name}
    while queue:
        for name in definition.nodes[queue.pop()].after:
            if jobs[name].state is JobState.FAILED:
                found[name] = None
            elif name not in seen:
                queue.append(name)
            seen.add(name)
    return list(found)


def _of_run(store: Store, run: RunInfo, job: JobInfo) -> list[Cause]:
    """What holds a job up that could start, or a run that nobody works on."""
    if (
        run.state is not RunState.RUNNING
        or job.state in DONE_STATES
        or job.state in (JobState.FAILED, JobState.UPSTREAM_FAILED)
    ):
        return []
    if not store.is_driven(run.run_id):
        again = f"pinflow run {run.workflow} --date {run.date}"
        is_new = run.driver.startswith("schedule@")
        why = "its schedule started it" if is_new else f"its last driver was {run.driver}"
        return [Cause("driver", f"nobody works on the run: {why}; go on with: {again}")]
    if job.state is not JobState.READY or job.not_before is not None:
        return []
    return [_slots(store, run)]


def _slots(store: Store, run: RunInfo) -> Cause:
    row = fetch(store.engine, tables.worker.select().where(tables.worker.c.worker == run.driver))
    running = [job.name for job in run.jobs if job.state is JobState.RUNNING]
    slots = f"all {row[0].slots} slots" if row else "the slots"
    if not running:
        return Cause("slots", "it can start at once: its driver is about to claim it")
    return Cause(
        "slots",
        f"it is ready and waits for a slot: {slots} of {run.driver} are taken, by {_names(running)}",
        about=running,
    )


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED_AT_MOST])
    return f"{shown} and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else shown


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
