"""The `hadoop jar` process of one step: what it prints, and the end of its YARN application."""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TextIO

_APPLICATION = re.compile(r"\bapplication_\d+_\d+\b")
_TRACKING = re.compile(r"The url to track the job: (\S+)")
_ATTEMPT_FAILED = re.compile(r"Task Id : (attempt_\w+), Status : FAILED")
_COUNTERS = re.compile(r"Counters: \d+$")
_GROUP = re.compile(r"\t(\S.*?)\s*$")
_COUNTER = re.compile(r"\t\t(.+)=(\d+)$")
_TAIL = 40
_END_SECONDS = 60.0


@dataclass
class Told:
    """What the client has said so far; counters are named `GROUP/NAME`. `place` is where to look, for people."""

    application: str = ""
    place: str = ""
    counters: dict[str, int] = field(default_factory=dict)
    failed_attempts: list[str] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)
    on_application: Callable[[str], None] = lambda _: None


class Aborted(BaseException):
    """The driver was asked to end."""


def run(command: Sequence[str], environment: Mapping[str, str], log: TextIO, told: Told, yarn: Sequence[str]) -> int:
    """Run the client to its end and write what it says to `log` as it comes; gives its exit code.

    When anything ends it early, such as `ended_by_signal`, the YARN application is killed.
    """
    with subprocess.Popen(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        try:
            for line in _without_counters(process.stdout, told):
                _take_in(line, told)
                log.write(line)
                log.flush()
        except BaseException:
            process.kill()
            for line in process.stdout:
                _take_in(line, told)
            kill(told.application, yarn, environment)
            raise
    return process.returncode


def kill(application: str, yarn: Sequence[str], environment: Mapping[str, str]) -> None:
    """End a YARN application, in a session of its own: the killing goes on when this process is killed itself."""
    if not application:
        return
    with (
        suppress(subprocess.TimeoutExpired),
        subprocess.Popen(
            [*yarn, "application", "-kill", application],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process,
    ):
        process.wait(_END_SECONDS)


@contextmanager
def ended_by_signal() -> Iterator[None]:
    """SIGTERM raises `Aborted` within; once that has left the block, it ends the process as ever."""

    def raise_aborted(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Aborted

    before = signal.signal(signal.SIGTERM, raise_aborted)
    try:
        yield
    except Aborted:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def _take_in(line: str, told: Told) -> None:
    told.tail = [*told.tail[1 - _TAIL :], line.rstrip()]
    if not told.application and (found := _APPLICATION.search(line)):
        told.application = found[0]
        told.place = f"YARN application: {found[0]}"
        told.on_application(found[0])
    if found := _TRACKING.search(line):
        told.place = f"YARN application: {found[1]}"
    if found := _ATTEMPT_FAILED.search(line):
        told.failed_attempts.append(found[1])


def _without_counters(lines: Iterator[str], told: Told) -> Iterator[str]:
    """All lines but those of the final counters, which go to `told`: a heading, groups, and names with values."""
    group = ""
    in_counters = False
    for line in lines:
        text = line.rstrip("\n")
        if in_counters and (found := _COUNTER.fullmatch(text)):
            told.counters[f"{group}/{found[1]}"] = int(found[2])
        elif in_counters and (found := _GROUP.fullmatch(text)):
            group = found[1]
        else:
            in_counters = bool(_COUNTERS.search(text))
            yield line
