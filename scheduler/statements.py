"""Every statement of the store, built once, each with a line on what it does; those of every job are prepared, too."""

from functools import lru_cache

import sqlalchemy as sa
from sqlalchemy import bindparam as b

from pinflow.database import server_now, told
from pinflow.prepared import Prepared, is_one_of
from pinflow.scheduler.states import (
    DONE_STATES,
    FINAL_STATES,
    AttemptState,
    JobState,
    RunState,
    job_sources,
    run_sources,
)
from pinflow.scheduler.tables import attempt, dependency, event, fence, job, pool, run, signals, worker, workflow

# Raise the last fence number that was given by `b_count`, at least to `b_least`. A server tells the result,
# SQLite does so from 3.35 on only.
RAISE_FENCE = Prepared(
    sa.update(fence).values(
        last=told(
            sa.case((fence.c.last + b("b_count") > b("b_least"), fence.c.last + b("b_count")), else_=b("b_least"))
        )
    )
)
# The last one, for the transaction that raised it.
LAST_FENCE = Prepared(sa.select(fence.c.last))

# Make or refresh the row of a workflow, of a worker.
DELETE_WORKFLOW = sa.delete(workflow).where(workflow.c.name == b("b_name"))
INSERT_WORKFLOW = sa.insert(workflow)
DELETE_WORKER = sa.delete(worker).where(worker.c.worker == b("b_worker"))
INSERT_WORKER = sa.insert(worker)
# A worker's row.
WORKER = sa.select(worker).where(worker.c.worker == b("b_worker"))

# The newest run of a workflow's day, which nobody else changes until the transaction ends.
LATEST_RUN = (
    sa.select(run)
    .where(run.c.workflow == b("b_workflow"), run.c.date == b("b_date"))
    .order_by(run.c.serial.desc())
    .limit(1)
    .with_for_update()
)
# One run.
RUN = sa.select(run).where(run.c.run_id == b("b_run_id"))
# The same, which nobody else changes until the transaction ends.
LOCK_RUN = RUN.with_for_update()
# Those who are told something about a run.
ABOUT_RUN = sa.or_(
    signals.c.scope == "all",
    sa.and_(signals.c.scope == "workflow", signals.c.name == run.c.workflow),
    sa.and_(signals.c.scope == "run", signals.c.name == run.c.run_id),
)
# The fence of the driver that a running run has, the server's time, how many signals there are for it, and how many
# jobs of its workflow may run; so locked, too.
RUN_FENCE = Prepared(
    sa.select(
        run.c.fence,
        run.c.workflow,
        server_now().label("now"),
        sa.select(sa.func.count()).where(ABOUT_RUN).correlate(run).scalar_subquery().label("signals"),
        sa.select(pool.c.slots)
        .where(pool.c.name == sa.literal("workflow/").concat(run.c.workflow))
        .correlate(run)
        .scalar_subquery()
        .label("cap"),
    )
    .where(run.c.run_id == b("b_run_id"), run.c.state == RunState.RUNNING.value)
    .with_for_update()
)
INSERT_RUN = sa.insert(run)
# Give a run to a (new) driver; a run that has ended runs again.
SEIZE_RUN = (
    sa.update(run)
    .where(
        run.c.run_id == b("b_run_id"),
        run.c.fence == b("b_seen"),
        is_one_of(run.c.state, [RunState.RUNNING.value, *run_sources(RunState.RUNNING)]),
    )
    .values(
        state=RunState.RUNNING.value,
        driver=b("b_driver"),
        fence=b("b_fence"),
        lease_until=b("b_until"),
        finished_at=None,
        reason=None,
        shared=0,
        started_at=b("b_started_at"),
        wait_until=b("b_wait_until"),
        due_at=b("b_due_at"),
        warned_at=b("b_warned_at"),
    )
)
# Let all workers take its jobs.
SHARE_RUN = (
    sa.update(run)
    .where(run.c.run_id == b("b_run_id"), run.c.fence == b("b_fence"), run.c.state == RunState.RUNNING.value)
    .values(shared=1, lease_until=None)
)
# Prolong the driver's lease of a run.
RENEW_RUN = Prepared(
    sa.update(run)
    .where(run.c.run_id == b("b_run_id"), run.c.fence == b("b_fence"), run.c.state == RunState.RUNNING.value)
    .values(lease_until=b("b_until"))
)
# Prolong the leases of attempts and note their processes.
RENEW_ATTEMPT = Prepared(
    sa.update(attempt)
    .where(attempt.c.fence == b("b_fence"), attempt.c.state == "running")
    .values(lease_until=b("b_until"), pid=b("b_pid"))
)


