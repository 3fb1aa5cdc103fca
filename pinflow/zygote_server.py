"""The zygote itself: `python -m pinflow.zygote_server CONTROL LISTENER MODULE…`, started by `pinflow.zygote`.

One loop over its sockets; a fork leaves the loop for good. It ends when the pipe CONTROL is closed at the other end.
"""

import gc
import importlib
import json
import os
import select
import selectors
import signal
import socket
import sys
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pinflow import zygote_child, zygote_memory
from pinflow.zygote import OWN_GROUP, SAME_GROUP, Exit, frame, is_same_user, take_frame, uptime

_BURST = 4
"""How many children are forked ahead in one go: what the zygote has to copy after a fork, it copies once for all."""


@dataclass(eq=False)
class _Connection:
    """A client: its socket, what it sent so far, and where it wants to hear how its children ended.

    `environment` is that of its children, as far as it is the same for all of them.
    """

    stream: socket.socket
    received: bytearray = field(default_factory=bytearray)
    descriptors: deque[int] = field(default_factory=deque)
    exits: socket.socket | None = None
    unsent: deque[bytes] = field(default_factory=deque)
    expires: float | None = None
    is_overdue: bool = False
    environment: dict[str, str | None] = field(default_factory=dict)


@dataclass
class _Child:
    """A forked process; one without owner waits for its call, or has lost its owner and is being killed."""

    owner: _Connection | None = None
    leads_group: bool = False


def _wake_up(*_: object) -> None:
    """A handler, so that the signal writes to the wake-up descriptor."""


