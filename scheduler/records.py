"""The values that pass between store, worker and the one who watches."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from pinflow.scheduler.definition import Definition
from pinflow.scheduler.states import AttemptState, JobState

GRACE = timedelta(seconds=10)
"""Between SIGTERM and SIGKILL of an attempt that is ended."""


class Lease(NamedTuple):
    """The right to drive a run, until another takes it over; every write shows it."""

    run_id: str
    worker: str
    fence: int


class Held(NamedTuple):
    """A run of which a process holds claims; `started` in seconds of its monotonic clock, `wait` from then on."""

    lease: Lease
    definition: Definition
    started: float
    wait: timedelta


class Opened(NamedTuple):
    """What `Store.open_run` found: with a lease the caller drives the run, without it another does."""

    run_id: str
    created: bool
    lease: Lease | None
    digest: str
    previous: str | None = None
    """The dead or frozen driver whose run this was; None if it let go of the run itself."""


class Look(NamedTuple):
    """Whether a run is still held under a lease, and has jobs that are ready."""

    held: bool
    ready: bool


@dataclass(frozen=True)
class Claim:
    """One attempt of a job, held by a worker. `fence` is higher than that of every claim before it."""

    run_id: str
    job: str
    attempt: int
    fence: int
    failures: int
    is_condition: bool = False
    anew: bool = False

    @property
    def log(self) -> str:
        """The attempt's log, below the folder of logs."""
        return f"{self.run_id}/{self.job}.{self.attempt}.log"


@dataclass(frozen=True)
class Usage:
    """What a process took."""

    pid: int | None = None
    signal: int | None = None
    user_seconds: float = 0.0
    system_seconds: float = 0.0
    peak_bytes: int = 0


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended; `retry_at`: it failed, and its job goes back to ready for that time.

    Of an attempt that is `lost`, since its worker had to leave, the job goes back to ready, too; with `crashed` it
    counts as one whose worker died under it, so that it is given up when that happens every time.
    """

    claim: Claim
    state: AttemptState
    reason: str | None = None
    exit_code: int | None = None
    usage: Usage = Usage()
    result: str | None = None
    retry_at: datetime | None = None
    crashed: bool = False

    @property
    def job_state(self) -> JobState:
        """Where the outcome leaves the job."""
        if self.retry_at is not None or self.state is AttemptState.LOST:
            return JobState.READY
        return JobState(self.state.value)


@dataclass(frozen=True)
class Event:
    """One transition of a run (`job` is None) or of a job; `before` is None when it was made.

    What a run is told, such as to pause, is an event without a change: `before` is its state.
    """

    run_id: str
    job: str | None
    attempt: int | None
    at: datetime
    before: str | None
    state: str
    detail: str | None = None


@dataclass(frozen=True)
class Advance:
    """What one transaction of a driver did: the attempts that it may start now, and all transitions in order."""

    claims: list[Claim]
    events: list[Event]
    next_retry: datetime | None = None
    hold: str | None = None
    """The signal that lets no job of the run start now: pause, drain or abort."""
    ended: bool = False
