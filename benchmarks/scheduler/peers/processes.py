"""Processes of another engine, ended with all that they have started."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import psutil

GRACE_SECONDS = 10.0
LINES_SHOWN = 30
FOREIGN = ("PYTHON", "VIRTUAL_ENV", "AIRFLOW", "LUIGI")
"""Variables that begin so are not handed on: they could change what the engine imports or how it is set up."""


class FailedError(click.ClickException):
    """Another engine, or one of its processes, did not do what it should; the text holds the end of its output."""


def environment(folder: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables for a process whose own files belong below a folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return {**kept, "HOME": str(folder), **(more or {})}


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def running(command: Sequence[str], variables: Mapping[str, str], folder: Path, log: Path) -> Iterator[psutil.Popen]:
    """A process in a session of its own; in the end all of the session are ended."""
    with log.open("wb") as output:
        process = psutil.Popen(
            command, env=variables, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        end(process)


def finish(command: Sequence[str], variables: Mapping[str, str], folder: Path, log: Path) -> None:
    """Run a command to its end. Raises `FailedError` when that isn't 0."""
    with running(command, variables, folder, log) as process:
        if code := process.wait():
            raise FailedError(f"{' '.join(command)} ended with {code}:\n{last_lines(log)}")


def wait_until(ready: Callable[[], bool], servers: Mapping[Path, psutil.Popen], seconds: float, pause: float) -> None:
    """Return when it is ready. Raises `FailedError` when a server, named by its log, ends or the time is over."""
    until = time.monotonic() + seconds
    while not ready():
        for log, server in servers.items():
            if (code := server.poll()) is not None:
                raise FailedError(f"{log.stem} ended with {code}:\n{last_lines(log)}")
        if time.monotonic() > until:
            ends = "\n".join(f"{log.stem}:\n{last_lines(log)}" for log in servers)
            raise FailedError(f"not ready after {seconds:.0f} s\n{ends}")
        time.sleep(pause)


def last_lines(log: Path) -> str:
    """The end of a log; '' when there is none."""
    if not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-LINES_SHOWN:])


def end(process: psutil.Popen) -> None:
    """Ask a process to end; kill those of its session that are left then."""
    if process.poll() is None:
        process.terminate()
        psutil.wait_procs([process], timeout=GRACE_SECONDS)
    while left := _session(process.pid):
        for other in left:
            other.kill()
        psutil.wait_procs(left, timeout=GRACE_SECONDS)


def _session(leader: int) -> list[psutil.Process]:
    """What still runs of a session; a process may have a group of its own, or no parent any more."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found
