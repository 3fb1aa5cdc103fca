"""Processes that do one task of a job after the other: memory that one has touched, the next need not touch first.

A new process of its own for each task costs a fork, and above all the clearing of all pages that the task uses. Their
calls come over what is their standard output at first: what they say before that is told from it by `_READY`.
"""

import atexit
import os
import random
import resource
import select
import signal
import socket
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any

from pinflow.zygote import Call, Exit, Forks, frame, take_frame
from pinflow.zygote_child import changes_to, enter, exit_code

_READY = b"\0ready\0"


class TaskProcesses:
    """Starts tasks in forks of the zygote; one that has ended a task well gets the next, if there is one by then.

    A process ends with a task that failed, and after one that leaves more than `memory` bytes to it, or anything that
    would go on in the next. Tasks are numbered by their process, which has one at a time.
    """

    def __init__(self, forks: Forks, memory: int) -> None:
        self._forks = forks
        self._memory = memory
        self._at_work: dict[int, _Process] = {}
        self._idle: list[_Process] = []

    def fork(self, call: Call) -> int:
        """Give the call to a process that has nothing to do, or to a new one; gives its number."""
        process = self._idle.pop() if self._idle else self._start(call)
        self._at_work[process.pid] = process
        process.send(call)
        return process.pid

    def _start(self, call: Call) -> "_Process":
        ours, its = socket.socketpair()
        with its:
            try:
                serve = replace(call, function=f"{__name__}:serve", arguments={"memory": self._memory})
                return _Process(self._forks.fork(replace(serve, output=its.fileno())), ours, call.output)
            except BaseException:
                ours.close()
                raise

    def wait(self, timeout: float | None = None) -> Exit | None:
        """The next task that ended; None when none did within `timeout` seconds. Who has nothing to do ends first."""
        while self._idle:
            self._idle.pop().stream.close()
        end = None if timeout is None else monotonic() + timeout
        while self._at_work:
            left = None if end is None else max(0.0, end - monotonic()) * 1000
            poll = select.poll()
            for descriptor in (self._forks.fileno(), *(p.stream.fileno() for p in self._at_work.values() if p.is_open)):
                poll.register(descriptor, select.POLLIN)
            ready = {descriptor for descriptor, _ in poll.poll(left)}
            for exit in self._ended(ready):
                return exit
            if not ready:
                break
        return None

    def _ended(self, ready: set[int]) -> Iterator[Exit]:
        for process in [process for process in self._at_work.values() if process.stream.fileno() in ready]:
            if exit := process.receive():
                self._idle.append(self._at_work.pop(process.pid))
                yield exit
        if self._forks.fileno() in ready and (last := self._forks.wait(0)) and last.pid in self._at_work:
            process = self._at_work.pop(last.pid)
            yield process.finish() or process.rest_of(last)

    def signal(self, pid: int, number: int, *, group: bool = False) -> None:
        """Send a signal to the process of a task."""
        self._forks.signal(pid, number, group=group)

    def close(self) -> None:
        """End all processes."""
        for process in (*self._idle, *self._at_work.values()):
            process.stream.close()
        self._forks.close()


@dataclass
class _Process:
    """The other side of `serve`. What a process used before its last task was told by it, the rest by the zygote."""

    pid: int
    stream: socket.socket
    output: int
    is_open: bool = True
    _is_ready: bool = False
    _received: bytearray = field(default_factory=bytearray)
    _user_seconds: float = 0.0
    _system_seconds: float = 0.0

    def send(self, call: Call) -> None:
        """Send a call, and the file that its output goes to; of a process that was killed the zygote will tell."""
        body = {"function": call.function, "arguments": dict(call.arguments), "folder": call.folder}
        data = frame({**body, "environment": dict(call.environment)})
        with suppress(ConnectionError):
            sent = socket.send_fds(self.stream, [data], [call.output])
            self.stream.sendall(data[sent:])

    def receive(self) -> Exit | None:
        """What the task used that has ended, when all of it was told; a process that ends tells no more."""
        data = b""
        with suppress(ConnectionError, BlockingIOError):
            data = self.stream.recv(4096)
        self.is_open = bool(data)
        self._received += data
        told = take_frame(self._received) if self._is_ready or self._hear() else None
        if told is None:
            return None
        exit = self.rest_of(Exit(self.pid, 0, None, **told))
        self._user_seconds, self._system_seconds = told["user_seconds"], told["system_seconds"]
        return exit

    def finish(self) -> Exit | None:
        """As `receive`, of a process that has ended; one that it has forked may hold the other end for longer."""
        self.stream.setblocking(False)
        with self.stream:
            while self.is_open:
                if exit := self.receive():
                    return exit
        return None

    def _hear(self) -> bool:
        """Pass on what the process said before it was ready; gives whether it is."""
        said, found, self._received = self._received.partition(_READY)
        self._is_ready = bool(found)
        if not found and self.is_open:
            self._received = said
        elif said:
            with suppress(OSError):  # a file that is closed by now
                os.write(self.output, said)
        return self._is_ready

    def rest_of(self, exit: Exit) -> Exit:
        """Without what was used for the tasks before."""
        user, system = exit.user_seconds - self._user_seconds, exit.system_seconds - self._system_seconds
        return replace(exit, user_seconds=max(0.0, user), system_seconds=max(0.0, system))


def serve(memory: int) -> int:
    """Do the tasks that come over the standard output of this process, until one fails or leaves too much behind."""
    own, shared, traces, path = os.getpid(), _resident(), _traces(), sys.path[:]
    with socket.socket(fileno=os.dup(1)) as stream:
        stream.sendall(_READY)
        received = bytearray()
        while (call := _next(stream, received)) is not None:
            enter(changes_to(call["environment"]), call["folder"], call["function"])
            sys.path[:] = path
            random.seed()
            if "numpy.random" in sys.modules:
                sys.modules["numpy.random"].seed()
            code = exit_code(call["function"], call["arguments"])
            # what the task has forked, and did not end, comes here too
            if code or os.getpid() != own or _traces() != traces or _resident() - shared > memory:
                return code
            sys.stdout.flush()
            sys.stderr.flush()
            stream.sendall(frame(_usage()))
    return 0


def _next(stream: socket.socket, received: bytearray) -> dict[str, Any] | None:
    """The next call, whose output is that of this process from now on; None when there is none."""
    while (call := take_frame(received)) is None:
        data, outputs, _, _ = socket.recv_fds(stream, 1 << 16, 1)
        if not data:
            return None
        received += data
        for output in outputs:
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.close(output)
    return call


def _traces() -> tuple[object, ...]:
    """What a task may leave behind that would reach into the next."""
    return (
        atexit._ncallbacks(),
        len(weakref.finalize._registry),  # type: ignore[attr-defined]
        threading.enumerate(),
        signal.getitimer(signal.ITIMER_REAL)[0] > 0,
        [signal.getsignal(number) for number in signal.valid_signals()],
    )


def _resident() -> int:
    """Bytes that this process holds; at its start, those that it shares with the zygote."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _usage() -> Mapping[str, float]:
    """What this process has used so far, together with those that it waited for."""
    own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "user_seconds": own.ru_utime + others.ru_utime,
        "system_seconds": own.ru_stime + others.ru_stime,
        "peak_bytes": max(own.ru_maxrss, others.ru_maxrss) * 1024,
    }
