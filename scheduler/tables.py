"""The scheduler's tables, meant to be read by people with an SQL prompt.

Times are UTC. `job` has the present state; `attempt` and `event` are its history, never changed once ended.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Integer, MetaData, String

from pinflow.database import LongText, Real, UtcDateTime
from pinflow.scheduler.states import AttemptState, JobState, RunState

metadata = MetaData()


def _table(name: str, *items: Any) -> sa.Table:
    return sa.Table(name, metadata, *items)


def _state(kind: type[AttemptState] | type[JobState] | type[RunState], table: str) -> list[Any]:
    names = ", ".join(f"'{state.value}'" for state in kind)
    return [
        Column("state", String(16), nullable=False),
        sa.CheckConstraint(f"state IN ({names})", name=f"{table}_state"),
    ]


workflow = _table(
    "workflow",
    Column("name", String(100), primary_key=True),
    Column("owner", String(255), nullable=False),
    Column("description", LongText, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("last_run_id", String(128), nullable=False),
)

run = _table(
    "run",
    Column("run_id", String(128), primary_key=True),
    Column("workflow", String(100), nullable=False),
    Column("date", String(10), nullable=False),
    Column("serial", Integer, nullable=False),
    *_state(RunState, "run"),
    Column("reason", LongText),
    Column("driver", String(128), nullable=False),
    Column("fence", sa.BigInteger, nullable=False),
    Column("lease_until", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime, nullable=False, doc="when it began, or went on after it had ended"),
    Column("finished_at", UtcDateTime),
    Column("parameters", LongText, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("definition", LongText, nullable=False),
    Column("shared", Integer, nullable=False, server_default="0", doc="1: any worker takes its jobs, it has no driver"),
    Column("wait_until", UtcDateTime, doc="how long its conditions may stay untrue"),
    Column("due_at", UtcDateTime, doc="its deadline"),
    Column("warned_at", UtcDateTime, doc="when its owner was told that it will miss it"),
    sa.UniqueConstraint("workflow", "date", "serial"),
    sa.Index("run_created", "created_at"),
    sa.Index("run_state", "state", "shared"),
)

job = _table(
    "job",
    Column("run_id", String(128), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("stage", String(100), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("owner", String(255), nullable=False),
    Column("position", Integer, nullable=False),
    Column("priority", Integer, nullable=False),
    *_state(JobState, "job"),
    Column("reason", LongText),
    Column("exit_code", Integer),
    Column("unmet", Integer, nullable=False, doc="how many of the jobs before it are not done, while it waits"),
    Column("attempts", Integer, nullable=False),
    Column("failures", Integer, nullable=False, doc="attempts that count towards the retries"),
    Column("fence", sa.BigInteger, doc="of the last attempt; NULL: there was none, or the job was skipped without one"),
    Column("not_before", UtcDateTime, doc="of a retry or of the next poll"),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("turn", sa.BigInteger, nullable=False, server_default="0", doc="the lowest that is ready is claimed first"),
    Column("pool", String(100), doc="what it shares with the jobs of all runs"),
    Column("crashes", Integer, nullable=False, server_default="0", doc="how often its worker died under it"),
    Column("anew", Integer, nullable=False, server_default="0", doc="1: do it also when its result is there"),
    Column("expected_seconds", Real, doc="how long it took in the runs before; NULL: it has never succeeded"),
    Column("warn_seconds", Real, doc="how long an attempt may run before its owner is told"),
    Column("warned_at", UtcDateTime, doc="when its owner was told that it runs for long"),
    sa.Index("job_claim", "run_id", "state", "turn"),
)

dependency = _table(
    "dependency",
    Column("run_id", String(128), primary_key=True),
    Column("after", String(100), primary_key=True),
    Column("job", String(100), primary_key=True),
)

attempt = _table(
    "attempt",
    Column("fence", sa.BigInteger, primary_key=True, autoincrement=False),
    Column("run_id", String(128), nullable=False),
    Column("job", String(100), nullable=False),
    Column("attempt", Integer, nullable=False),
    *_state(AttemptState, "attempt"),
    Column("reason", LongText),
    Column("exit_code", Integer),
    Column("signal", Integer),
    Column("worker", String(128), nullable=False),
    Column("pid", Integer),
    Column("lease_until", UtcDateTime, doc="once aborted, until nothing of it is known to run any more"),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("user_seconds", Real),
    Column("system_seconds", Real),
    Column("peak_bytes", sa.BigInteger),
    Column("log", String(255), nullable=False, doc="below the folder of logs"),
    Column("result", LongText, doc="JSON that the job left"),
    sa.Index("attempt_job", "run_id", "job", "attempt", unique=True),
)

event = _table(
    "event",
    Column("id", sa.BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("run_id", String(128), nullable=False),
    Column("job", String(100)),
    Column("attempt", Integer),
    Column("at", UtcDateTime, nullable=False),
    Column("before", String(16)),
    Column("state", String(16), nullable=False),
    Column("detail", LongText),
    sa.Index("event_run", "run_id", "id"),
)

worker = _table(
    "worker",
    Column("worker", String(128), primary_key=True),
    Column("zygote", String(128), doc="the process that forks its jobs"),
    Column("slots", Integer, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("generation", Integer, nullable=False, server_default="0"),
    Column("pools", LongText, doc="JSON list of the pools that it serves; NULL: all jobs"),
    Column("lease_until", UtcDateTime, doc="NULL: a command that drives one run, or works on a backfill"),
)

signals = _table(
    "signals",
    Column("scope", String(16), primary_key=True),
    Column("name", String(128), primary_key=True, doc="of the workflow or run; empty: of all"),
    Column("action", String(16), primary_key=True),
    Column("job", String(100), primary_key=True, doc="of a disabled job; else empty"),
    Column("generation", Integer, doc="exit: workers of a lower one"),
    Column("reason", LongText, nullable=False),
    Column("author", String(255), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    sa.CheckConstraint("scope IN ('all', 'workflow', 'run')", name="signals_scope"),
    sa.CheckConstraint("action IN ('pause', 'drain', 'abort', 'disable', 'exit')", name="signals_action"),
)

pool = _table(
    "pool",
    Column("name", String(100), primary_key=True),
    Column("slots", Integer, nullable=False, doc="how many of its jobs may run at once"),
)

fence = _table(
    "fence",
    Column("name", String(16), primary_key=True),
    Column("last", sa.BigInteger, nullable=False, doc="the highest number that was given"),
)
