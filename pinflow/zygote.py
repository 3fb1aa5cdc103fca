"""Prepared processes in milliseconds: a single-threaded process that forks itself on request.

The zygote has imported what its forks need, no more, since each page of its memory costs each of them; it keeps no
thread, connection or file of it, and imports no user code, so a fork of it starts clean.
`Zygote` starts it and ends it with all that it forked; `connect` gives any process below its own `Forks`.
Children die with the connection that forked them, and connections with the process that holds them, so that
neither a `kill -9` nor a crash leaves anything running. Linux only.
"""

import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeAlias

from pinflow.errors import ConfigurationError, PinflowError

ADDRESS_VARIABLE = "PINFLOW_ZYGOTE"
OWN_GROUP = 0
SAME_GROUP = -1

JSON: TypeAlias = "Mapping[str, JSON] | Sequence[JSON] | str | int | float | bool | None"

_GRACE_SECONDS = 10.0
_LENGTH = struct.Struct("!I")
_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True)
class Call:
    """What a forked process does: call `function` ("package.module:name") with `arguments` as keywords.

    The process sees exactly `environment`, works in `folder` (also first on its import path, then PYTHONPATH), and
    writes stdout and stderr to the open file descriptor `output`. It leads a process group of its own (`group` 0),
    joins the group `group`, or stays in the zygote's (-1). It exits 0 for None, with the int that the function
    returns or `SystemExit` carries, and 1 with a traceback for any other exception.
    """

    function: str
    arguments: Mapping[str, JSON]
    environment: Mapping[str, str]
    folder: str
    output: int
    group: int = OWN_GROUP


@dataclass(frozen=True)
class Exit:
    """How a child ended: by `code` or by `signal`; its CPU seconds and peak resident bytes.

    The peak includes the pages shared with the zygote.
    """

    pid: int
    code: int | None
    signal: int | None
    user_seconds: float
    system_seconds: float
    peak_bytes: int


class Zygote:
    """The running zygote, held by the process that started it; a context manager.

    Everything forked ends when it is closed or when the process that holds it dies.
    """

    def __init__(self, process: subprocess.Popen[bytes], control: int, path: str) -> None:
        self.path = path
        self._process = process
        self._control = control

    @classmethod
    def start(cls, preload: Sequence[str], *, path: str | None = None) -> "Zygote":
        """Start a zygote that imports the modules `preload`; returns at once, while it still imports.

        A name `package.module:function` is a function to call, whose results all that is forked shall have.
        `path` names its (abstract) Unix socket, random by default; it goes to PINFLOW_ZYGOTE of this process's
        environment, for `connect`. A module that cannot be imported ends the zygote with a traceback on stderr.
        """
        path = path or f"pinflow-{os.getpid()}-{os.urandom(8).hex()}"
        watched, control = os.pipe()
        try:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind("\0" + path)
                listener.listen(128)
                process = _spawn(watched, listener.fileno(), preload)
        except BaseException:
            os.close(control)
            raise
        finally:
            os.close(watched)
        os.environ[ADDRESS_VARIABLE] = path
        return cls(process, control, path)

    @property
    def pid(self) -> int:
        """Process id of the zygote."""
        return self._process.pid

    def close(self) -> None:
        """Kill all that was forked, then end the zygote. May be called again."""
        if self._control < 0:
            return
        os.close(self._control)
        self._control = -1
        if os.environ.get(ADDRESS_VARIABLE) == self.path:
            del os.environ[ADDRESS_VARIABLE]
        self._process.terminate()
        try:
            self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> "Zygote":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


# mrjob imports distutils. Up to Python 3.11 there is one beside that of setuptools, which takes 0.15 s to import.
_DISTUTILS = {"SETUPTOOLS_USE_DISTUTILS": "stdlib"} if sys.version_info < (3, 12) else {}

MALLOC = {
    "GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=4294967296:"
    "glibc.malloc.top_pad=16777216:glibc.malloc.arena_max=1:glibc.malloc.hugetlb=1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:3000,muzzy_decay_ms:3000,thp:always,narenas:1",  # of Polars
}
"""Of tasks: freed memory, also that of Arrow and Polars, stays with its process, and comes in huge pages where the
machine has them. What is touched for the first time costs most, and they end soon."""
_KEPT = ",dirty_decay_ms:-1,muzzy_decay_ms:-1,oversize_threshold:0"
"""Freed memory of Polars stays for good: on this machine the next task needs it, and a process too large ends."""


def _spawn(watched: int, listener: int, preload: Sequence[str]) -> subprocess.Popen[bytes]:
    # -P: a file of the working folder must not stand in for a module of the zygote.
    # Own group: Ctrl-C at the terminal goes to the command, which ends its children in its own order.
    name = "_RJEM_MALLOC_CONF"
    # Polars leaves its own choice in the environment of a process that has imported it.
    given = "" if "polars" in sys.modules else os.environ.get(name)
    polars = {name: given or MALLOC[name] + _KEPT}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "pinflow.zygote_server", str(watched), str(listener), *preload],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(watched, listener),
        env={**MALLOC, **os.environ, **polars, **_DISTUTILS, "OPENBLAS_NUM_THREADS": "1"},
        process_group=0,
    )


def connect(path: str | None = None) -> "Forks":
    """Open a connection to the zygote at `path`, by default the one that PINFLOW_ZYGOTE names."""
    path = path or os.environ.get(ADDRESS_VARIABLE)
    if not path:
        raise ConfigurationError(
            f"{ADDRESS_VARIABLE} is not set: this process does not run below a pinflow command; use: pinflow run"
        )
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect("\0" + path)
        if not is_same_user(connection):
            raise ConnectionRefusedError("it belongs to another user")
        return Forks(connection, path)
    except (ConnectionError, FileNotFoundError) as error:
        connection.close()
        raise _gone(path) from error


