"""The processes of a worker's jobs: each forked by the zygote, in its own process group, with its own log."""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from pinflow.errors import PinflowError
from pinflow.scheduler.child import ANEW_VARIABLE, GIVES_VARIABLE, RESULT_VARIABLE
from pinflow.scheduler.declare import Command, Condition, Job, Node
from pinflow.scheduler.records import GRACE, Claim, Held
from pinflow.scheduler.values import environment_of
from pinflow.zygote import JSON, Call, Exit, Forks

GRACE_SECONDS = GRACE.total_seconds()
"""Between SIGTERM and SIGKILL."""
NO_ANSWER = "its question was not answered by the end of its wait"
"""Why the process of a condition without a timeout is ended."""
_REFUSE = "pinflow.scheduler.child:refuse"


@dataclass(frozen=True)
class Place:
    """Where and how jobs run: logs below `logs`, in `folder`, with `environment`, `slots` at once.

    `wait`: how long conditions may stay untrue before they fail; zero: they are asked once. `needs`: what is imported
    once for all jobs that call a function of a module, by the name of that (`Forks.prepare`).
    """

    logs: Path
    slots: int = 1
    wait: timedelta = timedelta(0)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    folder: Path = field(default_factory=Path.cwd)
    needs: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass
class Process:
    """A running process of a claim. `stopped` says why it is being ended, `kill_at` when it gets SIGKILL.

    `lost`: the claim is not held any more.
    """

    held: Held
    claim: Claim
    node: Node
    pid: int
    end_at: float | None
    stopped: str | None = None
    kill_at: float | None = None
    lost: bool = False

    @property
    def wakes_at(self) -> float | None:
        """When something has to be done about it, on the monotonic clock."""
        return self.kill_at if self.stopped else self.end_at


class Processes:
    """Starts, ends and waits for the processes of claims."""

    def __init__(self, forks: Forks, place: Place) -> None:
        self.running: dict[int, Process] = {}
        self._forks = forks
        self._logs = place.logs
        self._environment = dict(place.environment)
        self._folder = str(place.folder)
        self._needs = place.needs

    def fileno(self) -> int:
        """Readable when a process has ended; for selectors."""
        return self._forks.fileno()

    def log_of(self, claim: Claim) -> Path:
        """The log of an attempt."""
        return self._logs / claim.log

    def result_of(self, claim: Claim) -> Path:
        """The file in which an attempt may leave values."""
        return self._logs / f"{claim.log}.json"

    def start(self, held: Held, claim: Claim, taken: Mapping[str, JSON] | str) -> Process:
        """Fork the process of a claim, with the values that it takes, or why there are none; it fails by that then.

        Raises `PinflowError` when there can be no process.
        """
        node = held.definition.nodes[claim.job]
        values, reason = ({}, taken) if isinstance(taken, str) else (taken, "")
        function, arguments = _call_of(node, values) if not reason else (_REFUSE, {"reason": reason})
        output = self._open_log(claim)
        try:
            environment = self._environment_of(held, claim, node) | environment_of(values)
            call = Call(function, arguments, environment, self._folder, output)
            if isinstance(node, Job | Condition) and (needed := self._needs.get(node.call.partition(":")[0])):
                self._forks.prepare(needed)
            pid = self._forks.fork(call)
        finally:
            os.close(output)
        limit = node.timeout_seconds
        process = Process(held, claim, node, pid, None if limit is None else time.monotonic() + limit)
        self.running[pid] = process
        return process

    def ended(self) -> list[tuple[Process, Exit]]:
        """The processes that have ended since the last call."""
        found = []
        while (ended := self._forks.wait(0)) is not None:
            process = self.running.pop(ended.pid, None)
            if process is not None:
                found.append((process, ended))
        return found

    def end(self, process: Process, reason: str) -> None:
        """Ask the process's group to end; after a grace it is killed (see `enforce`)."""
        if process.stopped is None:
            process.stopped = reason
            process.kill_at = time.monotonic() + GRACE_SECONDS
            self._forks.signal(process.pid, signal.SIGTERM, group=True)

    def kill(self, process: Process) -> None:
        """End the process's group at once."""
        process.kill_at = None
        self._forks.signal(process.pid, signal.SIGKILL, group=True)

    def enforce(self, now: float) -> None:
        """End what has run for longer than its timeout, kill what did not end in its grace."""
        for process in self.running.values():
            moment = process.wakes_at
            if moment is None or moment > now:
                continue
            if process.stopped is None:
                timeout = process.node.timeout
                self.end(process, f"stopped after its timeout of {timeout}" if timeout else NO_ANSWER)
            else:
                self.kill(process)

    def _open_log(self, claim: Claim) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        file = self.log_of(claim)
        try:
            try:
                return os.open(file, flags, 0o644)
            except FileNotFoundError:
                file.parent.mkdir(parents=True, exist_ok=True)
                return os.open(file, flags, 0o644)
        except OSError as error:
            raise PinflowError(f"cannot write the log {file}: {error}; make room, then run the same again") from error

    def _environment_of(self, held: Held, claim: Claim, node: Node) -> dict[str, str]:
        return {
            **self._environment,
            "PINFLOW_WORKFLOW": held.definition.workflow,
            "PINFLOW_DATE": held.definition.date.isoformat(),
            "PINFLOW_RUN_ID": claim.run_id,
            "PINFLOW_JOB": claim.job,
            "PINFLOW_ATTEMPT": str(claim.attempt),
            "PINFLOW_FENCE": str(claim.fence),
            "PINFLOW_OWNER": node.owner,
            RESULT_VARIABLE: str(self.result_of(claim)),
            **({GIVES_VARIABLE: ",".join(node.gives)} if node.gives else {}),
            **({ANEW_VARIABLE: "1"} if claim.anew else {}),
        }


def _call_of(node: Node, taken: Mapping[str, JSON]) -> tuple[str, dict[str, JSON]]:
    if isinstance(node, Command):
        return "pinflow.scheduler.child:execute", {"argv": list(node.argv)}
    if isinstance(node, Condition):
        return "pinflow.scheduler.child:ask", {"call": node.call, "arguments": {**node.arguments, **taken}}
    if isinstance(node, Job):
        return "pinflow.scheduler.child:perform", {"call": node.call, "arguments": {**node.arguments, **taken}}
    raise TypeError(f"{type(node).__name__} is not a kind of job")