def end_run(target: RunState) -> sa.Update:
    """End a run in the state `target`, if its driver still holds it."""
    return (
        sa.update(run)
        .where(run.c.run_id == b("b_run_id"), run.c.fence == b("b_fence"), is_one_of(run.c.state, run_sources(target)))
        .values(state=target.value, reason=b("b_reason"), finished_at=b("b_now"), lease_until=None)
    )


END_RUN = {state: end_run(state) for state in (RunState.SUCCEEDED, RunState.FAILED, RunState.ABORTED)}

INSERT_JOB = sa.insert(job)
INSERT_DEPENDENCY = sa.insert(dependency)
# An attempt that begins, and an event.
INSERT_ATTEMPT = Prepared(
    sa.insert(attempt).inline(),
    ["fence", "run_id", "job", "attempt", "state", "worker", "lease_until", "started_at", "log"],
)
INSERT_EVENT = Prepared(sa.insert(event).inline(), ["run_id", "job", "attempt", "at", "before", "state", "detail"])

# All jobs of a run, in the order of their declaration.
JOBS = sa.select(job).where(job.c.run_id == b("b_run_id")).order_by(job.c.position)
# How many jobs of a run are in each state.
JOB_COUNTS = sa.select(job.c.state, sa.func.count()).where(job.c.run_id == b("b_run_id")).group_by(job.c.state)
# The jobs of a run that may start now: conditions first, then the longest way to the end, then as declared.
_CLAIMABLE = (
    sa.select(job.c.name, job.c.kind, job.c.attempts, job.c.failures, job.c.pool, job.c.anew, job.c.turn)
    .where(
        job.c.run_id == b("b_run_id"),
        job.c.state == JobState.READY.value,
        sa.or_(job.c.not_before.is_(None), job.c.not_before <= b("b_now")),
    )
    .order_by(job.c.turn)
    .limit(b("b_limit"))
)
CLAIMABLE = Prepared(_CLAIMABLE)
# The same without those of full pools and, if `b_any` is 0, only those of `b_only`.
CLAIMABLE_OF_POOLS = _CLAIMABLE.where(
    sa.or_(job.c.pool.is_(None), job.c.pool.not_in(b("b_full", expanding=True))),
    sa.or_(b("b_any", type_=sa.Integer) == 1, job.c.pool.in_(b("b_only", expanding=True))),
)
# A pool's limit, which nobody else reads to claim until the transaction ends.
LOCK_POOL = sa.select(pool.c.slots).where(pool.c.name == b("b_pool")).with_for_update()
_ACTIVE_JOBS = (
    sa.select(sa.func.count())
    .select_from(run.join(job, job.c.run_id == run.c.run_id))
    .where(run.c.state == RunState.RUNNING.value, job.c.state == JobState.RUNNING.value)
)
# How many jobs of a pool, and of a workflow, run.
ACTIVE_IN_POOL = _ACTIVE_JOBS.where(job.c.pool == b("b_pool"))
ACTIVE_IN_WORKFLOW = _ACTIVE_JOBS.where(run.c.workflow == b("b_workflow"))
# The signals about a run, the strongest first; jobs that are disabled are among them.
SIGNALS_OF = (
    sa.select(signals)
    .where(
        sa.or_(
            signals.c.scope == "all",
            sa.and_(signals.c.scope == "workflow", signals.c.name == b("b_workflow")),
            sa.and_(signals.c.scope == "run", signals.c.name == b("b_run_id")),
        )
    )
    .order_by(signals.c.action, signals.c.scope)
)
# The jobs of a run that may start, now or at the time of their retry.
READY_JOBS = sa.select(job.c.name).where(job.c.run_id == b("b_run_id"), job.c.state == JobState.READY.value)
# A job of a run that has not ended.
OPEN_JOB = Prepared(
    sa.select(job.c.name)
    .where(
        job.c.run_id == b("b_run_id"),
        is_one_of(job.c.state, [s.value for s in JobState if s not in FINAL_STATES]),
    )
    .limit(1)
)
# Whether a run runs under a fence, and has jobs that are ready.
LOOK = sa.select(
    sa.exists().where(job.c.run_id == run.c.run_id, job.c.state == JobState.READY.value).correlate(run).label("ready")
).where(run.c.run_id == b("b_run_id"), run.c.fence == b("b_fence"), run.c.state == RunState.RUNNING.value)
# When the next retry of a run may start.
NEXT_RETRY = Prepared(
    sa.select(sa.func.min(job.c.not_before)).where(job.c.run_id == b("b_run_id"), job.c.state == JobState.READY.value)
)
# The jobs that come directly after a job and still wait, with the number of jobs for which they do.
WAITING_DEPENDENTS = Prepared(
    sa.select(job.c.name, job.c.unmet)
    .select_from(dependency.join(job, sa.and_(job.c.run_id == dependency.c.run_id, job.c.name == dependency.c.job)))
    .where(
        dependency.c.run_id == b("b_run_id"),
        dependency.c.after == b("b_after"),
        job.c.state == JobState.WAITING.value,
    )
)
_ONE_JOB = sa.and_(job.c.run_id == b("b_run_id"), job.c.name == b("b_name"))
# One job.
JOB = sa.select(job).where(_ONE_JOB)


