"""Attempts that people aborted may run on for a while: their jobs start again when they have ended, not beside them.

The worker of an aborted attempt learns of it within its lease, and has a grace to end it. Until then the attempt's row
keeps the lease; as soon as the worker says that nothing of it runs any more, it has none.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import bindparam as b

from pinflow.errors import PinflowError
from pinflow.scheduler.records import GRACE, Claim
from pinflow.scheduler.statements import LOCK_RUN
from pinflow.scheduler.states import AttemptState, JobState
from pinflow.scheduler.tables import attempt, job

if TYPE_CHECKING:
    from pinflow.scheduler.store import Store
    from pinflow.scheduler.transaction import Transaction

REASON = "its attempt that was aborted may not have ended"
"""Why a job waits that has to start again."""

# End the attempts of a run that people stop, which may run on until their leases have run out.
_ABORT = (
    sa.update(attempt)
    .where(attempt.c.run_id == b("b_run_id"), attempt.c.state == AttemptState.RUNNING.value)
    .values(state=AttemptState.ABORTED.value, reason=b("b_reason"), finished_at=b("b_now"))
)
_OPEN = sa.select(attempt.c.fence, attempt.c.job, attempt.c.lease_until).where(
    attempt.c.state == AttemptState.ABORTED.value, attempt.c.lease_until.is_not(None)
)
_OPEN_OF_RUN = _OPEN.where(attempt.c.run_id == b("b_run_id"), attempt.c.lease_until > b("b_after"))
_OPEN_ONE = _OPEN.where(attempt.c.fence == b("b_fence"))
_END = sa.update(attempt).where(attempt.c.fence == b("b_fence")).values(lease_until=None)
_PENDING_JOB = sa.update(job).where(
    job.c.run_id == b("b_run_id"),
    job.c.name == b("b_name"),
    job.c.state.in_([JobState.WAITING.value, JobState.READY.value]),
)
_HOLD = _PENDING_JOB.values(not_before=b("b_until"), reason=REASON)
_LET_GO = _PENDING_JOB.where(job.c.not_before == b("b_until")).values(not_before=None, reason=None)


def abort_attempts(work: "Transaction", run_id: str, reason: str) -> None:
    """End the attempts of a run, whose processes may live."""
    work.connection.execute(_ABORT, {"b_run_id": run_id, "b_reason": reason, "b_now": work.now})


def hold_back(work: "Transaction", run_id: str) -> None:
    """Let no job that was set back start while its aborted attempt may run on."""
    for row in work.rows(_OPEN_OF_RUN, b_run_id=run_id, b_after=work.now - GRACE):
        work.try_change(_HOLD, b_run_id=run_id, b_name=row.job, b_until=_end_of(row))


def note_ends(store: "Store", claims: Sequence[Claim]) -> None:
    """Say that nothing runs any more of attempts that are not held: those that were aborted may start again at once.

    If that cannot be written they start when they have ended for sure, so no outage is waited for.
    """
    with suppress(PinflowError):
        for claim in claims:
            if store.read(_OPEN_ONE, b_fence=claim.fence):
                store.transact(partial(_note_end, claim=claim), patience=timedelta(0))


def _note_end(work: "Transaction", claim: Claim) -> None:
    work.first(LOCK_RUN, b_run_id=claim.run_id)
    row = work.first(_OPEN_ONE, b_fence=claim.fence)
    if row is not None:
        work.change(_END, b_fence=claim.fence)
        work.try_change(_LET_GO, b_run_id=claim.run_id, b_name=claim.job, b_until=_end_of(row))


def _end_of(row: Any) -> datetime:
    """When an aborted attempt has ended for sure: its worker may be told at the end of the lease."""
    until: datetime = row.lease_until + GRACE
    return until
