import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DAY = 1431907200  # 2015-05-18T00:00:00Z


def by_hand(job: str, file: Path, *options: str) -> list[dict[str, object]]:
    """The rows that a job prints when a user starts its module with mrjob's own inline runner."""
    return started("-m", f"pinflow.mr_jobs.analytics.{job}", "-r", "inline", *options, str(file))


def started(*arguments: str) -> list[dict[str, object]]:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def json_lines(file: Path, *rows: dict[str, object]) -> Path:
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return file


def test_a_batch_job_prints_its_rows(tmp_path: Path) -> None:
    event = {"event_type": "like", "timestamp": DAY, "user_id": "u1", "pin_id": "p1", "app": "web"}
    other_type = event | {"event_type": "odd"}
    day_before = event | {"timestamp": DAY - 1}
    repin = event | {"event_type": "repin", "user_id": "u2", "timestamp": DAY + 86399}
    file = json_lines(tmp_path / "events.jsonl", event, other_type, day_before, repin)
    found = by_hand("read_events", file, "--date", "2015-05-18")
    names = ("event_type", "user_id", "pin_id", "app")
    assert [tuple(row[name] for name in names) for row in found] == [
        ("like", "u1", "p1", "web"),
        ("repin", "u2", "p1", "web"),
    ]


def test_a_job_that_shuffles_prints_its_rows(tmp_path: Path) -> None:
    first = {"board_id": "b1", "owner_id": "u1", "name": "old"}
    other = {"board_id": "b2", "owner_id": "u2", "name": "other"}
    last = {"board_id": "b1", "owner_id": "u1", "name": "new"}
    file = json_lines(tmp_path / "boards.jsonl", first, other, last)
    found = by_hand("boards", file)
    assert sorted(found, key=lambda row: str(row["board_id"])) == [last, other]


RECORD_JOB = """
import polars as pl
from pinflow.mr_jobs.record_job import RecordJob

class Doubled(RecordJob):
    schema = {"n": pl.Int64, "times": pl.Int64}

    def records(self, lines):
        for line in lines:
            yield from map(int, line.split())

    def mapper(self, _, number):
        yield number, 1

    def reducer(self, number, ones):
        yield number, {"n": 2 * number, "times": sum(ones)}

if __name__ == "__main__":
    Doubled.run()
"""


def test_a_record_job_reads_records_of_its_own_and_prints_its_rows(tmp_path: Path) -> None:
    job, file = tmp_path / "doubled.py", tmp_path / "numbers"
    job.write_text(RECORD_JOB)
    file.write_text("1 2\n2\n\n")
    found = started(str(job), "-r", "inline", str(file))
    assert sorted(found, key=str) == [{"n": 2, "times": 1}, {"n": 4, "times": 2}]
