import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pinflow import zygote
from pinflow.errors import PinflowError
from pinflow.mr_jobs.task_processes import TaskProcesses
from pinflow.zygote import Call, Exit, Zygote

HERE = str(Path(__file__).parent)
MEMORY = 256 << 20
HELD = 300 << 20


@pytest.fixture(scope="module")
def started() -> Iterator[Zygote]:
    with Zygote.start(["polars", "pinflow.mr_jobs.task_processes"]) as running:
        yield running


@pytest.fixture
def processes(started: Zygote) -> Iterator[TaskProcesses]:
    running = TaskProcesses(zygote.connect(started.path), MEMORY)
    yield running
    running.close()


def call(
    name: str, *, output: int = 2, folder: str = "/", word: str = "", verbose: str = "0", **arguments: float | str
) -> Call:
    environment = {**os.environ, "PYTHONPATH": HERE, "WORD": word, "POLARS_VERBOSE": verbose}
    return Call(f"task_calls:{name}", arguments, environment, folder, output, os.getpgrp())


def ended(processes: TaskProcesses) -> Exit:
    exit = processes.wait(20)
    if exit is None:
        raise TimeoutError("no task ended")
    return exit


def wait_until_gone(pid: int) -> None:
    end = time.monotonic() + 10
    with suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > end:
                raise TimeoutError("it is still there")
            time.sleep(0.005)


def test_tasks_one_after_the_other_share_a_process_but_not_what_they_were_given(
    processes: TaskProcesses, tmp_path: Path
) -> None:
    numbers = []
    for word in ("first", "second"):
        folder = tmp_path / word
        folder.mkdir()
        with Path(folder, "output").open("wb") as output:
            numbers.append(processes.fork(call("speak", output=output.fileno(), folder=str(folder), word=word)))
            assert ended(processes).code == 0
        assert (folder / "output").read_text() == f"{word} None {folder} {numbers[0]} task_calls:speak\nerror\n"
    assert numbers[0] == numbers[1]


def test_tasks_at_the_same_time_have_processes_of_their_own(processes: TaskProcesses) -> None:
    numbers = {processes.fork(call("rest", seconds=0.2)), processes.fork(call("rest", seconds=0.2))}
    assert {ended(processes).pid, ended(processes).pid} == numbers
    assert len(numbers) == 2


def test_what_a_process_says_before_its_first_task_is_told(processes: TaskProcesses, tmp_path: Path) -> None:
    with Path(tmp_path, "output").open("wb") as output:
        processes.fork(call("rest", output=output.fileno(), verbose="1"))
        assert ended(processes).code == 0
        for _ in range(2):
            processes.fork(call("rest", output=output.fileno(), folder="/no/such"))
            assert ended(processes).code == 1
    said = (tmp_path / "output").read_text()
    assert said.startswith("total memory")
    assert said.count("FileNotFoundError") == 2


def test_what_a_task_forks_and_leaves_is_no_task(processes: TaskProcesses) -> None:
    first = processes.fork(call("fork_and_rest", seconds=0.3))
    start = time.monotonic()
    assert ended(processes).pid == first
    assert time.monotonic() - start > 0.25


@pytest.mark.parametrize("name", ["leave_daemon", "leave_alarm", "leave_handler", "leave_at_exit", "leave_finalizer"])
def test_a_task_that_leaves_something_behind_was_its_last(processes: TaskProcesses, tmp_path: Path, name: str) -> None:
    first = processes.fork(call(name, file=str(tmp_path / "left")))
    exit = ended(processes)
    assert (exit.pid, exit.code) == (first, 0)
    assert name in ("leave_daemon", "leave_alarm", "leave_handler") or (tmp_path / "left").exists()
    assert processes.fork(call("rest")) != first
    assert ended(processes).code == 0


def test_each_task_draws_other_numbers(processes: TaskProcesses, tmp_path: Path) -> None:
    for name in ("first", "second"):
        processes.fork(call("draw", file=str(tmp_path / name)))
        assert ended(processes).code == 0
    assert (tmp_path / "first").read_text() != (tmp_path / "second").read_text()


