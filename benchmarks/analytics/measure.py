"""Runs a command and measures all of its processes together: time, memory, bytes written."""

import ctypes
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.analytics.engines import Command

SAMPLE_SECONDS = 0.05
LINES_SHOWN = 30
BLOCK_BYTES = 512
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Measured:
    """What one run took.

    `seconds` end with the command; the rest counts all its processes, also those that it left behind. `peak` and
    `written` are bytes; `peak` is 0 when memory was not watched. `foreign_load` is the share of the machine's cores
    that others took meanwhile.
    """

    seconds: float
    cpu_seconds: float
    peak: int
    written: int
    foreign_load: float


class FailedError(Exception):
    """The command ended with an error; the text holds the end of its output."""


def run(command: Command, folder: Path, *, watch_memory: bool) -> Measured:
    """Run the command in a folder, and wait until none of its processes is left.

    Watching memory costs some of the time that is measured, so a run serves for one of the two. Its orphans become
    children of this process, which should have no others. Raises `FailedError`.
    """
    adopt_orphans()
    os.sync()
    with (folder / "output.log").open("w+b") as log:
        watcher = MemoryWatcher() if watch_memory else None
        start, busy = time.perf_counter(), _busy_seconds()
        variables = environment(command.environment)
        process = subprocess.Popen(command.arguments, cwd=folder, env=variables, stdout=log, stderr=log)
        code, usage = _wait(process.pid)
        seconds = time.perf_counter() - start
        process.returncode = code
        cpu, blocks = (sum(values) for values in zip(usage, *_orphans(), strict=True))
        foreign = (_busy_seconds() - busy - cpu) / (time.perf_counter() - start) / psutil.cpu_count()
        peak = watcher.stop() if watcher else 0
        if code:
            log.seek(0)
            end = b"".join(log.readlines()[-LINES_SHOWN:]).decode(errors="replace")
            raise FailedError(f"{' '.join(command.arguments)} ended with {code}:\n{end}")
    return Measured(seconds, cpu, peak, int(blocks) * BLOCK_BYTES, max(0.0, foreign))


def environment(own: Mapping[str, str]) -> dict[str, str]:
    """That of a measured process: modules of a checkout are compiled once, as installed ones are, whatever is set."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return inherited | dict(own)


def _busy_seconds() -> float:
    """CPU seconds that all processes of the machine have used, and that other machines have taken from it."""
    times = psutil.cpu_times()
    return times.user + times.system + times.irq + times.softirq + times.steal


def adopt_orphans() -> None:
    """Make processes whose parent ends the children of this one, so that none is missed."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def proportional_memory() -> int:
    """Bytes that all descendants of this process hold; what several share is divided among them (PSS)."""
    return sum(_pss(child.pid) for child in psutil.Process().children(recursive=True))


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


class MemoryWatcher:
    """Samples the memory of all descendants until it is stopped."""

    def __init__(self) -> None:
        self._peak = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()

    def stop(self) -> int:
        """The highest sample, in bytes."""
        self._stopped.set()
        self._thread.join()
        return self._peak

    def _sample(self) -> None:
        while not self._stopped.wait(SAMPLE_SECONDS):
            self._peak = max(self._peak, proportional_memory())


def _wait(pid: int) -> tuple[int, tuple[float, int]]:
    """The exit code of a child, and the CPU seconds and written blocks of it and of those it waited for."""
    _, status, usage = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), (usage.ru_utime + usage.ru_stime, usage.ru_oublock)


def _orphans() -> Iterator[tuple[float, int]]:
    """CPU seconds and written blocks of the processes that the command left behind, once they end."""
    while children := psutil.Process().children():
        yield from (_wait(child.pid)[1] for child in children)
