"""What starts the tasks of the local runner: processes forked by the zygote, or this process itself."""

import os
import resource
import traceback
from time import process_time
from typing import NoReturn, Protocol

from pinflow.mr_jobs.task_processes import TaskProcesses
from pinflow.zygote import Call, Exit, connect
from pinflow.zygote_child import exit_code


class Executor(Protocol):
    """What starts a task and says when it ended."""

    def fork(self, call: Call) -> int:
        """Start the call; gives its number."""

    def wait(self, timeout: float | None = None) -> Exit | None:
        """The next task that ended."""

    def signal(self, pid: int, number: int, *, group: bool = False) -> None:
        """Send a signal to a task."""

    def close(self) -> None:
        """End all tasks."""


class InlineExecutor:
    """Runs each task in this process, one after the other: for small jobs, and for a debugger.

    A task ends as in a process of its own: with the code that it leaves with, or with 1 and a traceback.
    """

    def __init__(self) -> None:
        self._ended: list[Exit] = []
        self._count = 0

    def fork(self, call: Call) -> int:
        """Run the call to its end."""
        before, end = dict(os.environ), os._exit
        cpu = process_time()
        os.environ.update(call.environment)
        os._exit = _left(end)  # a task that ends its process must not pass for a job that ended well
        try:
            code = exit_code(call.function, call.arguments)
        except Exception:
            traceback.print_exc()
            code = 1
        finally:
            os._exit = end
            os.environ.clear()
            os.environ.update(before)
        self._count += 1
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        self._ended.append(Exit(self._count, code, None, process_time() - cpu, 0.0, peak))
        return self._count

    def wait(self, timeout: float | None = None) -> Exit | None:
        """The next task that ended."""
        return self._ended.pop(0) if self._ended else None

    def signal(self, pid: int, number: int, *, group: bool = False) -> None:
        """Nothing runs."""

    def close(self) -> None:
        """Nothing runs."""


class _End(Protocol):
    def __call__(self, status: int) -> NoReturn: ...


def _left(end: _End) -> _End:
    """Ends the task in place of this process; a process that the task has forked ends as ever."""
    own = os.getpid()

    def leave(status: int) -> NoReturn:
        if os.getpid() != own:
            end(status)
        raise SystemExit(status)

    return leave


def executor(runner: str, memory: int) -> Executor:
    """The executor of a runner's name: `local` or `inline`. `memory` bounds what a process keeps between two tasks."""
    if runner == "inline":
        return InlineExecutor()
    forks = connect()
    # there already, unless the job is no node of pinflow's
    forks.prepare(("pinflow.mr_jobs.local_tasks", "pinflow.mr_jobs.task_processes"))
    return TaskProcesses(forks, memory)
