"""Who a process is, so that another can tell whether it still lives."""

import getpass
import os
import socket
from functools import cache
from hashlib import sha256
from pathlib import Path


def process_id(pid: int | None = None) -> str:
    """`host:pid:start` of a process of this machine; never the same for two processes.

    The start is in clock ticks since boot: exact, and blind to changes of the wall clock.
    """
    pid = pid or os.getpid()
    return f"{host()}:{pid}:{_start_of(pid) or 0}"


def pid_of(identity: str) -> int:
    """The process id in what `process_id` gave.

    >>> pid_of("host-1a2b3c4d:17:4711")
    17
    """
    return int(identity.split(":")[1])


def is_here(identity: str) -> bool:
    """Whether a process is of this machine, since its last boot."""
    return identity.split(":")[0] == host()


def is_dead(identity: str) -> bool:
    """Whether a process is known to have ended; of a process of another machine nothing is known."""
    return is_here(identity) and _start_of(pid_of(identity)) != int(identity.split(":")[2])


def user_name() -> str:
    """Who this process works for, for those who ask later."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


@cache
def host() -> str:
    """The machine's name and a mark of its boot and process namespace: containers may share a name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115
    except OSError:
        boot = namespace = ""
    mark = sha256((boot + namespace).encode()).hexdigest()[:8]
    return f"{socket.gethostname().replace(':', '_')}-{mark}"


def _start_of(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZXx" else int(fields[19])
