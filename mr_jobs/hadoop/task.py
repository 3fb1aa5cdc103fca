"""What a task runs on a node of the cluster: the job's class, over standard input and output.

Hadoop Streaming starts it with the job in the working folder. A task that fails leaves why in the job's folder, since
the logs of a node are out of the driver's reach.
"""

import json
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from pinflow.errors import ExitCode
from pinflow.mr_jobs.job import DatasetJob
from pinflow.mr_jobs.local_tasks import load_job
from pinflow.mr_jobs.native import INPUT_ROWS
from pinflow.mr_jobs.plain_input import counted, lines_of
from pinflow.storage import explanation, open_storage

INPUT_COUNTER = ("pinflow", INPUT_ROWS)
"""Hadoop's counter of the lines that a plain MRJob reads; pinflow's jobs count their rows themselves."""

DESCRIPTION = "pinflow-job.json"
FAILURES = "failures"
_PATIENCE_SECONDS = 20.0


@dataclass(frozen=True)
class Description:
    """What all tasks of a job know: the class, its arguments, and the job's folder in the cluster.

    For `expand` see `JobSpec`.
    """

    job: str
    arguments: list[str]
    folder: str
    expand: bool = False

    def to_json(self) -> bytes:
        """The content of the file that travels with the job."""
        return json.dumps(asdict(self)).encode()


@dataclass(frozen=True)
class Failure:
    """Why a task attempt failed: `code` is its exit code, `text` one line, `trace` Python's traceback."""

    attempt: str
    code: int
    text: str
    trace: str = ""


def main(arguments: Sequence[str]) -> int:
    """Run one task: `mapper`, `combiner` or `reducer`, and the number of the step."""
    kind, step = arguments
    described = Description(**json.loads(Path(DESCRIPTION).read_bytes()))
    try:
        job = load_job(described.job)([*described.arguments, f"--{kind}", f"--step-num={step}"])
        if (kind, step) == ("mapper", "0") and not isinstance(job, DatasetJob):
            lines = lines_of(sys.stdin.buffer) if described.expand else sys.stdin.buffer
            source = counted(lines, lambda number: job.increment_counter(*INPUT_COUNTER, number))
            job.sandbox(stdin=source, stdout=sys.stdout.buffer, stderr=sys.stderr.buffer)
        job.execute()
        sys.stdout.flush()
    except Exception as error:
        return _told(error, described.folder)
    return 0


def _told(error: Exception, folder: str) -> int:
    traceback.print_exc()
    known = explanation(error, "a file of the task")
    failure = Failure(
        attempt=os.environ["mapreduce_task_attempt_id"],
        code=int(known.exit_code if known else ExitCode.FAILED),
        text=str(known) if known else f"{type(error).__name__}: {error}",
        trace="" if known else traceback.format_exc(),
    )
    with suppress(Exception):  # it is not to hide what went wrong
        storage = open_storage(folder, patience=_PATIENCE_SECONDS)
        storage.write_bytes(f"{folder}/{FAILURES}/{failure.attempt}.json", json.dumps(asdict(failure)).encode())
    return failure.code
