"""Whole runs with real processes."""

import errno
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from pinflow.database import open_database
from pinflow.errors import ExitCode, PinflowError, StaleFenceError, UnknownNameError
from pinflow.scheduler import polls, processes, reading
from pinflow.scheduler.declare import Command, Condition, Job
from pinflow.scheduler.definition import Definition
from pinflow.scheduler.processes import Place
from pinflow.scheduler.records import Event
from pinflow.scheduler.run import RunResult, execute
from pinflow.scheduler.states import AttemptState
from pinflow.scheduler.store import Store
from pinflow.zygote import Zygote

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote.start(["pinflow.scheduler.child"]) as zygote:
        yield zygote


@pytest.fixture
def real_store(database_url) -> Iterator[Store]:
    with Store(open_database(database_url)) as store:
        yield store


@pytest.fixture
def run(zygote, real_store, tmp_path) -> Callable[..., RunResult]:
    def start(
        definition: Definition, *, slots: int = 2, wait: float = 0, events: list[Event] | None = None
    ) -> RunResult:
        place = Place(tmp_path / "logs", slots=slots, wait=timedelta(seconds=wait), folder=HERE)
        told = [] if events is None else events
        return execute(real_store, definition, zygote, place, on_event=told.append)

    return start


def job(result: RunResult, name: str) -> reading.JobInfo:
    return next(j for j in result.run.jobs if j.name == name)


def states(result: RunResult) -> dict[str, str]:
    return {j.name: j.state.value for j in result.run.jobs}


def test_what_a_modules_jobs_need_is_imported_before_the_first_of_them(of, real_store, tmp_path):
    asked = Job("asked", call="sample_jobs:say_whether_imported", arguments={"module": "colorsys"})
    with Zygote.start(["pinflow.scheduler.child"]) as own:
        for serial, needs in enumerate(({"of_others": ("colorsys",)}, {"sample_jobs": ("colorsys",)}), start=1):
            execute(real_store, of(asked), own, Place(tmp_path, folder=HERE, needs=needs))
            assert (tmp_path / f"demo-2015-05-18-{serial}/asked.1.log").read_text() == f"{serial == 2}\n"


def test_jobs_and_commands_run_in_order_with_logs_and_resources(run, of, real_store, tmp_path):
    notes = tmp_path / "notes"
    result = run(
        of(
            Job("first", call="sample_jobs:note", arguments={"file": str(notes)}),
            Command("second", argv=["sh", "-c", "echo $PINFLOW_JOB of $PINFLOW_RUN_ID"], after=["first"]),
            Job("third", call="sample_jobs:note", arguments={"file": str(notes)}, after=["second"]),
        )
    )
    assert result.driven
    assert result.exit_code == 0
    assert [line.split()[0] for line in notes.read_text().splitlines()] == ["first", "third"]
    log = tmp_path / "logs" / reading.find_attempt(real_store, "demo", "second").log
    assert log.read_text() == "second of demo-2015-05-18-1\n"
    (attempt,) = reading.attempts(real_store, result.run.run_id, "third")
    assert attempt.exit_code == 0
    assert attempt.peak_bytes is not None
    assert attempt.peak_bytes > 1 << 20
    assert attempt.pid is not None


@pytest.mark.parametrize(
    ("node", "state", "code", "reason", "exit_code"),
    [
        (Job("j", call="sample_jobs:skipped"), "skipped", 10, "published for the same input", 0),
        (Job("j", call="sample_jobs:fatal", retries=3), "failed", 3, "rule bad_lines: 7 is above 3", 3),
        (Job("j", call="sample_jobs:missing", retries=3), "failed", 4, "no input for 2015-05-18", 4),
        (
            Job("j", call="sample_jobs:raise_error", arguments={"text": "näh"}),
            "failed",
            1,
            "exit code 1: ValueError: näh",
            1,
        ),
        (
            Job("j", call="sample_jobs:refused", arguments={"number": errno.ENOSPC}),
            "failed",
            1,
            "cannot use /data/x: the disk is full; free space there, see: pinflow clean",
            1,
        ),
        (
            Job("j", call="sample_jobs:refused", arguments={"number": errno.ENOTDIR}),
            "failed",
            1,
            "exit code 1: NotADirectoryError",
            1,
        ),
        (Job("j", call="sample_jobs:die", arguments={"number": 9}), "failed", None, "killed by SIGKILL", 1),
        (Command("j", argv=["no-such-program"]), "failed", 127, "exit code 127: cannot start", 1),
        (Job("j", call="no_module:f"), "failed", 1, "exit code 1: ModuleNotFoundError", 1),
        (Condition("j", call="sample_jobs:missing"), "failed", 4, "no input for 2015-05-18", 4),
    ],
)
def test_the_exit_code_decides(run, of, node, state, code, reason, exit_code):
    result = run(
        of(node, Job("next", call="sample_jobs:nothing", after=["j"]), Job("other", call="sample_jobs:nothing"))
    )
    info = job(result, "j")
    assert (info.state.value, info.exit_code, info.attempts) == (state, code, 1)
    assert info.reason is not None
    assert info.reason.startswith(reason)
    assert states(result)["next"] == ("upstream_failed" if state == "failed" else "succeeded")
    assert states(result)["other"] == "succeeded"
    assert result.exit_code == exit_code


