"""Many small MapReduce jobs under the scheduler, from the start of the command to its end.

`python -m benchmarks.batch_jobs` prints milliseconds a job.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import click

from benchmarks import small_jobs

ROOT = Path(__file__).parents[1]
DAY = date(2015, 5, 18)
PINS = 10_000
CONFIGURATION = f"""\
input = "input"
workflows = ["{small_jobs.__name__}"]
[source]
format = "canonical"
"""


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
        environment = {"PYTHONPATH": str(ROOT), small_jobs.JOBS: str(jobs)}
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, env=environment, capture_output=True)
        return time.perf_counter() - start


if __name__ == "__main__":
    main()
