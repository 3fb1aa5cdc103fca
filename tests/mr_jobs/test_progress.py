"""Counts of running jobs: reported by tasks, added up once each, and stopped at their maximum."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import polars as pl
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinflow.errors import LimitExceededError
from pinflow.mr_jobs.launch import JobOutput, launch
from pinflow.mr_jobs.local_plan import SMALL_BATCH_BYTES
from pinflow.mr_jobs.progress import Reports, Watch
from pinflow.mr_jobs.spec import JobSpec
from pinflow.stats_engine.engine import StatsEngine
from pinflow.zygote import Zygote
from tests.mr_jobs.sample_jobs import DIE_ONCE

TEXT = ["a b c", "a", "b b", "c a b c"]
LONGEST_SECONDS = 20
"""The jobs would run for a minute; a loaded machine gets some of it to stop them."""


@pytest.fixture(scope="module", autouse=True)
def zygote() -> Iterator[Zygote]:
    with Zygote.start(["polars", "pinflow.mr_jobs.local_tasks"]) as running:
        yield running


def run(folder: Path, job: str, lines: list[str], maxima: dict[str, float], **variables: str) -> JobOutput:
    weighed = tuple((line, SMALL_BATCH_BYTES) for line in lines)
    name = f"tests.mr_jobs.sample_jobs:{job}"
    spec = JobSpec(name, ("--to=parquet",), weighed, str(folder / "_attempt-1"), buckets=4, slots=2, maxima=maxima)
    return launch(spec, "local", {**os.environ, **variables})


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = [tmp_path / f"{number}.parquet" for number in range(2)]
    for path in paths:
        pl.DataFrame({"key": ["a", "b", "c", "d"], "value": [1, 2, 3, 4]}).write_parquet(path)
    return [str(path) for path in paths]


@pytest.mark.parametrize("stage", ["map", "reduce"])
def test_a_job_that_would_run_for_a_minute_is_stopped(tmp_path: Path, files: list[str], stage: str) -> None:
    traces = tmp_path / "traces"
    traces.mkdir()
    variables = {"SAMPLE_TRACES": str(traces)} | ({"SAMPLE_REDUCES": "1"} if stage == "reduce" else {})
    started = time.monotonic()
    with pytest.raises(
        LimitExceededError, match=r"stopped while it ran: steps is \d+, above its maximum 1500"
    ) as caught:
        run(tmp_path, "Endless", files, {"steps": 1500, "output_rows": 1e9}, **variables)
    assert time.monotonic() - started < LONGEST_SECONDS
    # no task alone had passed it when the sum did; at most a thousand steps are done in a second by each of the two
    assert 1500 < caught.value.counts["steps"] < 1500 + 2 * 1000 * LONGEST_SECONDS
    pids = [int(path.name) for path in traces.iterdir()]
    assert len(pids) == 2
    for pid in pids:
        with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
            psutil.Process(pid).wait(timeout=5)
    assert not any(psutil.pid_exists(pid) for pid in pids)


@pytest.mark.parametrize(
    ("maxima", "passed"),
    [
        ({"words_read": 9}, "words_read"),
        ({"lines_read": 3, "words_read": 99}, "lines_read"),
        ({"words_read": 10, "words_kept": 3, "lines_read": 4, "output_rows": 3, "bad": 0}, None),
    ],
)
def test_maxima_are_those_of_all_tasks_together(tmp_path: Path, maxima: dict[str, float], passed: str | None) -> None:
    """Ten words in four lines, three of them different, over two map and two reduce tasks."""
    if passed is None:
        assert run(tmp_path, "WordRows", TEXT, maxima).statistics.counts["words_read"] == 10
        return
    with pytest.raises(LimitExceededError, match=f"{passed} is {maxima[passed] + 1:.0f}, above") as caught:
        run(tmp_path, "WordRows", TEXT, maxima)
    assert caught.value.counts[passed] == maxima[passed] + 1


def test_what_has_ended_is_judged_as_a_whole(tmp_path: Path, files: list[str]) -> None:
    """One task, which is over before anybody looks: the rules see all of its statistics, not a part."""
    name, lines, maxima = "tests.mr_jobs.sample_jobs:Doubled", ((files[0], 1),), {"rows_read": 1}
    spec = JobSpec(name, ("--to=parquet",), lines, str(tmp_path / "_attempt-1"), maxima=maxima)
    counts = launch(spec, "inline", os.environ).statistics.counts
    assert (counts["rows_read"], counts["output_rows"]) == (4, 4)


def test_a_task_that_is_tried_again_is_counted_once(tmp_path: Path) -> None:
    output = run(tmp_path, "WordRows", TEXT, {"words_read": 10, "lines_read": 4}, **{DIE_ONCE: str(tmp_path / "died")})
    assert (tmp_path / "died").exists()
    assert output.statistics.counts["words_read"] == 10


def test_input_that_is_too_large_is_not_even_read(tmp_path: Path) -> None:
    with pytest.raises(LimitExceededError, match="input_bytes is"):
        run(tmp_path, "Suicidal", TEXT, {"input_bytes": 3 * SMALL_BATCH_BYTES})


def test_nothing_is_watched_without_maxima(tmp_path: Path) -> None:
    assert Watch({}).variables == {}
    stats = StatsEngine()
    reports = Reports((), stats, lambda _: pytest.fail("told"))
    assert not reports._thread.is_alive()
    reports.close()


def test_what_was_counted_before_a_reset_still_counts() -> None:
    told: list[dict[str, int]] = []
    stats = StatsEngine()
    reports = Reports(("a", "b"), stats, lambda counts: told.append(dict(counts)))
    stats.incr_count("a", 3)
    reports.reset()
    stats.incr_count("a", 4)
    stats.note_passing("b", 2)
    reports.close()
    assert told[-1] == {"a": 7, "b": 2}
    assert stats.statistics().counts == {"a": 4}


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.one_of(st.none(), st.integers(0, 5))),
        max_size=30,
    ),
    st.integers(0, 60),
)
def test_a_watch_stops_exactly_when_the_sum_of_what_counts_passes(
    events: list[tuple[int, int | None]], most: int
) -> None:
    """Each event is a task that tells that it has counted more, or that is tried again (None)."""
    watch, sums = Watch({"n": most}), dict.fromkeys(range(4), 0)
    for task, more in events:
        sums[task] = 0 if more is None else sums[task] + more
        counts = {} if more is None else {"n": sums[task]}
        watch.take(task, counts)
        if sum(sums.values()) > most:
            with pytest.raises(LimitExceededError) as caught:
                watch.check()
            assert caught.value.counts == {"n": sum(sums.values())}
            return
        watch.check()