@pytest.mark.parametrize(("name", "arguments", "code"), [("leave", {"code": 3}, 3), ("fail", {}, 1), ("stop", {}, 0)])
def test_a_task_that_failed_or_ended_its_process_was_its_last(
    processes: TaskProcesses, name: str, arguments: dict[str, float], code: int
) -> None:
    first = processes.fork(call(name, **arguments))
    exit = ended(processes)
    assert (exit.pid, exit.code, exit.signal) == (first, code, None)
    assert processes.fork(call("rest")) != first
    assert ended(processes).code == 0


def test_a_process_that_a_task_left_large_ends(processes: TaskProcesses) -> None:
    first = processes.fork(call("hold", size=HELD))
    exit = ended(processes)
    assert (exit.pid, exit.code) == (first, 0)
    assert exit.peak_bytes > HELD
    assert processes.fork(call("rest")) != first
    assert ended(processes).code == 0


def test_a_process_that_was_killed_while_it_had_nothing_to_do_is_not_missed(processes: TaskProcesses) -> None:
    first = processes.fork(call("rest"))
    ended(processes)
    os.kill(first, signal.SIGKILL)
    wait_until_gone(first)
    for _ in range(2):  # the task that it was given counts as killed
        second = processes.fork(call("rest"))
        exit = ended(processes)
        assert exit.pid == second
        if second != first:
            break
        assert exit.signal == signal.SIGKILL
    assert (second != first, exit.code) == (True, 0)


def test_a_task_that_was_killed_is_told(processes: TaskProcesses) -> None:
    processes.fork(call("rest"))
    ended(processes)
    number = processes.fork(call("rest", seconds=60))
    processes.signal(number, signal.SIGKILL)
    exit = ended(processes)
    assert (exit.pid, exit.code, exit.signal) == (number, None, signal.SIGKILL)


def test_each_task_has_only_what_it_used_itself(processes: TaskProcesses) -> None:
    used = []
    for seconds in (0.3, 0.0, 0.2):
        processes.fork(call("burn", seconds=seconds))
        exit = ended(processes)
        used.append(exit.user_seconds + exit.system_seconds)
    assert used[0] > 0.25
    assert used[1] < 0.1
    assert 0.15 < used[2] < 0.3


def test_who_has_nothing_to_do_ends_at_the_next_wait(processes: TaskProcesses) -> None:
    slow = processes.fork(call("rest", seconds=0.3))
    quick = processes.fork(call("rest"))
    assert ended(processes).pid == quick
    assert ended(processes).pid == slow
    wait_until_gone(quick)
    assert psutil.pid_exists(slow)


def test_a_task_ends_with_its_threads(processes: TaskProcesses, tmp_path: Path) -> None:
    processes.fork(call("leave_thread", file=str(tmp_path / "late")))
    assert ended(processes).code == 0
    assert (tmp_path / "late").exists()


def test_long_arguments_arrive(processes: TaskProcesses, tmp_path: Path) -> None:
    text = "ü" * 1_000_000
    processes.fork(call("write", file=str(tmp_path / "text"), text=text))
    assert ended(processes).code == 0
    assert (tmp_path / "text").read_text() == text


def test_waiting_has_an_end(processes: TaskProcesses) -> None:
    processes.fork(call("rest", seconds=60))
    assert processes.wait(0.05) is None


def test_nothing_outlives_the_close(processes: TaskProcesses) -> None:
    at_work = processes.fork(call("rest", seconds=60))
    idle = processes.fork(call("rest"))
    assert ended(processes).pid == idle != at_work
    processes.close()
    wait_until_gone(idle)
    wait_until_gone(at_work)


def test_a_zygote_that_is_gone_is_told() -> None:
    with Zygote.start(["pinflow.mr_jobs.task_processes"]) as running:
        processes = TaskProcesses(zygote.connect(running.path), MEMORY)
        processes.fork(call("rest", seconds=60))
        os.kill(running.pid, signal.SIGKILL)
        with pytest.raises(PinflowError, match="is gone"):
            processes.wait(20)
        with pytest.raises(PinflowError, match="is gone"):
            processes.fork(call("rest"))
        processes.close()
