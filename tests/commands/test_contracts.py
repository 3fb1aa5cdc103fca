"""The command as programs call it: the shapes of its JSON, its exit codes, and what stands after a failure."""

import gzip
import json
import mailbox
import threading
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from benchmarks.generate import generate_odd_day
from tests.oracle import Oracle
from tests.workflows.command import Command, currents, finish, published, served

DAY = date(2015, 5, 18)
SUBJECT = "d:half.example"
JOB_STATES = {"succeeded", "failed", "skipped", "upstream_failed", "aborted"}
STAGES = ["extract", "aggregate", "top_items", "persist"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """A home with one good run; tests that use it may run it again but leave its input alone."""
    folder = tmp_path_factory.mktemp("contracts")
    command = Command(folder / "home", folder / "input")
    generate_odd_day(command.input, DAY, 1, events=900)
    command.run(DAY)
    return command


@pytest.fixture(scope="module")
def oracle(ran: Command) -> Oracle:
    return Oracle(ran.input, [DAY], DAY)


def keys(value: Any) -> set[str]:
    return set(value)


def test_json_of_a_run_and_a_second_run_skips_all_jobs(ran: Command) -> None:
    found = ran.run(DAY).json
    assert keys(found) >= {"run_id", "state", "runner", "warehouse", "jobs"}
    assert (found["state"], found["runner"]) == ("succeeded", "local")
    assert found["warehouse"] == str(ran.home / "warehouse")
    assert all(keys(job) >= {"name", "state", "seconds"} for job in found["jobs"])
    states = {job["name"]: job["state"] for job in found["jobs"]}
    assert states.pop("input_ready") == "succeeded"
    assert set(states.values()) == {"skipped"}


def test_a_rebuild_of_one_stage_makes_that_stage_anew(ran: Command) -> None:
    before, rows, content = currents(ran), served(ran), published(ran)
    states = ran.run(DAY, "--stage", "top_items", "--rebuild").jobs
    assert states == dict.fromkeys(
        ("domain_top_pins", "domain_top_boards", "profile_top_pins", "profile_top_boards"), "succeeded"
    )
    changed = {Path(path).parts[-3] for path, data in currents(ran).items() if before[path] != data}
    assert changed == set(states)
    assert (served(ran), published(ran)) == (rows, content)


def test_rebuild_makes_everything_anew(ran: Command) -> None:
    before, rows, content = currents(ran), served(ran), published(ran)
    assert set(ran.run(DAY, "--rebuild").jobs.values()) == {"succeeded"}
    after = currents(ran)
    assert after.keys() == before.keys()
    assert not [path for path, data in after.items() if before[path] == data]
    assert (served(ran), published(ran)) == (rows, content)


def test_json_of_what_was_found(ran: Command, oracle: Oracle) -> None:
    day = str(DAY)
    daily = (SUBJECT, "all", "daily")
    assert ran("metrics", SUBJECT, "--json").json == [oracle.metrics()[daily]]
    monthly = ran("metrics", SUBJECT, "--platform", "web", "--aggregation", "monthly", "--json").json
    assert monthly == [oracle.metrics()[SUBJECT, "web", "monthly"]]
    top = ran("top", SUBJECT, "--items", "pins", "--by", "repin", "--date", day, "--json").json
    assert top == oracle.top()[daily]["pins", "repin"]
    assert ran("audience", SUBJECT, "--date", day, "--json").json == oracle.audience()[daily]
    subjects = ran("subjects", "--limit", "9999", "--json").json
    assert subjects == sorted({subject for subject, _, _ in oracle.metrics()})
    profiles = ran("subjects", "--prefix", "p:", "--limit", "9999", "--json").json
    assert profiles == [subject for subject in subjects if subject.startswith("p:")]


def test_json_of_how_it_went(ran: Command, tmp_path: Path) -> None:
    runs = ran("runs", "--json").json
    assert all(keys(run) >= {"run_id", "workflow", "date", "state", "created_at", "seconds"} for run in runs)
    run_id = f"analytics-{DAY}-1"
    assert run_id in {run["run_id"] for run in runs}
    shown = ran("show", run_id, "--json").json
    assert (shown["run_id"], shown["state"]) == (run_id, "succeeded")
    assert {job["stage"] for job in shown["jobs"]} == set(STAGES)
    assert all(job["state"] in JOB_STATES and len(job["attempts"]) == 1 for job in shown["jobs"])
    assert keys(shown["jobs"][0]["attempts"][0]) >= {"attempt", "state", "exit_code", "signal", "log", "started_at"}
    assert keys(ran("logs", run_id, "read_events", "--json").json) == {"path", "text"}
    stats = ran("stats", "read_events", "--date", str(DAY), "--json").json
    assert keys(stats) >= {"workflow", "run_id", "job", "date", "published", "counts", "sums", "histograms", "items"}
    assert stats["counts"].items() >= ran.counts(DAY)["read_events"].items() - {("input_bytes", 0)}
    assert isinstance(ran("alerts", "--all", "--json").json, list)
    datasets = ran("datasets", "pins", "--json").json
    assert [(found["dataset"], found["date"]) for found in datasets] == [("pins", str(DAY))]
    path = ran("datasets", "pins", "--date", str(DAY), "--path").out.strip()
    assert path == datasets[0]["path"]
    assert sorted(p.name for p in Path(path).glob("*.parquet")) == datasets[0]["parts"]


def test_json_of_what_there_is(ran: Command, tmp_path: Path) -> None:
    workflows = ran("workflows", "--json").json
    assert [found["name"] for found in workflows] == ["analytics"]
    assert all(
        keys(found) == {"name", "owner", "description", "module", "schedule", "deadline", "parameters"}
        for found in workflows
    )
    graph = ran("graph", "analytics", "--date", str(DAY), "--json").json
    assert [stage["name"] for stage in graph["stages"]] == STAGES
    assert all(job["owner"] for stage in graph["stages"] for job in stage["jobs"])
    picture = tmp_path / "graph.svg"
    assert ran("graph", "analytics", "--svg", str(picture)).code == 0
    assert "persist_metrics" in picture.read_text()
    findings = ran("doctor", "--json")
    assert findings.code == 0
    assert all(keys(found) == {"what", "ok", "detail"} and found["ok"] for found in findings.json)
    written = ran("init", str(tmp_path / "new"), "--json").json
    assert written == {"path": str(tmp_path / "new" / "pinflow.toml")}
    assert Path(written["path"]).exists()
    assert ran("init", str(tmp_path / "new")).code == 2


def test_clean_says_what_would_go_and_then_removes_it(tmp_path: Path) -> None:
    command = Command(tmp_path / "home", tmp_path / "input")
    generate_odd_day(command.input, DAY, 1, events=900)
    command.run(DAY, "--stage", "extract")
    due = command("clean", "--dry-run", "--json").json
    assert {found["name"] for found in due} >= {f"pins/date={DAY}", f"read_events/date={DAY}"}
    assert all(keys(found) == {"kind", "name", "reason"} for found in due)
    assert currents(command)
    assert command("clean", "--json").json == due
    assert not currents(command)
    assert command("clean", "--json").json == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("run", "analitycs", "--date", str(DAY)), 2, ("'analitycs'", "'analytics'", "pinflow workflows")),
        (("run", "analytics", "--date", "2015-02-30"), 2, ("'2015-02-30'", "YYYY-MM-DD")),
        (("run", "analytics", "--date", str(DAY), "--stage", "extracts"), 2, ("'extracts'", "'extract'")),
        (("run", "analytics", "--date", str(DAY), "--wait", "long"), 2, ("'long'", "6h")),
        (("metrics", "half.example"), 2, ("'half.example'", "d:DOMAIN")),
        (("metrics", "d:halv.example"), 2, ("'d:halv.example'", SUBJECT, "pinflow subjects")),
        (("top", SUBJECT, "--date", "2015-04-01"), 4, ("2015-04-01", "pinflow run analytics")),
        (("show", "analytics-2001"), 2, ("'analytics-2001'", "pinflow runs")),
        (("datasets", "pinns"), 2, ("'pinns'", "'pins'")),
        (("stats", "read_event"), 2, ("'read_event'", "'read_events'")),
    ],
)
def test_what_cannot_be_done_is_said_in_one_message(
    ran: Command, arguments: tuple[str, ...], code: int, words: tuple[str, ...]
) -> None:
    before = currents(ran)
    result = ran(*arguments)
    assert (result.code, result.out) == (code, ""), result
    assert result.err.lower().count("error: ") == 1
    assert [word for word in words if word not in result.err] == []
    assert currents(ran) == before