def _wait_for(count: int, unmet: sa.ColumnElement[bool]) -> sa.Update:
    names: list[sa.BindParameter[str]] = [b(f"b_name_{number}") for number in range(count)]
    waiting = job.c.state == JobState.WAITING.value
    return sa.update(job).where(job.c.run_id == b("b_run_id"), job.c.name.in_(names), waiting, unmet)


@lru_cache
def count_down(count: int) -> Prepared:
    """So many jobs, `b_name_0` and on, wait for one job less."""
    return Prepared(_wait_for(count, job.c.unmet > 1).values(unmet=job.c.unmet - 1))


@lru_cache
def unblock(count: int) -> Prepared:
    """The last thing that so many jobs waited for is done."""
    return Prepared(_wait_for(count, job.c.unmet == 1).values(state=JobState.READY.value, unmet=0))


def move_job(target: JobState) -> sa.Update:
    """Move a job from any state that allows it to `target`."""
    return sa.update(job).where(_ONE_JOB, is_one_of(job.c.state, job_sources(target)))


# Something before a job failed.
BLOCK = move_job(JobState.UPSTREAM_FAILED).values(
    state=JobState.UPSTREAM_FAILED.value, reason=b("b_reason"), finished_at=b("b_now")
)
# A claim starts an attempt of a job.
START = {
    target: Prepared(
        move_job(target).values(
            state=target.value,
            fence=b("b_fence"),
            attempts=b("b_attempt"),
            started_at=b("b_now"),
            finished_at=None,
            not_before=None,
            reason=None,
            exit_code=None,
        )
    )
    for target in (JobState.RUNNING, JobState.POLLING)
}
# The claim's attempt ended the job; only the attempt that holds it may say so.
END = {
    target: Prepared(
        move_job(target)
        .where(job.c.fence == b("b_fence"))
        .values(
            state=target.value,
            reason=b("b_reason"),
            exit_code=b("b_exit_code"),
            finished_at=b("b_now"),
            failures=job.c.failures + b("b_failed"),
            not_before=b("b_not_before"),
            **({"anew": 0} if target in DONE_STATES else {}),
        )
    )
    for target in (JobState.SUCCEEDED, JobState.SKIPPED, JobState.FAILED, JobState.ABORTED, JobState.READY)
}
# The attempt's own row.
END_ATTEMPT = Prepared(
    sa.update(attempt)
    .where(attempt.c.fence == b("b_fence"), attempt.c.state == "running")
    .values(
        state=b("b_state"),
        reason=b("b_reason"),
        exit_code=b("b_exit_code"),
        signal=b("b_signal"),
        pid=b("b_pid"),
        finished_at=b("b_now"),
        lease_until=None,
        user_seconds=b("b_user"),
        system_seconds=b("b_system"),
        peak_bytes=b("b_peak"),
        result=b("b_result"),
    )
)
# A condition is not true yet.
POSTPONE = (
    sa.update(job)
    .where(_ONE_JOB, job.c.fence == b("b_fence"), job.c.state == JobState.POLLING.value)
    .values(reason=b("b_reason"), not_before=b("b_not_before"))
)
_CLOSE = (
    sa.update(attempt)
    .where(attempt.c.state == "running")
    .values(state=b("b_state"), reason=b("b_reason"), finished_at=b("b_now"), lease_until=None)
)
# End those of a run: their driver is gone or stops.
CLOSE_ATTEMPTS = _CLOSE.where(attempt.c.run_id == b("b_run_id"))
# One that was held by a worker which is gone.
LOSE_ATTEMPT = _CLOSE.where(attempt.c.fence == b("b_fence"))
# A job's worker died under it.
CRASH = {
    target: move_job(target)
    .where(job.c.fence == b("b_fence"))
    .values(
        state=target.value,
        crashes=b("b_crashes"),
        reason=b("b_reason"),
        not_before=b("b_not_before"),
        finished_at=b("b_finished_at"),
    )
    for target in (JobState.READY, JobState.FAILED)
}
# Somebody counts a job as done; no attempt of it says so.
SKIP = move_job(JobState.SKIPPED).values(
    state=JobState.SKIPPED.value,
    reason=b("b_reason"),
    finished_at=b("b_now"),
    fence=None,
    exit_code=None,
    not_before=None,
)
# Set a job back for a driver that goes on with its run.
REVIVE = {
    target: move_job(target).values(
        state=target.value,
        unmet=b("b_unmet"),
        failures=b("b_failures"),
        reason=None,
        not_before=None,
        exit_code=None,
        finished_at=None,
    )
    for target in (JobState.WAITING, JobState.READY)
}
# Set a job back that somebody wants done again.
AGAIN = {
    target: move_job(target).values(
        state=target.value,
        unmet=b("b_unmet"),
        anew=b("b_anew"),
        failures=0,
        crashes=0,
        reason=None,
        not_before=None,
        exit_code=None,
        finished_at=None,
    )
    for target in (JobState.WAITING, JobState.READY)
}
SET_UNMET = sa.update(job).where(_ONE_JOB).values(unmet=b("b_unmet"))
# Wait for another number of jobs, in the same state.
RECOUNT = sa.update(job).where(_ONE_JOB).values(unmet=b("b_unmet"), failures=b("b_failures"), not_before=None)
# Stop a job that was not ended.
ABORT = move_job(JobState.ABORTED).values(state=JobState.ABORTED.value, reason=b("b_reason"), finished_at=b("b_now"))

# The attempts of a worker's claims that are still its own.
STILL_RUNNING = sa.select(attempt.c.fence).where(
    attempt.c.fence.in_(b("b_fences", expanding=True)), attempt.c.state == "running"
)

# What the attempts of jobs left that did not fail, the newest first.
LEFT_BY_JOBS = (
    sa.select(attempt.c.job, attempt.c.result)
    .where(
        attempt.c.run_id == b("b_run_id"),
        attempt.c.job.in_(b("b_jobs", expanding=True)),
        is_one_of(attempt.c.state, [AttemptState.SUCCEEDED.value, AttemptState.SKIPPED.value]),
        attempt.c.result.is_not(None),
    )
    .order_by(attempt.c.attempt.desc())
)
# Whether a transaction's event is there.
SAME_EVENT = sa.select(event.c.id).where(
    event.c.run_id == b("b_run_id"),
    event.c.at == b("b_at"),
    event.c.state == b("b_state"),
    event.c.job.is_not_distinct_from(b("b_job")),
    event.c.attempt.is_not_distinct_from(b("b_attempt")),
)
# The events of a run after one that is known.
EVENTS = sa.select(event).where(event.c.run_id == b("b_run_id"), event.c.id > b("b_last")).order_by(event.c.id)