class ZygoteServer:
    """Forks for its connections, reports how children ended, and kills what has lost its owner."""

    def __init__(self, control: int, listener: socket.socket, imported: Sequence[str] = ()) -> None:
        self._control = control
        self._listener = listener
        self._imported = set(imported)
        self._wanted: list[str] = []
        self._connections: set[_Connection] = set()
        self._children: dict[int, _Child] = {}
        self._spares: deque[tuple[int, socket.socket]] = deque()
        self._spare_count = len(os.sched_getaffinity(0))
        self._small_pages = zygote_memory.collapse()
        self._is_prepared = False
        self._ended = False
        self._selector = selectors.EpollSelector()
        self._polled = [self._selector.fileno()]
        self._wake_reader, self._wake_writer = socket.socketpair()
        listener.setblocking(False)
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._watch(control, self._end)
        self._watch(listener, self._accept)
        self._watch(self._wake_reader, self._reap)

    def serve(self) -> None:
        """Answer until the starter closes the control pipe or SIGTERM comes; then kill and reap all children."""
        signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, _wake_up)
        while not self._ended:
            keys = self._selector.select(self._pause())
            for key, _ in keys:
                key.data()
            self._expire()
            if not keys:
                self._prepare()
        for pid in self._children:
            self._kill(pid)
        while self._children:
            self._reap_one(os.WEXITED | os.WNOWAIT)

    def _prepare(self) -> None:
        """While there is nothing else to do: fork children ahead, or make later forks cheaper."""
        if len(self._spares) < self._spare_count:
            try:
                self._fork_spares(_BURST)
            except OSError:
                self._spare_count = len(self._spares)
        else:
            self._is_prepared = next(self._small_pages, None) is None

    def _pause(self) -> float | None:
        """How long there is nothing to do, in seconds; None: until something comes."""
        if len(self._spares) < self._spare_count or not self._is_prepared:
            return 0.0
        first = min((c.expires for c in self._connections if c.expires is not None), default=None)
        return None if first is None else max(0.0, first - uptime())

    def _expire(self) -> None:
        """Kill the children of those who have not renewed their lease in time."""
        for connection in self._connections:
            if connection.expires is not None and connection.expires <= uptime():
                connection.expires, connection.is_overdue = None, True
                for pid, child in self._children.items():
                    if child.owner is connection:
                        self._kill(pid)

    def _watch(self, source: int | socket.socket, call: Callable[[], None]) -> None:
        self._selector.register(source, selectors.EVENT_READ, call)

    def _end(self, *_: object) -> None:
        self._ended = True

    def _accept(self) -> None:
        with suppress(BlockingIOError, ConnectionError):
            accepted, _ = self._listener.accept()
            if not is_same_user(accepted):
                accepted.close()
                return
            accepted.setblocking(False)
            connection = _Connection(accepted)
            self._connections.add(connection)
            self._watch(accepted, partial(self._read, connection))

    def _read(self, connection: _Connection) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(connection.stream, 1 << 16, 4, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        connection.received += data
        connection.descriptors.extend(descriptors)
        if not data:
            self._drop(connection)
            return
        while connection in self._connections and (request := take_frame(connection.received)):
            reply = self._answer(connection, request)
            try:
                connection.stream.sendall(frame({**reply, "serial": request["serial"]}))
            except OSError:
                self._drop(connection)
            if self._wanted:
                self._grow()

    def _grow(self) -> None:
        """Import what is wanted, and fork what comes from then on with it."""
        with _growing():
            for name in self._wanted:
                try:
                    _bring_in(name)
                except Exception:
                    traceback.print_exc()  # who needs it will say so, too
                self._expire()
        self._imported.update(self._wanted)
        self._wanted = []
        while self._spares:
            pid, stream = self._spares.popleft()
            self._kill(pid)
            stream.close()
        self._small_pages = zygote_memory.collapse()
        self._is_prepared = False

    def _answer(self, connection: _Connection, request: dict[str, Any]) -> dict[str, Any]:
        match request["verb"]:
            case "open":
                connection.exits = socket.socket(fileno=connection.descriptors.popleft())
                connection.exits.setblocking(False)
            case "environment":
                connection.environment = zygote_child.changes_to(request["environment"])
            case "prepare":
                self._wanted = [name for name in request["names"] if name not in self._imported]
            case "fork":
                return self._fork(connection, request["call"])
            case "lease":
                seconds = request["seconds"]
                connection.expires = None if seconds is None else uptime() + seconds
                connection.is_overdue = False
            case "signal":
                child = self._children.get(request["pid"])
                if child and child.owner is connection:
                    self._send_signal(request["pid"], request["number"], group=request["group"])
        return {}

    def _drop(self, connection: _Connection) -> None:
        if connection not in self._connections:
            return
        self._connections.remove(connection)
        self._selector.unregister(connection.stream)
        connection.stream.close()
        self._drop_exits(connection)
        for descriptor in connection.descriptors:
            os.close(descriptor)
        for pid, child in self._children.items():
            if child.owner is connection:
                child.owner = None
                self._kill(pid)

    def _drop_exits(self, connection: _Connection) -> None:
        if connection.exits:
            if connection.unsent:
                self._selector.unregister(connection.exits)
            connection.unsent.clear()
            connection.exits.close()
            connection.exits = None

    def _kill(self, pid: int) -> None:
        self._send_signal(pid, signal.SIGKILL, group=True)

    def _send_signal(self, pid: int, number: int, *, group: bool) -> None:
        # A child is in the table until it is reaped, so its id cannot belong to another process.
        with suppress(ProcessLookupError, PermissionError):
            if group and self._children[pid].leads_group:
                os.killpg(pid, number)
            else:
                os.kill(pid, number)

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            self._wake_reader.recv(4096)
        while self._children and self._reap_one(os.WEXITED | os.WNOWAIT | os.WNOHANG):
            pass

    def _reap_one(self, options: int) -> bool:
        found = os.waitid(os.P_ALL, 0, options)
        if found is None:
            return False
        # Before its id is free again: nothing of its group outlives the child that led it.
        self._kill(found.si_pid)
        _, status, usage = os.wait4(found.si_pid, 0)
        child = self._children.pop(found.si_pid)
        if child.owner is None:
            self._forget(found.si_pid)
        else:
            code = os.waitstatus_to_exitcode(status)
            ended = Exit(
                found.si_pid,
                code if code >= 0 else None,
                -code if code < 0 else None,
                usage.ru_utime,
                usage.ru_stime,
                usage.ru_maxrss * 1024,
            )
            self._report(child.owner, json.dumps(vars(ended)).encode())
        return True

    def _forget(self, pid: int) -> None:
        """A child that waited for its call was killed."""
        for spare in [spare for spare in self._spares if spare[0] == pid]:
            self._spares.remove(spare)
            spare[1].close()

    def _report(self, connection: _Connection, message: bytes) -> None:
        if not connection.exits:
            return
        connection.unsent.append(message)
        if len(connection.unsent) == 1:
            self._selector.register(connection.exits, selectors.EVENT_WRITE, partial(self._flush, connection))
            self._flush(connection)

    def _flush(self, connection: _Connection) -> None:
        if not connection.exits:
            return
        try:
            while connection.unsent:
                connection.exits.send(connection.unsent[0])
                connection.unsent.popleft()
            self._selector.unregister(connection.exits)
        except BlockingIOError:
            return
        except OSError:
            self._drop_exits(connection)

    def _fork(self, connection: _Connection, call: dict[str, Any]) -> dict[str, Any]:
        output = connection.descriptors.popleft()
        call["environment"] = connection.environment | call["environment"]
        try:
            pid = self._employ(call, output)
        except OSError as error:
            return {"error": str(error)}
        finally:
            os.close(output)
        self._children[pid] = _Child(connection, leads_group=call["group"] == OWN_GROUP)
        if connection.is_overdue:
            self._kill(pid)
        return {"pid": pid}

    def _employ(self, call: Mapping[str, Any], output: int) -> int:
        """Give a call to a child that was forked ahead, or now if there is none."""
        self._spare_count = len(os.sched_getaffinity(0))
        while True:
            if not self._spares:
                self._fork_spares(1)
            pid, stream = self._spares.popleft()
            with stream, suppress(ConnectionError, ProcessLookupError):  # one that was killed: the next
                if call["group"] != SAME_GROUP:
                    # Here, so that a signal to the group reaches it as soon as its id is known.
                    os.setpgid(pid, call["group"])
                zygote_child.send_call(stream, call, output)
                return pid

    def _fork_spares(self, count: int) -> None:
        """Fork up to `count` children ahead, fewer if something comes meanwhile that one can serve.

        Python between two forks touches memory that has to be copied for each of them: so there is little of it.
        """
        parent, is_urgent = os.getpid(), not self._spares
        pairs = [socket.socketpair() for _ in range(count)]
        owned = self._descriptors() + [end.fileno() for pair in pairs for end in pair]
        pids: list[int] = []
        # A signal between the fork and the child's own handlers would run the zygote's.
        signal.pthread_sigmask(signal.SIG_BLOCK, zygote_child.HANDLED)
        try:
            for _, its in pairs:
                if (pids or not is_urgent) and select.select(self._polled, (), (), 0)[0]:
                    break
                pid = os.fork()
                if pid == 0:
                    zygote_child.live(its, parent, owned)
                pids.append(pid)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, zygote_child.HANDLED)
            for pid, (ours, _) in zip(pids, pairs, strict=False):
                self._children[pid] = _Child()
                self._spares.append((pid, ours))
            for _, its in pairs:
                its.close()
            for ours, _ in pairs[len(pids) :]:
                ours.close()

    def _descriptors(self) -> list[int]:
        """Those of the zygote, which its children close."""
        streams = [self._listener, self._wake_reader, self._wake_writer, *(stream for _, stream in self._spares)]
        streams += [end for c in self._connections for end in (c.stream, c.exits) if end is not None]
        received = [descriptor for c in self._connections for descriptor in c.descriptors]
        return [self._control, *self._polled, *(stream.fileno() for stream in streams), *received]


def main(arguments: Sequence[str]) -> None:
    """Import the modules to be kept ready, call the functions among them, then serve."""
    control, listener, *preload = arguments
    with _growing():
        for name in preload:
            _bring_in(name)
        zygote_child.open_streams()
        zygote_child.rehearse()
    # From Python 3.12 on, fork warns of the threads of libraries; those of Polars and jemalloc stand a fork.
    warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
    ZygoteServer(int(control), socket.socket(fileno=int(listener)), preload).serve()
    os._exit(0)  # what was imported need not be taken down piece by piece, while the command waits for it


@contextmanager
def _growing() -> Iterator[None]:
    """What is imported within it stays, and is left alone by forks."""
    gc.disable()
    yield
    zygote_memory.settle()


def _bring_in(name: str) -> None:
    """Import a module, or call the function `package.module:name`."""
    if ":" in name:
        zygote_child.find(name)()
    else:
        importlib.import_module(name)


if __name__ == "__main__":
    main(sys.argv[1:])
