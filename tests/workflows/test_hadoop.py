"""The analytics of the bundled log day on a real Hadoop, with the warehouse in HDFS, rows in HBase, SQL in MariaDB."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from itertools import zip_longest
from pathlib import Path

import pytest
import sqlalchemy as sa

from benchmarks.generate import generate_day
from pinflow.database import open_database
from pinflow.mr_jobs.hadoop.cluster import FOLDER, JOBS
from pinflow.storage import join, open_storage
from tests.engines import variables
from tests.mariadb import MariaDb
from tests.mr_jobs.hadoop.test_real_hadoop import kill_the_node_manager
from tests.workflows.command import Command, finish, served_rows, wait_for_job
from tests.workflows.test_hbase import drop
from tests.workflows.test_warehouses import AWAY_SECONDS, away, datasets_of

pytestmark = pytest.mark.hadoop
ROOT = Path(__file__).parents[2]
DAY = date(2015, 5, 18)
SITE = {"PINFLOW_SOURCE__SITE": "semicomplete.com"}
NATIVE = re.compile(
    r"File \w+( Format)? Counters/|Job Counters/|Map-Reduce Framework/|Shuffle Errors/|.*_bytes$|lost_attempts$"
)
LONG = 3600
EVENTS = 2_000_000
Counts = dict[str, dict[str, int]]


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the packed code for all tests: packing takes longer than a small job."""
    return tmp_path_factory.mktemp("archives")


@pytest.fixture
def on_hadoop(tmp_path: Path, archives: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command with the runner hadoop, an empty warehouse in HDFS, and the bundled log on this machine."""
    (tmp_path / "home" / "cache").mkdir(parents=True)
    (tmp_path / "home" / "cache" / "environment").symlink_to(archives)
    found = variables("hadoop")
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    warehouse = f"{found['PINFLOW_WAREHOUSE']}/{tmp_path.parent.name}/{tmp_path.name}"
    return Command(
        tmp_path / "home",
        ROOT / "examples" / "access_log",
        SITE | {"PINFLOW_WAREHOUSE": warehouse, "PINFLOW_RUNNER": "hadoop"},
    )


@pytest.fixture
def on_engines(on_hadoop: Command, mariadb: MariaDb) -> Iterator[Command]:
    """The same, with an empty HBase and an empty MariaDB."""
    serving = variables("hbase")["PINFLOW_SERVING"] + "&prefix=hadoop_"
    drop(serving)
    yield replace(
        on_hadoop, variables={**on_hadoop.variables, "PINFLOW_SERVING": serving, "PINFLOW_DATABASE": mariadb.create()}
    )
    drop(serving)


def assert_same(found: Iterator[object], wanted: Iterator[object]) -> None:
    compared = 0
    for one, other in zip_longest(found, wanted):
        assert one == other
        compared += 1
    assert compared


def counts_of(command: Command) -> tuple[Counts, Counts]:
    """What the jobs counted: themselves, and by Hadoop's own counters."""
    own: Counts = {}
    native: Counts = {}
    engine = open_database(command.database)
    with engine.connect() as connection:
        query = sa.text("select job, name, value from v_counts where date = :day")
        for job, name, value in connection.execute(query, {"day": str(DAY)}):
            (native if NATIVE.match(name) else own).setdefault(job, {})[name] = value
    engine.dispose()
    return own, native


def leave_alone(_: Command) -> None:
    """Nothing happens while the command runs."""


def compare_with_this_machine(
    on_engines: Command, folder: Path, meanwhile: Callable[[Command], None] = leave_alone
) -> None:
    """A day on all engines equals the day on this machine: what is served, what was counted, all datasets."""
    own = {name: on_engines.variables[name] for name in SITE if name in on_engines.variables}
    here = Command(folder / "here", on_engines.input, own)
    here.home.mkdir()
    # user ids are hidden by a key: both have the same
    for home in (here.home, on_engines.home):
        (home / "secret").write_text("ab" * 32)
        (home / "secret").chmod(0o600)
    here.run(DAY)
    with on_engines.start("run", "analytics", "--date", str(DAY), "--json") as process:
        meanwhile(on_engines)
        result = finish(process, timeout=LONG)
    assert result.code == 0, (result.err, result.out)
    (counts, _), (found_counts, native) = counts_of(here), counts_of(on_engines)
    assert found_counts == counts
    # one after the other: a day of millions of events would not fit into memory
    assert_same(served_rows(on_engines), served_rows(here))
    warehouse = on_engines.variables["PINFLOW_WAREHOUSE"]
    assert_same(datasets_of(warehouse), datasets_of(str(here.home / "warehouse")))
    # all jobs ran on Hadoop, whose own counters stand beside theirs, and nothing of their folders is left
    assert [job for job in counts if native[job]["Job Counters/Launched map tasks"] < 1] == []
    assert open_storage(warehouse).list(join(warehouse, FOLDER, JOBS)) == []


def kill_servers(command: Command) -> None:
    """The NameNode is away for a minute; later the NodeManager is killed in the middle of a job."""
    wait_for_job(command, "extract_%")
    with away(command.variables["PINFLOW_WAREHOUSE"]):
        time.sleep(AWAY_SECONDS)
    wait_for_job(command, "%_metrics")
    kill_the_node_manager()


@pytest.mark.hbase
@pytest.mark.mariadb
def test_the_log_day_on_all_engines_whose_servers_are_killed_equals_that_of_this_machine(
    on_engines: Command, tmp_path: Path
) -> None:
    compare_with_this_machine(on_engines, tmp_path, kill_servers)


@pytest.mark.soak
@pytest.mark.hbase
@pytest.mark.mariadb
def test_a_generated_day_on_all_engines_equals_that_of_this_machine(on_engines: Command, tmp_path: Path) -> None:
    generate_day(tmp_path / "input", DAY, events=EVENTS)
    others = {name: value for name, value in on_engines.variables.items() if name not in SITE}
    compare_with_this_machine(replace(on_engines, input=tmp_path / "input", variables=others), tmp_path)


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
    # bin/engines puts the Python of this checkout first, before one of the system of the same version
    assert f" at {Path(sys.executable).resolve().parent}/python" in found["runner"]["detail"]
