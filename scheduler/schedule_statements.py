"""Every statement about schedules and their ticks, built once, each with a line on what it does."""

import sqlalchemy as sa
from sqlalchemy import bindparam as b

from pinflow.scheduler.schedule_tables import schedule, tick
from pinflow.scheduler.states import RunState
from pinflow.scheduler.tables import run

# All schedules.
SCHEDULES = sa.select(schedule).order_by(schedule.c.workflow)
# A schedule that nobody else changes until the transaction ends.
LOCK_SCHEDULE = sa.select(schedule).where(schedule.c.workflow == b("b_workflow")).with_for_update()
# The schedules that a scheduler has to look at.
DUE = sa.select(schedule.c.workflow).where(schedule.c.wake_at <= b("b_now")).order_by(schedule.c.wake_at)
INSERT_SCHEDULE = sa.insert(schedule)
# Change what a schedule is, and from when it counts.
CHANGE_SCHEDULE = (
    sa.update(schedule)
    .where(schedule.c.workflow == b("b_workflow"))
    .values(
        declared=b("b_declared"),
        paused=b("b_paused"),
        handled_until=b("b_handled_until"),
        next_at=b("b_next_at"),
        wake_at=b("b_wake_at"),
        error=None,
        changed_at=b("b_now"),
    )
)
# The ticks up to a moment are taken.
ADVANCE = (
    sa.update(schedule)
    .where(schedule.c.workflow == b("b_workflow"))
    .values(handled_until=b("b_handled_until"), next_at=b("b_next_at"))
)
# When a scheduler looks at it next, and what is wrong.
WAKE = sa.update(schedule).where(schedule.c.workflow == b("b_workflow")).values(wake_at=b("b_at"), error=b("b_error"))

INSERT_TICK = sa.insert(tick)
# The ticks that wait, the oldest first.
WAITING_TICKS = (
    sa.select(tick.c.at, tick.c.reason)
    .where(tick.c.workflow == b("b_workflow"), tick.c.state == "waiting")
    .order_by(tick.c.at)
)
# Say what became of a tick that waits.
MOVE_TICK = (
    sa.update(tick)
    .where(tick.c.workflow == b("b_workflow"), tick.c.at == b("b_at"), tick.c.state == "waiting")
    .values(state=b("b_state"), run_id=b("b_run_id"), reason=b("b_reason"), changed_at=b("b_now"))
)
# The running runs that ticks started.
RUNNING_RUNS = (
    sa.select(run.c.run_id)
    .join(tick, sa.and_(tick.c.workflow == run.c.workflow, tick.c.run_id == run.c.run_id))
    .where(run.c.workflow == b("b_workflow"), run.c.state == RunState.RUNNING.value)
    .distinct()
    .order_by(run.c.run_id)
)
# The day of the run of the tick before.
DAY_BEFORE = (
    sa.select(run.c.date)
    .join(tick, tick.c.run_id == run.c.run_id)
    .where(tick.c.workflow == b("b_workflow"), tick.c.at < b("b_at"))
    .order_by(tick.c.at.desc())
    .limit(1)
)
# The newest run of a workflow's day.
NEWEST_RUN = (
    sa.select(run.c.run_id, run.c.state)
    .where(run.c.workflow == b("b_workflow"), run.c.date == b("b_date"))
    .order_by(run.c.serial.desc())
    .limit(1)
)
# The last ticks of a schedule, the newest first.
LAST_TICKS = sa.select(tick).where(tick.c.workflow == b("b_workflow")).order_by(tick.c.at.desc()).limit(b("b_limit"))
# How many ticks of each schedule wait.
WAITING_COUNTS = (
    sa.select(tick.c.workflow, sa.func.count().label("waiting"))
    .where(tick.c.state == "waiting")
    .group_by(tick.c.workflow)
)
# How long the conditions of a run may stay untrue, whoever drives it.
WAIT_UNTIL = sa.update(run).where(run.c.run_id == b("b_run_id")).values(wait_until=b("b_until"))
