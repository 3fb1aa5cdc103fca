"""Why a job on Hadoop failed: what its tasks left, else what Hadoop's client said."""

import json
import re
from collections.abc import Sequence

from pinflow.errors import ConfigurationError, FatalAlertError, InputMissingError, PinflowError
from pinflow.mr_jobs.hadoop.client import Told
from pinflow.mr_jobs.hadoop.start import WRONG_PYTHON
from pinflow.mr_jobs.hadoop.streaming import PYTHON
from pinflow.mr_jobs.hadoop.task import FAILURES, Failure
from pinflow.storage import Storage

_KINDS: dict[int, type[PinflowError]] = {
    int(kind.exit_code): kind for kind in (ConfigurationError, FatalAlertError, InputMissingError)
}
_CODE = re.compile(r"subprocess failed with code (\d+)")
_NO_PROGRAM = re.compile(r'Cannot run program "([^"]+)"')
_KILLED_BY_SIGNAL = range(129, 160)
_AWAY = re.compile(
    r"java\.net\.\w+Exception|java\.io\.EOFException|ClosedChannelException|Connection refused|Connection reset"
    r"|SafeModeException|StandbyException|RetriableException|could only be written to 0 of the"
)

_TASKS_FAILED = "Job failed as tasks failed"


def failure_of(told: Told, storage: Storage, folder: str) -> Failure | None:
    """What the task that made the job fail left below the job's folder, None when none could."""
    found = []
    for entry in storage.list(f"{folder}/{FAILURES}"):
        found.append(Failure(**json.loads(storage.read_bytes(entry.path))))
    by_attempt = {failure.attempt: failure for failure in found}
    told_of = [attempt for attempt in told.failed_attempts if attempt in by_attempt]
    return by_attempt[told_of[-1]] if told_of else found[-1] if found else None


def was_away(told: Told) -> bool:
    """Whether a step failed because Hadoop's own servers did not answer, or had only just started."""
    return any(_AWAY.search(line) for line in told.tail)


def was_wordless(told: Told, storage: Storage, folder: str) -> bool:
    """Whether tasks of a step failed, and neither they nor the client say why.

    A NodeManager that starts anew removes the files of what still runs on its node; small jobs, whose tasks run inside
    the application master, fail then.
    """
    have_failed = any(_TASKS_FAILED in line for line in told.tail)
    return have_failed and not told.failed_attempts and failure_of(told, storage, folder) is None


def error_of(job: str, told: Told, failure: Failure | None, code: int) -> PinflowError:
    """The error that tells why the job failed, and where to look: the address of YARN's page about it."""
    where = f". Its {told.place}" if told.place else ""
    if failure is None:
        kind, reason = _from_client(told.tail, code)
        return kind(f"{job} failed: {reason}{where}")
    task = "reduce" if "_r_" in failure.attempt else "map"
    more = "; its traceback stands in the job's log" if failure.trace else ""
    kind = _KINDS.get(failure.code, PinflowError)
    return kind(f"{task} task {failure.attempt} of {job} failed: {failure.text}{more}{where}")


def _from_client(tail: Sequence[str], code: int) -> tuple[type[PinflowError], str]:
    text = "\n".join(tail)
    if found := _NO_PROGRAM.search(text):
        return ConfigurationError, (
            f"a node of the cluster has no {found[1]}; install Python {PYTHON} on the nodes, or name its place with "
            "python_bin in mrjob.conf"
        )
    codes = [int(number) for number in _CODE.findall(text)]
    if codes and codes[-1] == WRONG_PYTHON:
        return ConfigurationError, (
            f"the Python of a node has another minor version than the {PYTHON} of this machine, with which the job was "
            "packed; name the right one with python_bin in mrjob.conf"
        )
    if codes and codes[-1] in _KILLED_BY_SIGNAL:
        return PinflowError, (
            f"a task was killed by signal {codes[-1] - 128}; when its memory did not suffice, raise "
            "mapreduce.map.memory.mb and mapreduce.reduce.memory.mb in mrjob.conf"
        )
    said = [line for line in tail if re.search(r"Error|Exception|failed|killed", line) and not line.startswith("\tat ")]
    return PinflowError, said[-1].strip() if said else f"Hadoop's client ended with code {code}; see the job's log"
