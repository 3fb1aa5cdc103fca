"""Why a job of a run is not running: one sentence for each cause, with what it waits for and until when."""

from collections.abc import Sequence
from dataclasses import dataclass

from pinflow.errors import UnknownNameError
from pinflow.scheduler import ending, reading
from pinflow.scheduler.definition import Definition
from pinflow.scheduler.holding import Cause, limits_of, names, signals_about, slots_of, time_of
from pinflow.scheduler.reading import JobInfo, RunInfo
from pinflow.scheduler.states import ACTIVE_STATES, DONE_STATES, JobState, RunState
from pinflow.scheduler.store import Store


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
    jobs = {each.name: each for each in info.jobs}
    if job not in jobs:
        raise UnknownNameError("job", job, jobs, f"pinflow show {info.run_id}")
    return _explain(store, info, reading.definition_of(store, info.run_id), jobs[job])


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
            since = f" since {time_of(job.started_at)}" if job.started_at else ""
            return [Cause("running", f"it is running{since}, attempt {job.attempts}; {log}")]
        case JobState.READY if job.not_before is not None and job.reason == ending.REASON:
            sentence = f"{why}; it starts again when that has, at {time_of(job.not_before)} at the latest"
            return [Cause("retry", sentence, job.not_before)]
        case JobState.READY if job.not_before is not None:
            sentence = f"its attempt {job.attempts} failed ({why}); the next starts at {time_of(job.not_before)}"
            return [Cause("retry", sentence, job.not_before)]
        case JobState.READY:
            return []
        case JobState.FAILED:
            again = f"pinflow retry {run.run_id} {job.name}"
            return [Cause("failed", f"it failed, attempt {job.attempts}: {why}; {log}", command=again)]
        case JobState.UPSTREAM_FAILED:
            failed = _failed_before(jobs, job, definition)
            sentence = f"it does not run, since {names(failed)} before it failed"
            return [Cause("dependency", sentence, about=failed, command=f"pinflow retry {run.run_id}")]
        case JobState.ABORTED:
            return [Cause("aborted", f"the run was stopped: {why}", command=f"pinflow resume {run.run_id}")]
        case _:
            return [Cause("done", f"it is done{f': {job.reason}' if job.reason else ''}")]


def _waits_for(jobs: dict[str, JobInfo], job: JobInfo, definition: Definition) -> Cause:
    before = [jobs[name] for name in definition.nodes[job.name].after]
    open_ones = [each for each in before if each.state not in DONE_STATES]
    states = [f"{each.name} ({each.state.value})" for each in open_ones]
    return Cause("dependency", f"it waits for {names(states)}", about=[each.name for each in open_ones])


def _polls(job: JobInfo) -> Cause:
    reason = job.reason or "it was not asked yet"
    if job.not_before is None:
        return Cause("condition", f"the condition is being asked for the first time; {reason}")
    return Cause(
        "condition",
        f"the condition is not true yet: {reason}; it is asked again at {time_of(job.not_before)}",
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
    """What holds a job up that has not started, or a run that nobody works on."""
    if job.state is JobState.ABORTED:
        return [cause for cause in signals_about(store, run, job) if cause.kind == "abort"]
    if run.state is not RunState.RUNNING or job.state not in (JobState.WAITING, JobState.READY, *ACTIVE_STATES):
        return []
    if not store.is_driven(run.run_id):
        is_new = run.driver.startswith("schedule@")
        why = "its schedule started it" if is_new else f"its last driver was {run.driver}"
        command = f"pinflow run {run.workflow} --date {run.date}"
        return [Cause("driver", f"nobody works on the run: {why}", command=command)]
    if job.state in ACTIVE_STATES:
        return []
    told = signals_about(store, run, job)
    if told or job.state is not JobState.READY or job.not_before is not None:
        return told
    return limits_of(store, run, job) or [slots_of(store, run, job)]
