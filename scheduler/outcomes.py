"""What the end of a job's process means for the job: succeeded, skipped, failed, or to be tried again."""

import json
import os
import signal
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import NamedTuple

from pinflow.config import parse_duration
from pinflow.errors import ConfigurationError, ExitCode
from pinflow.scheduler.child import SKIPPED
from pinflow.scheduler.declare import Node
from pinflow.scheduler.records import Claim, Outcome, Usage
from pinflow.scheduler.states import AttemptState
from pinflow.scheduler.values import LIMIT, VALUES, shown, typed
from pinflow.zygote import JSON, Exit

RESULT_LIMIT = 64 * 1024
"""How many bytes are read of what a job leaves."""
NEVER_RETRIED = frozenset({ExitCode.FATAL_ALERT, ExitCode.INPUT_MISSING})
_LONGEST_DELAY = timedelta(hours=1)


class Left(NamedTuple):
    """What a job left: a JSON object, if it can be used; else, if it left something, why that cannot be used."""

    values: str | None = None
    refused: str | None = None


def judge(
    node: Node,
    claim: Claim,
    ended: Exit,
    *,
    now: datetime,
    random: Random,
    stopped: str | None = None,
    left: Left = Left(),  # noqa: B008
    hint: str | None = None,
) -> Outcome:
    """The outcome of an attempt whose process has ended.

    `stopped`: why the worker ended it (timeout); `left`: what the job left; `hint`: the end of its log.
    A failure is tried again while the job has retries left, except after a fatal alert, a missing input or one of
    the job's `final_codes`.
    """
    usage = usage_of(ended)
    reason = stopped or reason_in(left.values)
    if stopped is None and ended.code in (0, SKIPPED):
        state = AttemptState.SKIPPED if ended.code else AttemptState.SUCCEEDED
        if not node.gives:
            return Outcome(claim, state, reason, ended.code, usage, left.values)
        try:
            values = _given(node, left, complete=ended.code == 0)
        except ConfigurationError as error:
            reason = str(error)
        else:
            reason = "; ".join(filter(None, [reason, shown(values) if values else None])) or None
            kept = json.dumps({**json.loads(left.values or "{}"), VALUES: values})
            return Outcome(claim, state, reason, ended.code, usage, kept)
    reason = reason or _explain(ended, hint)
    retry_at = None
    if ended.code not in {*NEVER_RETRIED, *node.final_codes} and claim.failures < node.retries:
        retry_at = now + backoff(parse_duration(node.retry_delay), claim.failures, random)
    return Outcome(claim, AttemptState.FAILED, reason, ended.code, usage, left.values, retry_at)


def usage_of(ended: Exit) -> Usage:
    """What a process took."""
    return Usage(ended.pid, ended.signal, ended.user_seconds, ended.system_seconds, ended.peak_bytes)


def backoff(first: timedelta, failures: int, random: Random) -> timedelta:
    """How long to wait after the failure number `failures` (from 0): doubling, with up to a tenth added by chance.

    >>> backoff(timedelta(seconds=10), 2, Random(1)).total_seconds() // 1
    40.0
    """
    doubled: timedelta = first * 2 ** min(failures, 30)
    return min(doubled, max(first, _LONGEST_DELAY)) * (1 + random.random() / 10)


def read_result(file: Path) -> Left:
    """What a job left in a file, which is removed."""
    try:
        with file.open("rb") as stream:
            data, size = stream.read(RESULT_LIMIT + 1), os.fstat(stream.fileno()).st_size
        file.unlink()
    except OSError:
        return Left()
    if len(data) > RESULT_LIMIT:
        return Left(
            refused=f"what it left has {size} bytes, at most {RESULT_LIMIT} are read, of which {LIMIT} may be its "
            "values; leave a path in their place"
        )
    try:
        values = json.loads(data)
    except ValueError:
        values = None
    return Left(json.dumps(values)) if isinstance(values, dict) else Left(refused="what it left is no JSON object")


def last_line(file: Path) -> str | None:
    """The last line of a log that is not empty, at most 300 characters: mostly the cause of a failure."""
    return next((line.strip()[:300] for line in reversed(last_lines(file, 4096)) if line.strip()), None)


def last_lines(file: Path, size: int) -> list[str]:
    """The lines of the last `size` bytes of a log; none if it cannot be read."""
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, 2) - size))
            return stream.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return []


def reason_in(left: str | None) -> str | None:
    """The `reason` that a job left, if it left one."""
    reason = json.loads(left).get("reason") if left else None
    return reason[:1000] if isinstance(reason, str) and reason else None


def _given(node: Node, left: Left, *, complete: bool) -> dict[str, JSON]:
    """As `typed`, and it raises `ConfigurationError` when what was left cannot be used, too."""
    if left.refused:
        raise ConfigurationError(left.refused)
    return typed(node.gives, left.values, complete=complete)


def _explain(ended: Exit, hint: str | None) -> str:
    if ended.signal is not None:
        number = ended.signal
        cause = f"killed by {signal.Signals(number).name if number in set(signal.Signals) else f'signal {number}'}"
    else:
        cause = f"exit code {ended.code}"
    return f"{cause}: {hint}" if hint else cause
