"""The whole workflow `analytics`, as `pinflow run` does it: all stages, statistics, rules, scheduler, serving store.

`python -m benchmarks.workflow --events 2e6 --days 3` prints for each day the seconds of the command, and the cells a
second that its stage persist wrote. `PINFLOW_SERVING` names a serving store other than the embedded one.
"""

import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path

import click

from benchmarks.analytics.measure import environment
from benchmarks.generate import generate_day

ROOT = Path(__file__).parents[1]
FIRST = date(2015, 5, 1)
_PERSIST = """
SELECT 86400 * (max(julianday(a.finished_at)) - min(julianday(a.started_at))), sum(c.value)
FROM attempt a JOIN run r ON r.run_id = a.run_id JOIN v_counts c ON c.job = a.job AND c.date = r.date
WHERE c.name = 'cells_written' AND a.state = 'succeeded' AND r.date = ?
"""


@dataclass(frozen=True)
class Measured:
    """A day: seconds of the command, and of the stage persist from its first start to its last end; cells it wrote."""

    date: str
    seconds: float
    persist_seconds: float
    cells: int
    cells_per_s: float


@click.command()
@click.option("--events", default=2e6, show_default=True, help="Events of each generated day.")
@click.option("--days", type=click.IntRange(1), default=1, show_default=True, help="Days, one after the other.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(events: float, days: int, as_json: bool) -> None:
    """Measure days of the whole workflow, each beside all that were published before."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(days):
            found.append(_day(Path(folder), FIRST + timedelta(days=number), int(events)))
            if not as_json:
                _show(found[-1], found[0])
    if as_json:
        click.echo(json.dumps([asdict(day) for day in found], indent=2))


def _day(folder: Path, day: date, events: int) -> Measured:
    generate_day(folder / "input", day, events=events)
    home = folder / "home"
    command = [sys.executable, "-m", "pinflow.cli", "--home", str(home), "run", "analytics", "--date", day.isoformat()]
    own = {"PINFLOW_INPUT": f"{folder}/input", "PINFLOW_WAREHOUSE": f"{home}/warehouse", "PINFLOW_RUNNER": "local"}
    own |= {"PINFLOW_DATABASE": f"sqlite:///{home}/pinflow.db"}
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, env=environment(own), capture_output=True)
    seconds = time.perf_counter() - start
    with closing(sqlite3.connect(home / "pinflow.db")) as database:
        persist, cells = database.execute(_PERSIST, [day.isoformat()]).fetchone()
    return Measured(day.isoformat(), seconds, persist, cells, cells / persist)


def _show(day: Measured, first: Measured) -> None:
    click.echo(
        f"{day.date} {day.seconds:7.2f} s {day.seconds / first.seconds:5.2f} of the first; persist "
        f"{day.persist_seconds:6.2f} s {day.cells:10,d} cells {day.cells_per_s:10,.0f} cells/s"
    )


if __name__ == "__main__":
    main()