def test_a_job_leaves_values(run, of, real_store):
    result = run(of(Job("j", call="sample_jobs:skipped")))
    assert reading.attempts(real_store, result.run.run_id, "j")[0].result["rows"] == 3


def test_a_failure_is_tried_again_then_given_up(run, of, real_store, tmp_path):
    def flaky(name: str, times: int) -> Job:
        arguments = {"file": str(tmp_path / name), "times": times}
        return Job(name, call="sample_jobs:fail_first", arguments=arguments, retries=2, retry_delay="0s")

    result = run(of(flaky("twice", 2), flaky("always", 9)))
    assert states(result) == {"twice": "succeeded", "always": "failed"}
    assert job(result, "twice").attempts == job(result, "always").attempts == 3
    assert [a.state for a in reading.attempts(real_store, result.run.run_id, "twice")] == [
        AttemptState.FAILED,
        AttemptState.FAILED,
        AttemptState.SUCCEEDED,
    ]


def test_a_timeout_ends_the_whole_group_even_if_it_does_not_listen(run, of, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "GRACE_SECONDS", 0.2)
    deaf = {"file": str(tmp_path / "notes"), "deaf": True}
    result = run(
        of(
            Job("deaf", call="sample_jobs:hang", arguments=deaf, timeout="1s"),
            Command("child", argv=["sh", "-c", "sleep 60 & wait"], timeout="1s"),
        )
    )
    assert states(result) == {"deaf": "failed", "child": "failed"}
    assert {j.reason for j in result.run.jobs} == {"stopped after its timeout of 1s"}
    assert result.run.seconds < 10


def test_a_condition_holds_no_slot_and_starts_what_waits_for_it(run, of, tmp_path):
    there = tmp_path / "there"
    result = run(
        of(
            Condition("input", call="sample_jobs:exists", arguments={"file": str(there)}, poll="1s"),
            Job("maker", call="sample_jobs:note", arguments={"file": str(there)}),
            Job("reader", call="sample_jobs:nothing", after=["input"]),
        ),
        slots=1,
        wait=30,
    )
    assert set(states(result).values()) == {"succeeded"}


def test_a_condition_that_stays_untrue_fails_at_the_end_of_the_wait(run, of, tmp_path):
    condition = Condition("input", call="sample_jobs:exists", arguments={"file": str(tmp_path / "no")}, poll="1s")
    once = run(of(condition))
    assert (job(once, "input").reason, once.exit_code) == ("not there", ExitCode.INPUT_MISSING)
    later = run(of(condition), wait=1.2)
    # at the start, a second later unless the start was slow, and at the end of the wait
    assert re.fullmatch(r"not there \(asked [23] times\)", job(later, "input").reason)
    assert later.exit_code == ExitCode.INPUT_MISSING
    assert later.run.seconds >= 1.2


def test_who_goes_on_with_a_run_waits_for_the_rest_of_its_wait(run, of, real_store, tmp_path):
    there = tmp_path / "there"
    condition = Condition("input", call="sample_jobs:exists", arguments={"file": str(there)}, poll="1s")
    opened = real_store.open_run(of(condition), "another", wait=timedelta(hours=1))
    real_store.release(opened.lease)
    timer = threading.Timer(2, there.touch)
    timer.start()
    result = run(of(condition))
    timer.join()
    assert (result.run.run_id, states(result)) == (opened.run_id, {"input": "succeeded"})


def test_a_deadline_is_shorter_than_the_wait(run, of, tmp_path):
    arguments = {"file": str(tmp_path / "no")}
    result = run(of(Condition("c", call="sample_jobs:exists", arguments=arguments, deadline="0s")), wait=3600)
    assert result.exit_code == ExitCode.INPUT_MISSING


