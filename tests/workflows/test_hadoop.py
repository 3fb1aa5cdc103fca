"""The analytics of the bundled log day on a real Hadoop, with the warehouse in HDFS."""

import json
import os
import re
import signal
import subprocess
import time
from datetime import date
from pathlib import Path

import pytest

from pinflow.mr_jobs.hadoop.cluster import FOLDER, JOBS
from pinflow.storage import join, open_storage
from tests.engines import variables
from tests.workflows.command import Command, Served, finish, served
from tests.workflows.test_oracle_days import assert_equal
from tests.workflows.test_warehouses import content_of

pytestmark = pytest.mark.hadoop
ROOT = Path(__file__).parents[2]
DAY = date(2015, 5, 18)
SITE = {"PINFLOW_SOURCE__SITE": "semicomplete.com"}
NATIVE = re.compile(r"File \w+( Format)? Counters/|Job Counters/|Map-Reduce Framework/|Shuffle Errors/|.*_bytes$")
LONG = 2400


@pytest.fixture
def on_hadoop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command with the runner hadoop, an empty warehouse in HDFS, and the bundled log on this machine."""
    found = variables("hadoop")
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    warehouse = f"{found['PINFLOW_WAREHOUSE']}/{tmp_path.parent.name}/{tmp_path.name}"
    return Command(
        tmp_path / "home",
        ROOT / "examples" / "access_log",
        SITE | {"PINFLOW_WAREHOUSE": warehouse, "PINFLOW_RUNNER": "hadoop"},
    )


def results(command: Command) -> tuple[Served, dict[str, dict[str, int]]]:
    """What is served, and what the jobs counted apart from what is Hadoop's own."""
    counts = {
        job: {name: n for name, n in names.items() if not NATIVE.match(name)}
        for job, names in command.counts(DAY).items()
    }
    return served(command), counts


def test_the_log_day_on_hadoop_equals_that_of_this_machine(on_hadoop: Command, tmp_path: Path) -> None:
    here = Command(tmp_path / "here", on_hadoop.input, SITE)
    # user ids are hidden by a key: both have the same
    (here.home).mkdir()
    (on_hadoop.home).mkdir()
    for home in (here.home, on_hadoop.home):
        (home / "secret").write_text("ab" * 32)
        (home / "secret").chmod(0o600)
    here.run(DAY)
    with on_hadoop.start("run", "analytics", "--date", str(DAY), "--json") as process:
        result = finish(process, timeout=LONG)
    assert result.code == 0, (result.err, result.out)
    rows, counts = results(here)
    found_rows, found_counts = results(on_hadoop)
    assert_equal(found_rows, rows)
    assert found_counts == counts
    warehouse = on_hadoop.variables["PINFLOW_WAREHOUSE"]
    assert content_of(warehouse) == content_of(str(here.home / "warehouse"))
    # Hadoop's own counters stand beside the job's, and nothing of the job's folder is left
    launched = on_hadoop.counts(DAY)["read_events"]["Job Counters/Launched map tasks"]
    assert launched >= 1
    assert open_storage(warehouse).list(join(warehouse, FOLDER, JOBS)) == []


def states() -> dict[str, str]:
    """State by id of the applications that YARN knows."""
    home = os.environ["HADOOP_HOME"]
    listed = subprocess.run(
        [f"{home}/bin/yarn", "application", "-list", "-appStates", "ALL"], capture_output=True, text=True, check=True
    )
    rows = (line.split("\t") for line in listed.stdout.splitlines() if line.startswith("application_"))
    return {row[0].strip(): row[5].strip() for row in rows}


def test_an_ended_run_ends_its_yarn_application(on_hadoop: Command) -> None:
    before = states()
    log = on_hadoop.home / "logs" / f"analytics-{DAY}-1" / "read_events.1.log"
    with on_hadoop.start("run", "analytics", "--date", str(DAY), "--json") as process:
        end = time.monotonic() + 300
        while not (log.exists() and "Running job" in log.read_text()):
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        process.wait(60)
    deadline = time.monotonic() + 60
    while True:
        after = states()
        mine = {state for name, state in after.items() if name not in before}
        if mine == {"KILLED"}:
            break
        assert time.monotonic() < deadline, after
        time.sleep(1)


def test_doctor_runs_a_job(on_hadoop: Command) -> None:
    with on_hadoop.start("doctor", "--json") as process:
        result = finish(process, timeout=LONG)
    found = {finding["what"]: finding for finding in json.loads(result.out)}
    assert found["runner"]["ok"], found["runner"]
    assert "a task ran on the node" in found["runner"]["detail"]
