"""What the jobs of these tests do; each notes its effects in a file, one line each."""

import json
import os
import signal
import sys
import time
from pathlib import Path

from pinflow.errors import FatalAlertError, InputMissingError
from pinflow.scheduler.child import give, leave_result


def nothing() -> None:
    pass


def note(file: str, seconds: float = 0.0, code: int = 0) -> int:
    time.sleep(seconds)
    line = f"{os.environ['PINFLOW_JOB']} {os.environ['PINFLOW_FENCE']} {os.environ['PINFLOW_ATTEMPT']}\n"
    with Path(file).open("a", encoding="utf-8") as stream:
        stream.write(line)
    return code


def fail_first(file: str, times: int) -> int:
    note(file)
    return 7 if int(os.environ["PINFLOW_ATTEMPT"]) <= times else 0


def say_whether_imported(module: str) -> None:
    print(module in sys.modules)


def say(text: str) -> None:
    print(text)


def count(**values: object) -> dict[str, object]:
    return values


def skipped_with(rows: int) -> int:
    give(rows=rows)
    return 10


def show_taken(**values: object) -> None:
    print(json.dumps(values, sort_keys=True))


def raise_error(text: str) -> None:
    raise ValueError(text)


def fatal() -> None:
    raise FatalAlertError("rule bad_lines: 7 is above 3")


def missing() -> None:
    raise InputMissingError("no input for 2015-05-18")


def refused(number: int) -> None:
    raise OSError(number, os.strerror(number), "/data/x")


def skipped() -> int:
    leave_result({"reason": "published for the same input", "rows": 3})
    return 10


def die(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


def hang(file: str, deaf: bool = False) -> None:
    if deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note(file)
    time.sleep(60)


def exists(file: str) -> bool:
    return Path(file).exists()


def no_after(file: str, seconds: float) -> bool:
    """The answer of a condition that thinks for long; the file says that it was asked."""
    Path(file).touch()
    time.sleep(seconds)
    return False


def span(file: str, seconds: float) -> None:
    """Notes its start and its end, with the time."""
    for kind in ("start", "end"):
        names = [os.environ[f"PINFLOW_{name}"] for name in ("JOB", "ATTEMPT", "FENCE")]
        with Path(file).open("a", encoding="utf-8") as stream:
            stream.write(f"{names[0]} {kind} {names[1]} {names[2]} {time.time()}\n")
        if kind == "start":
            time.sleep(seconds)


def span_deaf(file: str, seconds: float) -> None:
    """The same, and does not listen to SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    span(file, seconds)


def kill_worker(file: str, seconds: float) -> None:
    """Kill the process that started this job's zygote: its worker."""
    parent = Path(f"/proc/{os.getppid()}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1]
    os.kill(int(parent), signal.SIGKILL)
    time.sleep(60)