def test_questions_that_hang_fail_with_their_wait_and_let_others_be_asked(run, of, tmp_path, monkeypatch):
    monkeypatch.setattr(polls, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(processes, "GRACE_SECONDS", 0.2)

    def hang(name: str, **options: str) -> Condition:
        arguments = {"file": str(tmp_path / "asked"), "deaf": name == "deaf"}
        return Condition(name, call="sample_jobs:hang", arguments=arguments, **options)

    result = run(
        of(
            *(hang(name, deadline="2s") for name in ("deaf", "a", "b")),
            hang("timed", timeout="2s"),
            Condition("there", call="sample_jobs:exists", arguments={"file": str(tmp_path / "asked")}),
        ),
        wait=3600,
    )
    told = {j.name: (j.state.value, j.exit_code, j.reason) for j in result.run.jobs}
    hung = ("failed", ExitCode.INPUT_MISSING, "its question was not answered by the end of its wait")
    assert [told[name] for name in ("deaf", "a", "b")] == [hung] * 3
    assert told["timed"][2] == "stopped after its timeout of 2s"
    assert told["there"][0] == "succeeded"
    assert 2 <= result.run.seconds < 20


def test_two_runs_in_one_process_at_once_one_drives_one_follows(run, of, zygote, real_store, tmp_path):
    definition = of(Job("j", call="sample_jobs:note", arguments={"file": str(tmp_path / "n"), "seconds": 0.5}))
    results, events = [], []

    def second() -> None:
        with Store(open_database(real_store.engine.url.render_as_string(hide_password=False))) as store:
            while not reading.list_runs(store):
                time.sleep(0.01)
            place = Place(tmp_path / "logs", folder=HERE)
            results.append(execute(store, definition, zygote, place, on_event=events.append))

    thread = threading.Thread(target=second)
    thread.start()
    results.append(run(definition))
    thread.join()
    assert sorted(r.driven for r in results) == [False, True]
    assert {r.run.run_id for r in results} == {"demo-2015-05-18-1"}
    assert (tmp_path / "n").read_text().count("\n") == 1
    assert [(e.job, e.state) for e in events] == [
        (None, "running"),
        ("j", "running"),
        ("j", "succeeded"),
        (None, "succeeded"),
    ]


def test_a_zygote_that_is_killed_leaves_a_run_that_goes_on(of, real_store, tmp_path):
    notes = str(tmp_path / "n")
    definition = of(Job("j", call="sample_jobs:note", arguments={"file": notes, "seconds": 0.3}))
    place = Place(tmp_path / "logs", folder=HERE)

    def kill(event: Event) -> None:
        if event.state == "running" and event.job:
            threading.Timer(0.1, first._process.kill).start()

    with Zygote.start(["pinflow.scheduler.child"]) as first, pytest.raises(PinflowError, match="gone"):
        execute(real_store, definition, first, place, on_event=kill)
    with Zygote.start(["pinflow.scheduler.child"]) as second:
        result = execute(real_store, definition, second, place)
    assert states(result) == {"j": "succeeded"}
    assert result.run.run_id == "demo-2015-05-18-1"
    assert [a.state for a in reading.attempts(real_store, result.run.run_id, "j")] == [
        AttemptState.LOST,
        AttemptState.SUCCEEDED,
    ]


def test_a_driver_that_is_refused_though_it_holds_the_run_ends_and_does_not_follow_itself(
    run, of, real_store, monkeypatch
):
    def refuse(*_: object) -> None:
        raise StaleFenceError("refused: j")

    monkeypatch.setattr(real_store, "advance", refuse)
    monkeypatch.setattr("pinflow.scheduler.run.follow", lambda *_: pytest.fail("follows itself"))
    with pytest.raises(StaleFenceError, match="refused: j"):
        run(of(Job("j", call="sample_jobs:nothing")))
    monkeypatch.undo()
    # The next one need not wait for the end of the lease.
    result = run(of(Job("j", call="sample_jobs:nothing")))
    assert (result.driven, result.run.run_id, states(result)) == (True, "demo-2015-05-18-1", {"j": "succeeded"})


def test_a_log_that_cannot_be_written_is_one_message(of, zygote, real_store, tmp_path):
    (tmp_path / "logs").write_text("not a folder")
    with pytest.raises(PinflowError, match="cannot write the log"):
        execute(real_store, of(Job("j", call="sample_jobs:nothing")), zygote, Place(tmp_path / "logs", folder=HERE))


def test_reading(run, of, real_store, tmp_path):
    run(of(Job("j", call="sample_jobs:nothing")))
    run(of(Job("j", call="sample_jobs:nothing")))
    assert [r.run_id for r in reading.list_runs(real_store)] == ["demo-2015-05-18-2", "demo-2015-05-18-1"]
    assert reading.list_runs(real_store, workflow="other") == []
    assert reading.get_run(real_store, "demo-2015-05-18").run_id == "demo-2015-05-18-2"
    assert reading.get_run(real_store, "demo-2015-05-18-1").run_id == "demo-2015-05-18-1"
    logs = tmp_path / "logs"
    assert (logs / reading.find_attempt(real_store, "demo", "j", 1).log).exists()
    for ask in (
        lambda: reading.get_run(real_store, "nope"),
        lambda: reading.get_run(real_store, ""),
        lambda: reading.find_attempt(real_store, "demo", "k"),
        lambda: reading.find_attempt(real_store, "demo", "j", 2),
    ):
        with pytest.raises(UnknownNameError):
            ask()


def test_handlers_of_signals_are_put_back(run, of):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    run(of(Job("j", call="sample_jobs:nothing")))
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
