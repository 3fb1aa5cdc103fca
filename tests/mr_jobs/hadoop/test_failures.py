import json
from pathlib import Path

import pytest

from pinflow.errors import ConfigurationError, ExitCode, FatalAlertError, PinflowError
from pinflow.mr_jobs.hadoop.client import Told
from pinflow.mr_jobs.hadoop.failures import error_of, failure_of, was_away
from pinflow.mr_jobs.hadoop.task import Failure
from pinflow.storage import open_storage

PAGE = "http://rm:8088/proxy/application_1_2/"
FIRST = Failure("attempt_1_2_m_000000_0", 1, "RuntimeError: first", "Traceback …")
LAST = Failure("attempt_1_2_r_000001_3", int(ExitCode.FATAL_ALERT), "too many bad lines")


def told(*attempts: str, tail: tuple[str, ...] = ()) -> Told:
    return Told(
        application="application_1_2",
        place=f"YARN application: {PAGE}",
        failed_attempts=list(attempts),
        tail=list(tail),
    )


def left(folder: Path, *failures: Failure) -> Failure | None:
    (folder / "failures").mkdir()
    for failure in failures:
        (folder / "failures" / f"{failure.attempt}.json").write_text(json.dumps(vars(failure)))
    return failure_of(
        told(FIRST.attempt, LAST.attempt, "attempt_1_2_m_000009_0"), open_storage(str(folder)), str(folder)
    )


def test_the_last_attempt_that_hadoop_tells_of_counts(tmp_path: Path) -> None:
    assert left(tmp_path, LAST, FIRST) == LAST


def test_there_may_be_none(tmp_path: Path) -> None:
    assert left(tmp_path) is None


def test_the_error_is_of_the_tasks_kind_and_names_the_page() -> None:
    error = error_of("acme:Job", told(), LAST, 1)
    assert type(error) is FatalAlertError
    assert str(error) == (
        f"reduce task {LAST.attempt} of acme:Job failed: too many bad lines. Its YARN application: {PAGE}"
    )


def test_a_traceback_is_told_of() -> None:
    error = error_of("acme:Job", told(), FIRST, 1)
    assert type(error) is PinflowError
    assert "RuntimeError: first; its traceback stands in the job's log" in str(error)


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        (
            'Caused by: java.io.IOException: Cannot run program "python3.11": error=2',
            ConfigurationError,
            "no python3.11",
        ),
        ("PipeMapRed.waitOutputThreads(): subprocess failed with code 97", ConfigurationError, "another minor version"),
        ("PipeMapRed.waitOutputThreads(): subprocess failed with code 137", PinflowError, "killed by signal 9"),
        ("ERROR streaming.StreamJob: Error Launching job : Output directory exists", PinflowError, "directory exists"),
        ("nothing of use", PinflowError, "ended with code 5"),
    ],
)
def test_without_a_tasks_words_the_client_is_understood(line: str, kind: type[PinflowError], words: str) -> None:
    error = error_of("acme:Job", told(tail=("before", line)), None, 5)
    assert type(error) is kind
    assert words in str(error)
    assert str(error).endswith(PAGE)


@pytest.mark.parametrize(
    ("line", "is_away"),
    [
        ("Error: java.net.ConnectException: Call From a/1.2.3.4 to nn:8020 failed on connection exception", True),
        ("Caused by: java.net.SocketException: Connection reset", True),
        ("Error: org.apache.hadoop.hdfs.server.namenode.SafeModeException: Cannot create file", True),
        ("Error: java.lang.RuntimeException: PipeMapRed.waitOutputThreads(): subprocess failed with code 1", False),
    ],
)
def test_a_hadoop_that_was_away_is_told_from_a_job_that_fails(line: str, is_away: bool) -> None:
    assert was_away(told(tail=("Job job_1_2 failed", line, "Streaming Command Failed!"))) is is_away