def test_a_missing_input_folder_exits_4(ran: Command, tmp_path: Path) -> None:
    result = Command(tmp_path / "home", tmp_path / "nowhere")("run", "analytics", "--date", str(DAY), "--json")
    assert (result.code, result.err.count("error: ")) == (4, 1)
    assert str(tmp_path / "nowhere") in result.err


def test_a_missing_day_exits_4_and_is_no_loss(ran: Command) -> None:
    before = currents(ran)
    result = ran.run("2015-05-20", code=4)
    assert result.json["state"] == "failed"
    assert result.jobs.pop("input_ready") == "failed"
    assert set(result.jobs.values()) == {"failed", "upstream_failed"}
    assert currents(ran) == before


@pytest.mark.parametrize("text", ["input = [", "colour = 3\n", 'keep = "soon"\n', "\xff"])
def test_a_configuration_that_cannot_be_used_exits_2(tmp_path: Path, text: str) -> None:
    (tmp_path / "pinflow.toml").write_bytes(text.encode("latin-1"))
    command = Command(tmp_path / "home", tmp_path / "input")
    result = command("run", "analytics", "--date", str(DAY), "--json")
    assert (result.code, result.out, result.err.count("error: ")) == (2, "", 1)
    assert str(tmp_path / "pinflow.toml") in result.err
    assert not (tmp_path / "home").exists()


