import errno
import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest

from pinflow.errors import ConfigurationError, PinflowError
from pinflow.mr_jobs.clustering import bucket_of
from pinflow.mr_jobs.launch import JobOutput, launch
from pinflow.mr_jobs.local_plan import SMALL_BATCH_BYTES, least_buckets
from pinflow.mr_jobs.local_runner import MAX_ATTEMPTS
from pinflow.mr_jobs.spec import JobSpec
from pinflow.stats_engine.shards import decode
from pinflow.zygote import Zygote
from tests.mr_jobs.sample_jobs import DIE_ONCE

JOBS = "tests.mr_jobs.sample_jobs"
TEXT = [" ".join(f"w{(line * 7 + n) % (line % 5 + 3)}" for n in range(line % 6)) for line in range(40)]
WORDS = Counter(word for line in TEXT for word in line.split())
ROWS = [[(f"k{(file + n) % 9}", n * 3 - file) for n in range(file * 10)] for file in range(6)]
EVERY_ROW = [row for rows in ROWS for row in rows]
RUNNERS = pytest.mark.parametrize("runner", ["inline", "local"])
SLOTS = pytest.mark.parametrize("slots", [1, 2, 3])


@pytest.fixture(scope="module", autouse=True)
def zygote() -> Iterator[Zygote]:
    with Zygote.start(["polars", "pinflow.mr_jobs.local_tasks"]) as running:
        yield running


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Parquet files of keys and values."""
    paths = [tmp_path / f"{number}.parquet" for number in range(len(ROWS))]
    for path, rows in zip(paths, ROWS, strict=True):
        pl.DataFrame(rows, schema={"key": pl.String, "value": pl.Int64}, orient="row").write_parquet(path)
    return [str(path) for path in paths]


def run(
    folder: Path, job: str, lines: list[str], runner: str = "local", *, slots: int = 1, **variables: str
) -> JobOutput:
    """Run a sample job; every input line weighs as much as a task, so there are as many map tasks as slots."""
    arguments = () if job in ("WordsByCount", "CountingCombiner") else ("--to=parquet",)
    weighed = tuple((line, SMALL_BATCH_BYTES) for line in lines)
    name = f"{JOBS}:{job}"
    output = folder / f"_attempt-{job}-{runner}-{slots}"
    spec = JobSpec(name, arguments, weighed, str(output), buckets=4, slots=slots, memory=1 << 30)
    return launch(spec, runner, {**os.environ, **variables})


def rows(folder: Path) -> list[tuple[object, ...]]:
    frames = [pl.read_parquet(path) for path in sorted(folder.glob("_attempt-*/part-*.parquet"))]
    return sorted(pl.concat(frames).rows())


def lines(folder: Path) -> list[list[object]]:
    files = sorted(folder.glob("_attempt-*/part-*"))
    pairs = [line.split("\t") for file in files for line in file.read_text().splitlines()]
    return sorted([json.loads(key), json.loads(value)] for key, value in pairs)


def counts(output: JobOutput) -> dict[str, int]:
    """What the job counted itself, and its rows."""
    other = ("_bytes", "input_rows", "lost_attempts")
    return {name: n for name, n in output.statistics.counts.items() if not name.endswith(other)}


def totals() -> list[tuple[str, int, int]]:
    values = defaultdict(list)
    for key, value in EVERY_ROW:
        values[key].append(value)
    return sorted((key, sum(some), len(some)) for key, some in values.items())


@RUNNERS
@SLOTS
@pytest.mark.parametrize("job", ["Totals", "TotalsOfTables"])
def test_a_batch_job(tmp_path: Path, files: list[str], job: str, runner: str, slots: int) -> None:
    output = run(tmp_path, job, files, runner, slots=slots)
    assert rows(tmp_path) == totals()
    assert counts(output) == {"rows_read": 150, "keys": 9, "output_rows": 9}
    histogram = output.statistics.histograms["value"]
    values = [value for _, value in EVERY_ROW]
    assert (histogram.count, histogram.lowest, histogram.highest) == (150, min(values), max(values))
    assert {part.bucket for part in output.parts} <= set(range(4))


@RUNNERS
@SLOTS
def test_a_batch_job_of_maps_alone(tmp_path: Path, files: list[str], runner: str, slots: int) -> None:
    output = run(tmp_path, "Doubled", files, runner, slots=slots)
    assert rows(tmp_path) == sorted((key, 2 * value) for key, value in EVERY_ROW)
    assert counts(output) == {"rows_read": 150, "output_rows": 150}


@RUNNERS
@SLOTS
def test_a_record_job(tmp_path: Path, runner: str, slots: int) -> None:
    output = run(tmp_path, "WordRows", TEXT, runner, slots=slots)
    assert rows(tmp_path) == sorted(WORDS.items())
    different = len(WORDS)
    wanted = {"lines_read": 40, "words_read": WORDS.total(), "words_kept": different, "output_rows": different}
    assert counts(output) == wanted


@RUNNERS
@SLOTS
def test_each_step_of_a_record_job_has_statistics(tmp_path: Path, runner: str, slots: int) -> None:
    numbers = [number % 11 for number in range(33)]
    output = run(tmp_path, "Halvings", [str(number) for number in numbers], runner, slots=slots)
    # three of each: 10 -> 5, 9 8 -> 4, 7 6 -> 3, 5 4 -> 2, 3 2 -> 1; then 5 4 4 -> 2, 3 3 2 2 -> 1
    assert rows(tmp_path) == [(1, 12), (2, 9)]
    own = [{n: step.counts[n] for n in ("seen", "values") if n in step.counts} for step in output.steps]
    assert own == [{"seen": 33, "values": 11}, {"values": 5}, {"seen": 4, "values": 2}]
    assert [item for item, _ in output.steps[0].items["ranks"].top] == ["10", "9"]
    assert [item for item, _ in output.steps[1].items["ranks"].top] == ["5", "4"]
    assert [output.steps[n].histograms["rank"].count for n in (0, 1)] == [11, 5]
    assert "ranks" not in output.steps[2].items
    assert "combined" not in output.steps[1].counts
    total = output.statistics
    assert (total.counts["seen"], total.counts["values"]) == (37, 18)
    assert total.histograms["rank"].count == 16
    assert total.sums["cpu_seconds"] == pytest.approx(sum(step.sums["cpu_seconds"] for step in output.steps))
    assert total.sums["seconds"] >= sum(step.sums["seconds"] for step in output.steps)
    assert total.histograms["task_seconds"].count == sum(s.histograms["task_seconds"].count for s in output.steps)
    [folder] = tmp_path.glob("_attempt-*")
    for number, step in enumerate(output.steps, start=1):
        stored = folder / f"_stats/job.step-{number}.thrift.gz"
        assert decode(stored.read_bytes(), "step").counts == step.counts


def test_the_steps_of_a_job_with_a_lost_task_are_counted_once(tmp_path: Path) -> None:
    numbers = [str(number) for number in range(11)]
    output = run(tmp_path, "Halvings", numbers, slots=2, **{DIE_ONCE: str(tmp_path / "died")})
    assert [step.counts.get("values") for step in output.steps] == [11, 5, 2]
    assert [step.counts.get("lost_attempts") for step in output.steps] == [1, None, None]


@RUNNERS
def test_keys_like_those_of_statistics_are_keys(tmp_path: Path, runner: str) -> None:
    words = ["\0statistics", "\0\0statistics", "\0", "statistics"]
    output = run(tmp_path, "WordRows", [" ".join(words), words[0]], runner)
    assert rows(tmp_path) == sorted(Counter([*words, words[0]]).items())
    assert counts(output) == {"lines_read": 2, "words_read": 5, "words_kept": 4, "output_rows": 4}


def words_by_count() -> list[list[object]]:
    groups: dict[int, list[str]] = defaultdict(list)
    for word, n in WORDS.items():
        groups[n].append(word)
    return sorted([n, sorted(words)] for n, words in groups.items())


@RUNNERS
@SLOTS
def test_a_plain_mrjob_job(tmp_path: Path, runner: str, slots: int) -> None:
    output = run(tmp_path, "WordsByCount", TEXT, runner, slots=slots)
    assert lines(tmp_path) == words_by_count()
    different = {"text/counts": len(words_by_count()), "text/different words": len(WORDS)}
    steps = [{n: c for n, c in step.counts.items() if n.startswith("text/")} for step in output.steps]
    assert steps == [{"text/lines": 40, "text/words": WORDS.total()}, different]
    assert counts(output) == {
        "text/lines": 40,
        "text/words": WORDS.total(),
        "text/different words": len(WORDS),
        "text/counts": len(set(WORDS.values())),
        "output_rows": len(set(WORDS.values())),
    }


@RUNNERS
def test_counters_of_a_combiner_count(tmp_path: Path, runner: str) -> None:
    output = run(tmp_path, "CountingCombiner", ["a", "b", "a"], runner)
    assert lines(tmp_path) == [["a", 2], ["b", 1]]
    assert counts(output) == {"text/combined": 2, "output_rows": 2}


@pytest.mark.parametrize("job", ["Totals", "Doubled", "WordRows", "WordsByCount"])
def test_a_killed_task_is_tried_again_and_counted_once(tmp_path: Path, files: list[str], job: str) -> None:
    given = files if job in ("Totals", "Doubled") else TEXT
    undisturbed = run(tmp_path / "undisturbed", job, given, slots=2)
    disturbed = run(tmp_path / "disturbed", job, given, slots=2, **{DIE_ONCE: str(tmp_path / "died")})
    assert (tmp_path / "died").exists()
    assert counts(disturbed) == counts(undisturbed)
    assert disturbed.usage.tasks == undisturbed.usage.tasks + 1
    read = lines if job == "WordsByCount" else rows
    assert read(tmp_path / "disturbed") == read(tmp_path / "undisturbed")


def test_a_task_killed_while_writing_leaves_nothing_behind(tmp_path: Path, files: list[str]) -> None:
    output = run(tmp_path, "HalfWritten", files, slots=2, **{DIE_ONCE: str(tmp_path / "died")})
    assert (tmp_path / "died").exists()
    assert rows(tmp_path) == totals()
    assert counts(output) == {"rows_read": 150, "keys": 9, "output_rows": 9}


@pytest.fixture
def small(tmp_path: Path) -> str:
    """A file of all rows, as small as the input of a task."""
    file = tmp_path / "small.parquet"
    pl.DataFrame(EVERY_ROW, schema={"key": pl.String, "value": pl.Int64}, orient="row").write_parquet(file)
    return str(file)


def test_a_small_job_has_its_tasks_in_its_own_process(tmp_path: Path, small: str) -> None:
    traces = tmp_path / "traces"
    output = run(tmp_path, "Telling", [small], SAMPLE_TRACES=str(traces))
    assert rows(tmp_path) == totals()
    assert counts(output) == {"rows_read": 150, "keys": 9, "output_rows": 9}
    assert output.statistics.histograms["value"].count == 150
    assert output.usage.tasks == 2
    mapped, *reduced = [json.loads(line) for line in traces.read_text().splitlines()]
    assert {told["process"] for told in (mapped, *reduced)} == {os.getpid()}
    assert (mapped["ismap"], {told["ismap"] for told in reduced}) == ("true", {"false"})
    for told, letter in ((mapped, "m"), (reduced[0], "r")):
        assert told["partition"] == "0"
        assert told["attempt_id"].endswith(f"_0000_{letter}_000000_0")
        assert Path(told["output_dir"]).name == told["attempt_id"]


@pytest.mark.parametrize(
    ("job", "told"),
    [
        ("Leaving", "cannot read what a map task left"),
        ("Hungry", "reduce task 0 of .*: MemoryError"),
    ],
)
def test_a_small_job_that_ends_early_fails(tmp_path: Path, small: str, job: str, told: str) -> None:
    with pytest.raises(PinflowError, match=told):
        run(tmp_path, job, [small])


def test_what_a_small_job_forks_ends_by_itself(tmp_path: Path, small: str) -> None:
    output = run(tmp_path, "Forking", [small])
    assert rows(tmp_path) == totals()
    assert counts(output) == {"rows_read": 150, "keys": 9, "output_rows": 9, "ended with 3": 1}


def test_a_task_that_leaves_no_statistics_fails_the_job(tmp_path: Path) -> None:
    with pytest.raises(PinflowError, match=r"step 1 task 0 of .*Vanishing ended without its statistics"):
        run(tmp_path, "Vanishing", TEXT)


def test_a_task_killed_in_every_attempt_fails_the_job(tmp_path: Path) -> None:
    (tmp_path / "traces").mkdir()
    with pytest.raises(PinflowError, match="killed by signal 9 in each of 4 attempts"):
        run(tmp_path, "Suicidal", ["a"], SAMPLE_TRACES=str(tmp_path / "traces"))
    assert len(list((tmp_path / "traces").iterdir())) == MAX_ATTEMPTS


def test_a_failing_task_fails_the_job(tmp_path: Path) -> None:
    told = r"task 0 of tests\.mr_jobs\.sample_jobs:Broken failed: RuntimeError: broken on purpose; its traceback stands"
    with pytest.raises(PinflowError, match=told):
        run(tmp_path, "Broken", TEXT)
    assert list(tmp_path.glob("_attempt-*/part-*")) == []


@RUNNERS
@pytest.mark.parametrize(
    ("name", "code"), [("InputError", 1), ("ConfigurationError", 2), ("FatalAlertError", 3), ("InputMissingError", 4)]
)
def test_the_error_of_a_task_is_that_of_the_job(tmp_path: Path, runner: str, name: str, code: int) -> None:
    with pytest.raises(PinflowError, match=r"map task 0 of .*:Refusing failed: too much$") as caught:
        run(tmp_path, "Refusing", TEXT, runner, SAMPLE_ERROR=name)
    assert caught.value.exit_code == code


def test_no_traceback_is_spoken_of_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(PinflowError, match="failed with exit code 7") as caught:
        run(tmp_path, "Quitting", TEXT)
    assert "traceback" not in str(caught.value)


@RUNNERS
@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "the disk is full; .*pinflow clean"),
        (errno.EDQUOT, "the disk is full; .*pinflow clean"),
        (errno.EACCES, "Permission denied; give the user"),
        (errno.EROFS, "Read-only file system; give the user"),
    ],
)
def test_what_the_system_refuses_a_task_is_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], runner: str, code: int, advice: str
) -> None:
    with pytest.raises(PinflowError, match=rf"failed: cannot use {tmp_path}/_attempt-Stopped.*: {advice}"):
        run(tmp_path, "Stopped", TEXT, runner, SAMPLE_ERRNO=str(code))
    written = "".join(capfd.readouterr())
    assert "error: cannot use" in written
    assert "Traceback" not in written


@pytest.mark.parametrize("job", ["Totals", "Doubled", "WordRows", "WordsByCount"])
def test_a_full_disk_is_told(
    tmp_path: Path, disk_of: Callable[[str], Path], capfd: pytest.CaptureFixture[str], job: str
) -> None:
    file = tmp_path / "many.parquet"
    pl.DataFrame({"key": [f"k{n * n}" for n in range(60_000)], "value": range(60_000)}).write_parquet(file)
    text = [str(file)] if job in ("Totals", "Doubled") else [" ".join(f"w{n}" for n in range(20_000))]
    disk = disk_of("100k")
    with pytest.raises(PinflowError, match=rf"map task 0 of .* failed: cannot write {disk}/.*: the disk is full; "):
        run(disk, job, text)
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_disk_that_is_full_before_a_task_starts_is_told(tmp_path: Path, disk_of: Callable[[str], Path]) -> None:
    disk = disk_of("64k")
    with (disk / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"0" * 4096):
            pass
    with pytest.raises(PinflowError, match=rf"cannot write {disk}/.*: the disk is full; "):
        run(disk, "WordRows", TEXT)


def test_an_unknown_job_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="sample_jobs:Nothing"):
        run(tmp_path, "Nothing", TEXT)


def test_the_merged_statistics_lie_beside_the_output(tmp_path: Path) -> None:
    output = run(tmp_path, "WordRows", TEXT, slots=2)
    [shard] = tmp_path.glob("_attempt-*/_stats/job.thrift.gz")
    assert decode(shard.read_bytes(), str(shard)).counts == output.statistics.counts
    assert list(tmp_path.glob("_attempt-*/_temporary")) == []


@pytest.mark.parametrize("buckets", [1, 4])
def test_buckets_are_written_as_finer_ones(tmp_path: Path, buckets: int) -> None:
    frame = pl.DataFrame({"key": [f"k{n}" for n in range(100)], "value": range(100)})
    frame.write_parquet(tmp_path / "given.parquet")
    arguments, lines = ("--to=parquet", "--finer=4"), ((str(tmp_path / "given.parquet"), 1),)
    spec = JobSpec(f"{JOBS}:Totals", arguments, lines, str(tmp_path / "_attempt-1"), buckets=buckets)
    parts = launch(spec, "inline", os.environ).parts
    found = []
    for part in parts:
        rows = pl.read_parquet(tmp_path / "_attempt-1" / part.name)
        assert set(bucket_of(rows, ["key"], 4 * buckets)) == {part.bucket}
        found += rows["key"].to_list()
    assert len(parts) == 4 * buckets
    assert sorted(found) == sorted(frame["key"])


def test_what_one_task_does_has_one_bucket_and_more_a_few_for_each_slot() -> None:
    assert least_buckets(f"{JOBS}:Totals", SMALL_BATCH_BYTES, 6) == 1
    assert least_buckets(f"{JOBS}:Totals", SMALL_BATCH_BYTES + 1, 6) > 6
    job = "pinflow.mr_jobs.analytics.persist_metrics:PersistMetrics"
    assert [least_buckets(job, weight << 20, 6) > 6 for weight in (1, 20)] == [False, True]
