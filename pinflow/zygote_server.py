"""The zygote itself: `python -m pinflow.zygote_server CONTROL LISTENER MODULE…`, started by `pinflow.zygote`.

One loop over its sockets; a fork leaves the loop for good. It ends when the pipe CONTROL is closed at the other end.
"""

import atexit
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, NoReturn

from pinflow.zygote import OWN_GROUP, SAME_GROUP, Exit, frame, is_same_user, take_frame

_PR_SET_PDEATHSIG = 1
_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_libc = ctypes.CDLL(None)


@dataclass(eq=False)
class _Connection:
    """A client: its socket, what it sent so far, and where it wants to hear how its children ended."""

    stream: socket.socket
    received: bytearray = field(default_factory=bytearray)
    descriptors: deque[int] = field(default_factory=deque)
    exits: socket.socket | None = None
    unsent: deque[bytes] = field(default_factory=deque)
    expires: float | None = None


@dataclass
class _Child:
    owner: _Connection | None
    leads_group: bool


def _uptime() -> float:
    """Seconds since the boot, also those in which the machine slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _wake_up(*_: object) -> None:
    """A handler, so that the signal writes to the wake-up descriptor."""


class ZygoteServer:
    """Forks for its connections, reports how children ended, and kills what has lost its owner."""

    def __init__(self, control: int, listener: socket.socket) -> None:
        self._control = control
        self._listener = listener
        self._connections: set[_Connection] = set()
        self._children: dict[int, _Child] = {}
        self._ended = False
        self._selector = selectors.DefaultSelector()
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
            for key, _ in self._selector.select(self._pause()):
                key.data()
            self._expire()
        for pid in self._children:
            self._kill(pid)
        while self._children:
            self._reap_one(os.WEXITED | os.WNOWAIT)

    def _pause(self) -> float | None:
        """How long nothing runs out, in seconds; None: nothing can."""
        first = min((c.expires for c in self._connections if c.expires is not None), default=None)
        return None if first is None else max(0.0, first - _uptime())

    def _expire(self) -> None:
        """Kill the children of those who have not renewed their lease in time."""
        for connection in self._connections:
            if connection.expires is not None and connection.expires <= _uptime():
                connection.expires = None
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

    def _answer(self, connection: _Connection, request: dict[str, Any]) -> dict[str, Any]:
        match request["verb"]:
            case "open":
                connection.exits = socket.socket(fileno=connection.descriptors.popleft())
                connection.exits.setblocking(False)
            case "fork":
                return self._fork(connection, request["call"])
            case "lease":
                seconds = request["seconds"]
                connection.expires = None if seconds is None else _uptime() + seconds
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
        if child.owner:
            code = os.waitstatus_to_exitcode(status)
            ended = Exit(
                found.si_pid,
                code if code >= 0 else None,
                -code if code < 0 else None,
                usage.ru_utime,
                usage.ru_stime,
                usage.ru_maxrss * 1024,
            )
            self._report(child.owner, json.dumps(asdict(ended)).encode())
        return True

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
        group = call["group"]
        parent = os.getpid()
        # A signal between the fork and the child's own handlers would run the zygote's.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        try:
            pid = os.fork()
            if pid == 0:
                _live(call, output, parent, self._let_go)
        except OSError as error:
            return {"error": str(error)}
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
            os.close(output)
        if group != SAME_GROUP:
            # Here too, so that a signal to the group reaches it as soon as its id is known.
            with suppress(OSError):
                os.setpgid(pid, group)
        self._children[pid] = _Child(connection, leads_group=group == OWN_GROUP)
        return {"pid": pid}

    def _let_go(self) -> None:
        """In the child: close what belongs to the zygote."""
        signal.set_wakeup_fd(-1)
        self._selector.close()
        os.close(self._control)
        for owned in (self._listener, self._wake_reader, self._wake_writer):
            owned.close()
        for connection in self._connections:
            connection.stream.close()
            if connection.exits:
                connection.exits.close()
            for descriptor in connection.descriptors:
                os.close(descriptor)


def _live(call: dict[str, Any], output: int, parent: int, let_go: Callable[[], None]) -> NoReturn:
    """The whole life of a child; never returns into the zygote's loop."""
    code = 1
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        let_go()
        _open_streams()
        _bind_to_parent(parent)
        if call["group"] != SAME_GROUP:
            os.setpgid(0, call["group"])
        _reset_signals()
        _enter(call)
        code = _exit_code(partial(pkgutil.resolve_name(call["function"]), **call["arguments"]))
        _finish()
    except BaseException:
        code = 1
        traceback.print_exc()
    finally:
        os._exit(code)


def _exit_code(function: Callable[[], Any]) -> int:
    try:
        result = function()
    except SystemExit as error:
        result = error.code
    if result is None or isinstance(result, int):
        return int(result or 0) & 0xFF
    print(result, file=sys.stderr)
    return 1


def _open_streams() -> None:
    sys.stdin = open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = open(descriptor, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)


def _bind_to_parent(parent: int) -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _reset_signals() -> None:
    for number in _HANDLED:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _enter(call: dict[str, Any]) -> None:
    """Take on the environment, folder and import path of `call`, and state that must not be the zygote's."""
    os.environ.clear()
    os.environ.update(call["environment"])
    os.chdir(call["folder"])
    folders = [call["folder"], *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    sys.path[:0] = folders
    sys.argv = [call["function"]]
    importlib.invalidate_caches()
    time.tzset()
    tempfile.tempdir = None
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    if "polars" in sys.modules:
        # Polars has read its variables at import; this public call reads them again.
        sys.modules["polars"].Config.load('{"environment": {}}')


def _finish() -> None:
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()


def main(arguments: Sequence[str]) -> None:
    """Import the modules to be kept ready, then serve."""
    control, listener, *preload = arguments
    for name in preload:
        importlib.import_module(name)
    # From Python 3.12 on, fork warns of the threads of libraries; those of Polars and jemalloc stand a fork.
    warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
    gc.collect()
    # Objects out of the collector's sight keep their pages shared with the children.
    gc.freeze()
    ZygoteServer(int(control), socket.socket(fileno=int(listener))).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