def test_a_fatal_rule_leaves_everything_as_it_was(tmp_path: Path) -> None:
    command = Command(tmp_path / "home", tmp_path / "input")
    generate_odd_day(command.input, DAY, 1, events=900)
    command.run(DAY)
    before, rows, content = currents(command), served(command), published(command)
    bad = command.input / "events" / f"date={DAY}" / "bad.jsonl.gz"
    bad.write_bytes(gzip.compress(b"broken\n" * 40))
    result = command.run(DAY, code=3)
    assert result.json["state"] == "failed"
    assert result.jobs["read_events"] == "failed"
    assert (currents(command), served(command), published(command)) == (before, rows, content)
    fatal = command.sql("select run_id, job, owner, state from alerts where degree = 'fatal'")
    assert fatal == [(result.json["run_id"], "read_events", "owner@localhost", "open")]
    listed = command("alerts", "--json").json
    assert [(a["job"], a["degree"]) for a in listed if a["degree"] == "fatal"] == [("read_events", "fatal")]
    mails = list(mailbox.Maildir(command.home / "mail", create=False))
    assert any(mail["To"] == "owner@localhost" and "read_events" in mail["Subject"] for mail in mails)
    kept = list((command.home / "warehouse" / "read_events").glob("date=*/_attempt-*/_bad/*"))
    assert kept, "the bad lines are not kept"
    bad.unlink()
    assert set(command.run(DAY).jobs.values()) == {"succeeded", "skipped"}
    assert currents(command) == before
    assert command.sql("select state from alerts where degree = 'fatal'") == [("resolved",)]


