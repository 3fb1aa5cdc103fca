"""Every error that pinflow raises on purpose; the command line turns each into one message and an exit code."""

from collections.abc import Iterable, Mapping
from enum import IntEnum


class ExitCode(IntEnum):
    """What the `pinflow` command returns to the shell."""

    SUCCEEDED = 0
    FAILED = 1
    USAGE = 2
    FATAL_ALERT = 3
    INPUT_MISSING = 4


class PinflowError(Exception):
    """Something went wrong that pinflow can explain.

    The text gives the bad value, what would be valid, and the next command to type.
    """

    exit_code = ExitCode.FAILED


class ConfigurationError(PinflowError):
    """The configuration or the command line cannot be used."""

    exit_code = ExitCode.USAGE


class UnknownNameError(ConfigurationError):
    """A name that nothing answers to.

    >>> str(UnknownNameError("workflow", "analitics", ["analytics"], "pinflow workflows"))
    "no workflow is called 'analitics'; did you mean 'analytics'? See: pinflow workflows"
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], command: str) -> None:
        from difflib import get_close_matches  # most commands end without an error

        names = sorted(known)
        close = get_close_matches(name, names, n=1)
        if close:
            hint = f"did you mean {close[0]!r}?"
        elif names:
            hint = f"known: {', '.join(names[:12])}{', …' if len(names) > 12 else ''}."
        else:
            hint = "there are none yet."
        super().__init__(f"no {kind} is called {name!r}; {hint} See: {command}")


class InputMissingError(PinflowError):
    """The input of the asked day is not there (yet)."""

    exit_code = ExitCode.INPUT_MISSING


class InputError(PinflowError):
    """An input file cannot be read the way its name says."""


class FatalAlertError(PinflowError):
    """A fatal rule fired: the job's data was not published."""

    exit_code = ExitCode.FATAL_ALERT


class LimitExceededError(FatalAlertError):
    """A count of a running job passed the maximum of a fatal rule; `counts` are the job's watched counts by then."""

    def __init__(self, message: str, counts: Mapping[str, int]) -> None:
        super().__init__(message)
        self.counts = dict(counts)


class StaleFenceError(PinflowError):
    """A later attempt has taken over: what this one wrote is refused."""


class AbortedError(PinflowError):
    """Somebody has aborted all runs of a workflow; none is made until that is undone."""

    def __init__(self, workflow: str, scope: str, author: str, reason: str) -> None:
        what, undo = ("all workflows", "--all") if scope == "all" else (workflow, f"--workflow {workflow}")
        super().__init__(
            f"{author} aborted the runs of {what}{f' ({reason})' if reason else ''}: none is started; undo it with: "
            f"pinflow resume {undo}"
        )


class OtherWorkError(PinflowError):
    """A run of the same day is under way that does other work, so that what was asked for cannot begin."""

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"the run {run_id} of that day is under way and does other work: its jobs or parameters differ; wait for "
            f"its end, see: pinflow show {run_id}, or end it with: pinflow abort {run_id}; then give the same again"
        )


class DrainedError(PinflowError):
    """A run was drained: what ran has ended, and nothing more starts."""

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"run {run_id} is drained: what ran has ended, and nothing more starts; see: pinflow signals. "
            "Undo it with pinflow resume, then give the same command again"
        )


class DamagedFileError(PinflowError):
    """A file that pinflow wrote itself is damaged or cut; the message names it."""
