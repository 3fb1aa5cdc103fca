import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pinflow import zygote, zygote_memory
from pinflow.errors import ConfigurationError, PinflowError
from pinflow.zygote import Call, Exit, Forks, Zygote
from tests.zygote_calls import HERE, call


def wait_until(met: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not met():
        if time.monotonic() > end:
            raise TimeoutError("not met in time")
        time.sleep(0.005)


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def pids_of(file: Path) -> list[int]:
    wait_until(lambda: file.exists() and bool(file.read_text()))
    return [int(word) for word in file.read_text().split()]


def ended(forks: Forks) -> Exit:
    result = forks.wait(20)
    if result is None:
        raise TimeoutError("no child ended")
    return result


@pytest.fixture(scope="module")
def started() -> Iterator[Zygote]:
    with Zygote.start(["polars"]) as running:
        yield running


@pytest.fixture
def forks(started: Zygote) -> Iterator[Forks]:
    with zygote.connect(started.path) as connection:
        yield connection


@pytest.fixture
def written(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    path = tmp_path / "output"
    with path.open("wb") as file:
        yield file.fileno(), path


@pytest.mark.parametrize(("given", "expected"), [(None, 0), (0, 0), (10, 10), (3, 3)])
def test_the_returned_int_is_the_exit_code(forks: Forks, given: int | None, expected: int) -> None:
    pid = forks.fork(call("give", code=given))
    result = ended(forks)
    assert (result.pid, result.code, result.signal) == (pid, expected, None)


def test_the_memory_that_is_forked_is_in_huge_pages() -> None:
    if not any(zygote_memory.collapse()):
        pytest.skip("the kernel makes none on request")
    with Zygote.start(["polars", "sqlalchemy"]) as large:
        wait_until(lambda: huge_bytes(large.pid) > 0, seconds=60)


def huge_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("AnonHugePages:"))


def test_what_a_child_leaves_to_its_end_is_done(forks: Forks, written: tuple[int, Path]) -> None:
    forks.fork(call("finalize", output=written[0]))
    assert ended(forks).code == 0
    assert written[1].read_text() == "finalized\n"


def test_system_exit_is_honoured(forks: Forks, written: tuple[int, Path]) -> None:
    forks.fork(call("leave", code=4, output=written[0]))
    assert ended(forks).code == 4
    forks.fork(call("leave", code="a reason", output=written[0]))
    assert ended(forks).code == 1
    assert written[1].read_text() == "a reason\n"


def test_an_exception_leaves_a_traceback_and_code_1(forks: Forks, written: tuple[int, Path]) -> None:
    forks.fork(call("fail", output=written[0]))
    assert ended(forks).code == 1
    assert "ValueError: no such luck" in written[1].read_text()


def test_an_unknown_function_is_told_in_the_log(forks: Forks, written: tuple[int, Path]) -> None:
    forks.fork(call("nothing_of_the_kind", output=written[0]))
    assert ended(forks).code == 1
    assert "nothing_of_the_kind" in written[1].read_text()


def test_output_environment_and_folder(forks: Forks, written: tuple[int, Path], tmp_path: Path) -> None:
    environment = {"WORD": "wörd", "PATH": os.environ["PATH"], "PYTHONPATH": HERE}
    forks.fork(Call("zygote_calls:speak", {}, environment, str(tmp_path), written[0]))
    assert ended(forks).code == 0
    assert written[1].read_text() == f"out wörd None {tmp_path}\nerr ü\nshell wörd\n"


def test_the_child_starts_clean(forks: Forks, written: tuple[int, Path]) -> None:
    for _ in range(2):
        forks.fork(call("tell_state", output=written[0]))
        assert ended(forks).code == 0
    lines = written[1].read_text().splitlines()
    assert lines[:6] == ["sockets 0", "int True", "term True", "blocked 0", "group True", "path True"]
    assert lines[6] != lines[13]


def test_signals_and_kills_are_reported(forks: Forks) -> None:
    pid = forks.fork(call("rest"))
    forks.signal(pid, signal.SIGTERM)
    assert ended(forks).signal == signal.SIGTERM
    forks.signal(pid, signal.SIGTERM)
    pid = forks.fork(call("rest"))
    os.kill(pid, signal.SIGKILL)
    result = ended(forks)
    assert (result.pid, result.code, result.signal) == (pid, None, signal.SIGKILL)


def test_a_group_signal_reaches_what_the_child_started(forks: Forks, tmp_path: Path) -> None:
    pid = forks.fork(call("spawn_and_rest", ready=str(tmp_path / "ready")))
    (grandchild,) = pids_of(tmp_path / "ready")
    forks.signal(pid, signal.SIGTERM, group=True)
    assert ended(forks).signal == signal.SIGTERM
    wait_until(lambda: is_gone(grandchild))


def test_nothing_of_its_group_outlives_a_child(forks: Forks, tmp_path: Path) -> None:
    forks.fork(call("spawn_and_leave", ready=str(tmp_path / "ready")))
    assert ended(forks).code == 0
    wait_until(lambda: is_gone(pids_of(tmp_path / "ready")[0]))


def test_rusage(forks: Forks) -> None:
    forks.fork(call("give"))
    small = ended(forks)
    forks.fork(call("burn", megabytes=64, seconds=0.2))
    large = ended(forks)
    assert large.user_seconds + large.system_seconds >= 0.2
    assert small.user_seconds + small.system_seconds < 0.2
    assert 60 << 20 < large.peak_bytes - small.peak_bytes < 80 << 20


def test_group_join(forks: Forks, started: Zygote) -> None:
    leader = forks.fork(call("rest"))
    member = forks.fork(call("rest", group=leader))
    same = forks.fork(call("rest", group=-1))
    assert os.getpgid(leader) == leader
    assert os.getpgid(member) == leader
    assert os.getpgid(same) == os.getpgid(started.pid)
    forks.signal(leader, signal.SIGTERM, group=True)
    assert {ended(forks).pid, ended(forks).pid} == {leader, member}
    forks.signal(same, signal.SIGTERM)
    assert ended(forks).pid == same


def test_children_die_with_the_process_that_forked_them(forks: Forks, tmp_path: Path) -> None:
    owner = forks.fork(call("fork_two_and_rest", ready=str(tmp_path / "ready")))
    pids = pids_of(tmp_path / "ready")
    assert {os.getpgid(pid) for pid in pids} == {owner}
    os.kill(owner, signal.SIGKILL)
    assert ended(forks).pid == owner
    wait_until(lambda: all(map(is_gone, pids)))


def test_children_die_with_their_connection_and_no_others(started: Zygote, forks: Forks) -> None:
    kept = forks.fork(call("rest"))
    with zygote.connect(started.path) as other:
        pids = [other.fork(call("rest")) for _ in range(3)]
    wait_until(lambda: all(map(is_gone, pids)))
    assert not is_gone(kept)
    assert forks.wait(0) is None


def test_children_end_with_the_lease_also_those_forked_after_it(forks: Forks) -> None:
    forks.lease(0.05)
    forks.fork(call("rest"))
    assert ended(forks).signal == signal.SIGKILL
    forks.fork(call("rest"))
    assert ended(forks).signal == signal.SIGKILL
    forks.lease(60)
    kept = forks.fork(call("rest"))
    assert forks.wait(0.3) is None
    assert not is_gone(kept)


def test_nothing_outlives_a_killed_starter(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    program = f"import zygote_calls; zygote_calls.hold_zygote({str(ready)!r})"
    command = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": HERE})
    pids = pids_of(ready) + pids_of(tmp_path / "ready.child")
    assert not any(map(is_gone, pids))
    command.kill()
    command.wait()
    wait_until(lambda: all(map(is_gone, pids)))


def test_a_killed_zygote_is_told_and_takes_its_children_along() -> None:
    with Zygote.start([]) as own, zygote.connect() as forks:
        assert os.environ["PINFLOW_ZYGOTE"] == own.path
        pid = forks.fork(call("rest"))
        os.kill(own.pid, signal.SIGKILL)
        with pytest.raises(PinflowError, match="is gone"):
            forks.wait(10)
        with pytest.raises(PinflowError, match="is gone"):
            forks.fork(call("rest"))
        with pytest.raises(PinflowError, match="is gone"):
            zygote.connect(own.path)
        wait_until(lambda: is_gone(pid))
    assert "PINFLOW_ZYGOTE" not in os.environ


def test_close_ends_everything_and_may_come_twice() -> None:
    own = Zygote.start([])
    forks = zygote.connect(own.path)
    pid = forks.fork(call("rest"))
    own.close()
    own.close()
    assert is_gone(pid)
    assert is_gone(own.pid)
    forks.close()


def test_a_module_that_cannot_be_imported_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    with Zygote.start(["no_such_module"]) as own, pytest.raises(PinflowError, match="could not import"):
        zygote.connect(own.path).fork(call("give"))
    assert "no_such_module" in capfd.readouterr().err


def test_what_is_prepared_is_there_in_later_forks_alone(capfd: pytest.CaptureFixture[str]) -> None:
    with Zygote.start([]) as own, zygote.connect(own.path) as forks:

        def imported(module: str) -> bool:
            forks.fork(call("has", module=module))
            return ended(forks).code == 1

        assert not imported("colorsys")
        resting = forks.fork(call("rest"))
        forks.prepare(["colorsys", "no_such_module", "chunk_of_none:call", "wave"])
        assert imported("colorsys")
        assert imported("wave")
        forks.prepare(["colorsys"])
        with zygote.connect(own.path) as other:
            other.prepare(["colorsys"])
            other.fork(call("has", module="colorsys"))
            assert ended(other).code == 1
        os.kill(resting, 0)
        forks.signal(resting, signal.SIGTERM)
        assert ended(forks).pid == resting
    assert capfd.readouterr().err.count("No module named 'no_such_module'") == 1


def test_without_a_zygote_connect_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PINFLOW_ZYGOTE", raising=False)
    with pytest.raises(ConfigurationError, match="pinflow run"):
        zygote.connect()


def test_500_forks_in_a_row(forks: Forks) -> None:
    pids = {forks.fork(call("give", code=7)) for _ in range(500)}
    results = [ended(forks) for _ in range(500)]
    assert {result.pid for result in results} == pids
    assert {result.code for result in results} == {7}
    assert forks.wait() is None


def test_each_call_is_done_once(forks: Forks, written: tuple[int, Path]) -> None:
    environments = [{"PATH": os.environ["PATH"], "WORD": str(number), "PYTHONPATH": HERE} for number in range(100)]
    for environment in environments:
        forks.fork(Call("zygote_calls:speak", {}, environment, "/", written[0]))
    assert {ended(forks).code for _ in environments} == {0}
    words = sorted(int(line.split()[1]) for line in written[1].read_text().splitlines() if line.startswith("out"))
    assert words == list(range(100))


def test_children_forked_ahead_may_be_killed(forks: Forks, started: Zygote) -> None:
    forks.fork(call("give"))
    assert ended(forks).code == 0
    zygote_process = psutil.Process(started.pid)
    for _ in range(5):
        for waiting in zygote_process.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                waiting.kill()
                waiting.wait(10)
        forks.fork(call("give", code=6))
        assert ended(forks).code == 6


def test_children_forked_ahead_end_without_a_word_when_the_zygote_is_killed(capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        with Zygote.start([]) as own:
            zygote_process = psutil.Process(own.pid)
            wait_until(lambda process=zygote_process: len(process.children()) >= 2)  # type: ignore[misc]
            waiting = zygote_process.children()
            zygote_process.kill()
            assert psutil.wait_procs(waiting, timeout=10)[1] == []
    assert capfd.readouterr().err == ""


def test_several_connections_at_once(started: Zygote) -> None:
    codes: list[list[int | None]] = []

    def use(number: int) -> None:
        with zygote.connect(started.path) as own:
            for _ in range(20):
                own.fork(call("give", code=number))
            codes.append([ended(own).code for _ in range(20)])

    threads = [threading.Thread(target=use, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes, key=lambda own: own[0] or 0) == [[number] * 20 for number in range(6)]


def test_large_arguments_pass(forks: Forks) -> None:
    with pytest.raises(TypeError), contextlib.ExitStack():
        forks.fork(call("give", code=object()))  # type: ignore[arg-type]
    forks.fork(call("give", environment={"LARGE": "ä" * 1_000_00}, code=5))
    assert ended(forks).code == 5
    forks.fork(call("leave", code="x" * 3_000_000, output=os.open(os.devnull, os.O_WRONLY)))
    assert ended(forks).code == 1


@pytest.mark.parametrize("threads", ["1", "3"])
def test_polars_works_in_a_child_with_its_own_thread_count(
    forks: Forks, written: tuple[int, Path], tmp_path: Path, threads: str
) -> None:
    for number in range(5):
        environment = {"POLARS_MAX_THREADS": threads}
        path = str(tmp_path / f"{number}.parquet")
        forks.fork(call("use_polars", path=path, environment=environment, output=written[0]))
    assert [ended(forks).code for _ in range(5)] == [0] * 5
    assert set(written[1].read_text().split()) == {threads}