class Forks:
    """One connection to the zygote, for one thread; what it forked is killed when it closes or its process dies."""

    def __init__(self, connection: socket.socket, path: str) -> None:
        self._connection = connection
        self._path = path
        self._buffer = bytearray()
        self._serial = 0
        self._running: set[int] = set()
        self._prepared: set[str] = set()
        self._environment: dict[str, str] = {}
        self._exits, remote = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with remote:
            self._ask({"verb": "open"}, remote.fileno())

    def prepare(self, names: Sequence[str]) -> None:
        """Let the zygote import or call what it has not yet, as `Zygote.start` does; what is forked later has it.

        Returns at once. What cannot be imported is told on stderr, and left to the processes that need it.
        """
        if not self._prepared.issuperset(names):
            self._ask({"verb": "prepare", "names": list(names)})
            self._prepared.update(names)

    def fork(self, call: Call) -> int:
        """Fork a process that does `call`; gives its process id.

        Waits while the zygote still imports. Raises PinflowError when the zygote is gone or cannot fork.
        """
        request = {
            "function": call.function,
            "arguments": dict(call.arguments),
            "environment": self._changes_to(call.environment),
            "folder": call.folder,
            "group": call.group,
        }
        reply = self._ask({"verb": "fork", "call": request}, call.output)
        if "error" in reply:
            raise PinflowError(
                f"cannot start a process for {call.function}: {reply['error']}; "
                "free memory or processes, or set fewer slots (PINFLOW_SLOTS)"
            )
        self._running.add(reply["pid"])
        return int(reply["pid"])

    def _changes_to(self, environment: Mapping[str, str]) -> dict[str, str | None]:
        """How an environment differs from the one that the zygote was told first, for all calls to come."""
        if not self._environment:
            self._environment = dict(environment)
            self._ask({"verb": "environment", "environment": self._environment})
        known = self._environment
        gone: dict[str, str | None] = {name: None for name in known if name not in environment}
        return gone | {name: value for name, value in environment.items() if known.get(name) != value}

    def wait(self, timeout: float | None = None) -> Exit | None:
        """How the next child ended; None when none did within `timeout` seconds, or none is running.

        Each child is reported once, in the order in which they ended.
        """
        if not self._running:
            timeout = 0.0
        poll = select.poll()
        poll.register(self._exits, select.POLLIN)
        if not poll.poll(None if timeout is None else max(0.0, timeout) * 1000):
            return None
        try:
            message = self._exits.recv(4096)
        except ConnectionError as error:
            raise _gone(self._path) from error
        if not message:
            raise _gone(self._path)
        ended = Exit(**json.loads(message))
        self._running.discard(ended.pid)
        return ended

    def fileno(self) -> int:
        """A descriptor that is readable exactly when `wait` has something to give; for selectors."""
        return self._exits.fileno()

    def signal(self, pid: int, number: int, *, group: bool = False) -> None:
        """Send signal `number` to a child, or to the whole process group that it leads; no-op if it has ended."""
        self._ask({"verb": "signal", "pid": pid, "number": int(number), "group": group})

    def lease(self, seconds: float | None) -> None:
        """Kill all children unless this is said again within `seconds`, also while this process is frozen or asleep.

        None: let them live for as long as the connection does, as at first.
        """
        self._ask({"verb": "lease", "seconds": seconds})

    def close(self) -> None:
        """Close the connection: the children still running are killed."""
        self._connection.close()
        self._exits.close()

    def __enter__(self) -> "Forks":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: dict[str, Any], *descriptors: int) -> dict[str, Any]:
        # An exception of a signal handler may leave a reply unread: the serial tells it from the one asked for.
        self._serial += 1
        data = frame({**request, "serial": self._serial})
        try:
            sent = socket.send_fds(self._connection, [data], descriptors)
            self._connection.sendall(data[sent:])
            while True:
                reply = take_frame(self._buffer)
                if reply is not None and reply["serial"] == self._serial:
                    return reply
                if reply is None and not self._receive():
                    raise _gone(self._path)
        except ConnectionError as error:
            raise _gone(self._path) from error

    def _receive(self) -> bool:
        data = self._connection.recv(65536)
        self._buffer += data
        return bool(data)


def _gone(path: str) -> PinflowError:
    return PinflowError(
        f"the process that starts jobs (zygote {path}) is gone: it was killed or could not import its modules; "
        "run the same command again"
    )


def frame(message: Mapping[str, Any]) -> bytes:
    """`message` as it goes over a connection: its length in four bytes, then JSON."""
    body = json.dumps(message).encode()
    return _LENGTH.pack(len(body)) + body


def take_frame(buffer: bytearray) -> dict[str, Any] | None:
    """Cut the first whole message off `buffer`; None while there is none."""
    if len(buffer) < _LENGTH.size:
        return None
    end = _LENGTH.size + _LENGTH.unpack_from(buffer)[0]
    if len(buffer) < end:
        return None
    message: dict[str, Any] = json.loads(buffer[_LENGTH.size : end])
    del buffer[:end]
    return message


def uptime() -> float:
    """Seconds since the boot, also those in which the machine slept: leases are counted by it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def is_same_user(connection: socket.socket) -> bool:
    """Whether the other side runs as this user: an abstract socket has no permissions of its own."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(credentials)[1] == os.geteuid())
