"""What a job's own process does: imports the job's code, calls it, and turns the end into an exit code.

Exit code 10 says that the job's result is there already (skipped), 4 of a condition that it is not true yet.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pinflow.errors import ExitCode, PinflowError

SKIPPED = 10
RESULT_VARIABLE = "PINFLOW_RESULT"


def perform(call: str, arguments: Mapping[str, Any]) -> int | None:
    """Call a job's function. A `PinflowError` gives its message and its exit code in place of a traceback."""
    try:
        code: int | None = _find(call)(**arguments)
    except PinflowError as error:
        sys.stderr.write(f"{error}\n")
        leave_result({"reason": str(error)})
        return int(error.exit_code)
    return code


def ask(call: str, arguments: Mapping[str, Any]) -> int:
    """Call a condition's function."""
    try:
        return ExitCode.SUCCEEDED if _find(call)(**arguments) else ExitCode.INPUT_MISSING
    except PinflowError as error:
        sys.stderr.write(f"{error}\n")
        leave_result({"reason": str(error)})
        return int(error.exit_code)


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


def _find(call: str) -> Callable[..., Any]:
    module, _, name = call.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function
