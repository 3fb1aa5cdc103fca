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

from pinflow.errors import ConfigurationError, ExitCode
from pinflow.storage import explanation

SKIPPED = 10
RESULT_VARIABLE = "PINFLOW_RESULT"
GIVES_VARIABLE = "PINFLOW_GIVES"
"""The names of the values that a job declares, with commas between them."""
ANEW_VARIABLE = "PINFLOW_ANEW"
"""1 in the environment of a job that somebody wants done again, also when its result is there."""


def perform(call: str, arguments: Mapping[str, Any]) -> int | None:
    """Call a job's function; a dict that it returns has the values that the job gives.

    What pinflow can explain gives a message and an exit code in place of a traceback.
    """
    try:
        result = _find(call)(**arguments)
        if isinstance(result, dict):
            give(**result)
            return ExitCode.SUCCEEDED
    except Exception as error:
        return _told(error)
    code: int | None = result
    return code


def refuse(reason: str) -> int:
    """End a job that cannot be started, saying why."""
    return _told(ConfigurationError(reason))


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
        merged = old | dict(values)
        if "values" in old and "values" in values:
            merged["values"] = old["values"] | values["values"]
        file.write_text(json.dumps(merged), encoding="utf-8")


def give(**values: Any) -> None:
    """Hand values, JSON of the kinds that this job declares in `gives`, to the jobs after it that take them.

    They count when the attempt succeeds, or is skipped.
    """
    leave_result({"values": values})


def give_declared(environment: Mapping[str, str] = os.environ, **values: Any) -> None:
    """The same with those of the values that this job declares."""
    wanted = environment.get(GIVES_VARIABLE, "").split(",")
    if found := {name: value for name, value in values.items() if name in wanted}:
        give(**found)


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
