"""The statements about shared runs, workers that stay, signals and limits, each with a line on what it does."""

import sqlalchemy as sa
from sqlalchemy import bindparam as b

from pinflow.prepared import is_one_of
from pinflow.scheduler.statements import ABOUT_RUN
from pinflow.scheduler.states import ACTIVE_STATES, FINAL_STATES, JobState, RunState
from pinflow.scheduler.tables import attempt, job, pool, run, signals, worker

# The shared runs of which jobs may start, those of which the fewest run first; runs that are held are left out.
SHARED_RUNS = (
    sa.select(
        run.c.run_id,
        run.c.fence,
        run.c.started_at,
        run.c.wait_until,
        sa.select(sa.func.count())
        .where(job.c.run_id == run.c.run_id, job.c.state == JobState.RUNNING.value)
        .correlate(run)
        .scalar_subquery()
        .label("active"),
    )
    .where(
        run.c.state == RunState.RUNNING.value,
        run.c.shared == 1,
        sa.exists()
        .where(
            job.c.run_id == run.c.run_id,
            job.c.state == JobState.READY.value,
            sa.or_(job.c.not_before.is_(None), job.c.not_before <= b("b_now")),
        )
        .correlate(run),
        ~sa.exists().where(ABOUT_RUN, is_one_of(signals.c.action, ["abort", "drain", "pause"])).correlate(run),
    )
    .order_by(sa.literal_column("active"), run.c.created_at)
)
_OPEN_CLAIMS = (
    sa.select(attempt.c.fence, attempt.c.run_id, attempt.c.job, attempt.c.worker, attempt.c.lease_until)
    .select_from(run.join(job, job.c.run_id == run.c.run_id).join(attempt, attempt.c.fence == job.c.fence))
    .where(
        run.c.state == RunState.RUNNING.value,
        run.c.shared == 1,
        is_one_of(job.c.state, sorted(ACTIVE_STATES)),
        attempt.c.state == "running",
    )
)
# The attempts of shared runs that somebody works on; one of them.
OPEN_CLAIMS = _OPEN_CLAIMS.order_by(attempt.c.fence)
OPEN_CLAIM = _OPEN_CLAIMS.where(attempt.c.fence == b("b_fence"))
# The runs that a command drives, or whose driver is gone.
DRIVEN_RUNS = sa.select(run.c.run_id, run.c.driver, run.c.fence, run.c.lease_until).where(
    run.c.state == RunState.RUNNING.value, run.c.shared == 0
)
# The shared runs all of whose jobs have ended.
DONE_RUNS = sa.select(run.c.run_id).where(
    run.c.state == RunState.RUNNING.value,
    run.c.shared == 1,
    ~sa.exists()
    .where(job.c.run_id == run.c.run_id, is_one_of(job.c.state, sorted(set(JobState) - FINAL_STATES)))
    .correlate(run),
)
# Forget workers that have not said so for long.
FORGET_WORKERS = sa.delete(worker).where(worker.c.lease_until < b("b_before"))
# All signals; those of one scope; set and take back one.
SIGNALS = sa.select(signals).order_by(signals.c.scope, signals.c.name, signals.c.action, signals.c.job)
SIGNALS_AT = sa.select(signals).where(
    signals.c.scope == b("b_scope"), signals.c.name == b("b_name"), signals.c.job == b("b_job")
)
INSERT_SIGNAL = sa.insert(signals)
DELETE_SIGNAL = sa.delete(signals).where(
    signals.c.scope == b("b_scope"),
    signals.c.name == b("b_name"),
    signals.c.job == b("b_job"),
    signals.c.action == b("b_action"),
)
# The runs of a workflow for days after one, the last of each day at its end.
RUNS_AFTER = (
    sa.select(run.c.run_id, run.c.date)
    .where(run.c.workflow == b("b_workflow"), run.c.date > b("b_date"))
    .order_by(run.c.date, run.c.serial)
)
# The runs that run.
RUNNING_RUNS = sa.select(run.c.run_id, run.c.workflow).where(run.c.state == RunState.RUNNING.value)
# The runs that were aborted since a time, and are so still.
ABORTED_RUNS = (
    sa.select(run.c.run_id, run.c.reason)
    .where(run.c.state == RunState.ABORTED.value, run.c.finished_at >= b("b_since"))
    .order_by(run.c.created_at, run.c.run_id)
)
# Pools and the limits of workflows; set and remove one.
POOLS = sa.select(pool).order_by(pool.c.name)
INSERT_POOL = sa.insert(pool)
DELETE_POOL = sa.delete(pool).where(pool.c.name == b("b_name"))
# Say that a worker stays; the workers that stay.
RENEW_WORKER = sa.update(worker).where(worker.c.worker == b("b_worker")).values(lease_until=b("b_until"))
POSTS = sa.select(worker).where(worker.c.lease_until.is_not(None)).order_by(worker.c.started_at, worker.c.worker)
# Whether a worker is asked to exit: those of a lower generation are.
EXIT_OF = sa.select(signals.c.generation).where(
    signals.c.action == "exit",
    signals.c.generation > sa.select(worker.c.generation).where(worker.c.worker == b("b_worker")).scalar_subquery(),
)