def test_of_two_runs_at_once_one_drives_and_one_follows(tmp_path: Path) -> None:
    command = Command(tmp_path / "home", tmp_path / "input")
    generate_odd_day(command.input, DAY, 1, events=900)
    arguments = ("run", "analytics", "--date", str(DAY), "--json")
    both = [command.start(*arguments) for _ in range(2)]
    results = [finish(process) for process in both]
    assert [result.code for result in results] == [0, 0], results
    found = [result.json for result in results]
    assert len({run["run_id"] for run in found}) == 1
    assert sorted(run["driven"] for run in found) == [False, True]
    assert set(results[0].jobs.values()) == {"succeeded"}
    assert results[0].jobs == results[1].jobs
    assert command.sql("select count(*) from run") == [(1,)]
    assert command.sql("select max(attempt) from attempt") == [(1,)]


@pytest.fixture
def small_disk(disk_of: Callable[[str], Path]) -> Path:
    return disk_of("64m")


def fill(disk: Path) -> Path:
    """Take all room that is left."""
    path = disk / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return path


def test_a_disk_that_is_full_is_said_before_anything_starts(small_disk: Path, ran: Command) -> None:
    command = Command(small_disk / "home", ran.input)
    filler = fill(small_disk)
    result = command("run", "analytics", "--date", str(DAY), "--json")
    assert (result.code, result.out, result.err.count("error: ")) == (1, "", 1)
    assert [word for word in ("full", str(command.home), "pinflow clean", "--home") if word not in result.err] == []
    filler.unlink()
    command.run(DAY)
    assert served(command) == served(ran)


@pytest.mark.parametrize(("place", "name"), [("--warehouse", "warehouse"), ("--serving", "serving.db")])
def test_a_disk_of_any_place_that_is_full_is_said(
    small_disk: Path, ran: Command, tmp_path: Path, place: str, name: str
) -> None:
    fill(small_disk)
    command = Command(tmp_path / "home", ran.input, options=(place, str(small_disk / "below" / name)))
    result = command("run", "analytics", "--date", str(DAY), "--json")
    assert (result.code, result.out, result.err.count("error: ")) == (1, "", 1)
    assert [word for word in ("full", str(small_disk), "pinflow clean", place) if word not in result.err] == []


def test_a_disk_that_fills_up_during_a_run_loses_nothing(small_disk: Path, ran: Command) -> None:
    command = Command(small_disk / "home", ran.input)
    with command.start("run", "analytics", "--date", str(DAY), "--json") as process:
        wait_for_dataset(command, "pin_counts")
        filler = fill(small_disk)
        stop = threading.Event()
        greedy = threading.Thread(target=lambda: [fill_again(filler) for _ in iter(lambda: stop.wait(0.02), True)])
        greedy.start()
        try:
            result = finish(process)
        finally:
            stop.set()
            greedy.join()
    assert result.code == 1, result
    told = result.err if not result.out else json.dumps(json.loads(result.out)["jobs"])
    assert "no space" in told.lower() or "full" in told.lower(), result
    published(command)
    filler.unlink()
    assert command.run(DAY).json["state"] == "succeeded"
    assert (served(command), published(command)) == (served(ran), published(ran))
    assert unsized(command) == unsized(ran)


def fill_again(filler: Path) -> None:
    try:
        with filler.open("ab", buffering=0) as file:
            while True:
                file.write(b"\0" * 4096)
    except OSError:
        pass


def wait_for_dataset(command: Command, name: str) -> None:
    end = time.monotonic() + 60
    while not list((command.home / "warehouse" / name).glob("date=*/current.json")):
        assert time.monotonic() < end
        time.sleep(0.01)


def unsized(command: Command) -> dict[str, dict[str, int]]:
    counts = command.counts(DAY)
    return {job: {n: v for n, v in values.items() if not n.endswith("_bytes")} for job, values in counts.items()}
