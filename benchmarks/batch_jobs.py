"""Many small MapReduce jobs under the scheduler, from the start of the command to its end.

`python -m benchmarks.batch_jobs` prints milliseconds a job. It is also the workflow that it runs.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import click
import polars as pl

from pinflow.mr_jobs.batch_job import BatchJob
from pinflow.scheduler.declare import Condition, Stage, Workflow
from pinflow.stats_engine.rules import absolute
from pinflow.workflows.node import INPUT_READY, Day, Raw, mapreduce

ROOT = Path(__file__).parents[1]
DAY = date(2015, 5, 18)
PINS = 10_000
MODULE = "benchmarks.batch_jobs"
CONFIGURATION = f"""\
input = "input"
workflows = ["{MODULE}"]
[source]
format = "canonical"
"""
JOBS = "BENCHMARK_JOBS"
"""Variable with the number of jobs."""


class PinsByBoard(BatchJob):
    """One map and one reduce task."""

    cluster_by = ("board_id",)
    columns = ("board_id",)

    def map(self, batch: pl.DataFrame) -> pl.DataFrame:
        """The number of pins of each board."""
        self.stats.incr_count("rows_read", batch.height)
        return batch.group_by("board_id").agg(pins=pl.len())

    def reduce(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The numbers of all map tasks together."""
        return frame.group_by("board_id").agg(pl.col("pins").sum())


def there() -> bool:
    """The input is always there."""
    return True


def stages(_day: date, parameters: Mapping[str, Any]) -> Sequence[Stage]:
    """One job that reads pins, and many that count them."""
    rules = [absolute("output_rows", min=1)]
    pins = mapreduce(
        "pins", "pinflow.mr_jobs.analytics.pins:Pins", [Raw("pins")], owner=parameters["owner"], rules=rules
    )
    jobs = [
        mapreduce(f"job{number}", f"{MODULE}:PinsByBoard", [Day("pins")], owner=parameters["owner"], rules=rules)
        for number in range(int(os.environ[JOBS]))
    ]
    return [Stage("all", [Condition(INPUT_READY, call=f"{MODULE}:there"), pins, *jobs])]


def workflows(owner: str) -> list[Workflow]:
    """The workflow `many`."""
    return [Workflow("many", owner, stages, "many small jobs")]


@click.command()
@click.option("--jobs", default=100, show_default=True, help="Jobs of a run.")
@click.option("--rounds", default=3, show_default=True, help="Runs; the median counts.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(jobs: int, rounds: int, as_json: bool) -> None:
    """Measure milliseconds a job."""
    taken = [_seconds(jobs) / jobs * 1000 for _ in range(rounds)]
    found = {"jobs": jobs, "ms_a_job": round(statistics.median(taken), 1), "range": [min(taken), max(taken)]}
    click.echo(json.dumps(found) if as_json else f"{found['ms_a_job']} ms a job of {jobs}")


def _seconds(jobs: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder, "input", "pins", f"date={DAY}")
        pins.mkdir(parents=True)
        rows = ({"pin_id": f"p{n}", "board_id": f"b{n % 99}", "owner_id": "o", "domain": "d"} for n in range(PINS))
        (pins / "pins.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        Path(folder, "pinflow.toml").write_text(CONFIGURATION)
        command = [sys.executable, "-m", "pinflow.cli", "run", "many", "--date", DAY.isoformat()]
        environment = {"PYTHONPATH": str(ROOT), JOBS: str(jobs)}
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, env=environment, capture_output=True)
        return time.perf_counter() - start


if __name__ == "__main__":
    main()
