"""What a job's own process does: imports the job's code, calls it, and turns the end into an exit code.

Exit code 10 says that the job's result is there already (skipped), 4 of a condition that it is not true yet.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pinflow.errors import ExitCode
from pinflow.storage import explanation

SKIPPED = 10
RESULT_VARIABLE = "PINFLOW_RESULT"
ANEW_VARIABLE = "PINFLOW_ANEW"
"""1 in the environment of a job that somebody wants done again, also when its result is there."""


def perform(call: str, arguments: Mapping[str, Any]) -> int | None:
    """Call a job's function. What pinflow can explain gives a message and an exit code in place of a traceback."""
    try:
        code: int | None = _find(call)(**arguments)
    except Exception as error:
        return _told(error)
    return code


def ask(call: str, arguments: Mapping[str, Any]) -> int:
    """Call a condition's function."""
    try:
        return ExitCode.SUCCEEDED if _find(call)(**arguments) else ExitCode.INPUT_MISSING
    except Exception as error:
        return _told(error)


def execute(argv: Sequence[str]) -> int:
    """Become the program of a command; 127 if there is none."""
    try:
        os.execvp(argv[0], list(argv))
    except OSError as error:
        sys.stderr.write(f"cannot start {argv[0]!r}: {error}\n")
        return 127


def leave_result(values: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> None:
    """Leave JSON values for the one who started this job, under PINFLOW_RESULT; `reason` is shown with the job.

    Later values of the same name win. Does nothing outside of a run.
    """
    if path := environment.get(RESULT_VARIABLE):
        file = Path(path)
        old = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        file.write_text(json.dumps(old | dict(values)), encoding="utf-8")


def _told(error: Exception) -> int:
    """Say why the job ends, and give its exit code; raises the error when it cannot be explained."""
    known = explanation(error, "a file of the job")
    if known is None:
        raise error
    with suppress(OSError):  # what is full may be the disk of the log
        sys.stderr.write(f"{known}\n")
    with suppress(OSError):
        leave_result({"reason": str(known)})
    return int(known.exit_code)


def _find(call: str) -> Callable[..., Any]:
    module, _, name = call.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function
