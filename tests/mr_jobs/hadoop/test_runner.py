"""What a runner of a cluster does beside its steps: earlier attempts, archives, servers that were away."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pinflow.errors import PinflowError
from pinflow.mr_jobs.hadoop import runner
from pinflow.mr_jobs.hadoop.cluster import ENVIRONMENT, JOBS, Cluster
from pinflow.mr_jobs.hadoop.packing import Archive
from pinflow.mr_jobs.hadoop.runner import HadoopRunner
from pinflow.mr_jobs.spec import JobSpec

JOB = f"{HadoopRunner.__module__.rpartition('.')[0]}.probe:Probe"
AWAY = "java.net.ConnectException: Call From node/127.0.1.1 to nn:8020 failed on connection exception"
SAID = Path(__file__).with_name("said-by-hadoop.txt")
Answers = Callable[..., Path]


class Quick(HadoopRunner):
    """Sends no archives: to pack them takes long."""

    def _send_archives(self) -> list[str]:
        return ["/l.zip", "/c.zip"]


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Makes a `hadoop` that answers so each time it is called, the last for ever; gives the list of its calls."""

    def make(*texts: str) -> Path:
        calls = tmp_path / "calls"
        calls.write_text("")
        cases = "".join(f"{number}) {text} ;;\n" for number, text in enumerate(texts, start=1))
        script = f'#!/bin/sh\necho "$@" >>{calls}\ncase $(wc -l <{calls}) in\n{cases}*) {texts[-1]} ;;\nesac\n'
        for name, text in (("hadoop", script), ("yarn", f'#!/bin/sh\necho "$@" >>{tmp_path}/yarn-calls\n')):
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(0o755)
        options = {"hadoop_bin": str(tmp_path / "hadoop"), "hadoop_streaming_jar": "/s.jar"}
        (tmp_path / "mrjob.conf").write_text(json.dumps({"runners": {"hadoop": options}}))
        monkeypatch.setenv("MRJOB_CONF", str(tmp_path / "mrjob.conf"))
        return calls

    return make


def runner_of(folder: Path, name: str = "d-r-1-6", kind: type[HadoopRunner] = Quick) -> HadoopRunner:
    cluster = Cluster(str(folder), folder / "cache", name, "d-r-")
    return kind(JobSpec(JOB, (), (("", 1),), str(folder / "output")), cluster, dict(os.environ))


def test_a_step_that_failed_while_hadoop_was_away_is_run_again(answers: Answers, tmp_path: Path) -> None:
    left = f"mkdir -p {tmp_path}/output; head -6 {SAID}"
    calls = answers(f"{left}; echo '{AWAY}'; exit 1", f"test ! -e {tmp_path}/output && cat {SAID}")
    (run,) = runner_of(tmp_path).run()
    assert len(calls.read_text().splitlines()) == 2
    assert run.counters
    assert "application -kill application_" in (tmp_path / "yarn-calls").read_text()


def test_a_step_whose_node_was_restarted_beneath_it_is_run_again(answers: Answers, tmp_path: Path) -> None:
    """As a client said it of a job whose tasks ran inside the application master when its NodeManager came back."""
    lost = "Job failed as tasks failed. failedMaps:1 failedReduces:0 killedMaps:0 killedReduces: 0"
    calls = answers(f"echo '{lost}'; exit 1", f"cat {SAID}")
    runner_of(tmp_path).run()
    assert len(calls.read_text().splitlines()) == 2
    known = "INFO mapreduce.Job: Task Id : attempt_1_0026_m_000000_3, Status : FAILED"
    calls = answers(f"echo '{known}'; echo '{lost}'; exit 1")
    with pytest.raises(PinflowError, match="Job failed as tasks failed"):
        runner_of(tmp_path).run()
    assert len(calls.read_text().splitlines()) == 1


def test_a_step_is_not_run_again_for_ever_or_for_another_reason(answers: Answers, tmp_path: Path) -> None:
    calls = answers(f"echo '{AWAY}'; exit 1")
    with pytest.raises(PinflowError, match="ConnectException"):
        runner_of(tmp_path).run()
    assert len(calls.read_text().splitlines()) == 3
    calls = answers("echo 'Error: out of luck'; exit 1")
    with pytest.raises(PinflowError, match="out of luck"):
        runner_of(tmp_path).run()
    assert len(calls.read_text().splitlines()) == 1


def test_only_what_earlier_attempts_left_is_ended(answers: Answers, tmp_path: Path) -> None:
    answers(f"cat {SAID}")
    for name in ("d-r-1-5", "d-r-1-10", "d-s-1-2"):
        (tmp_path / JOBS / name).mkdir(parents=True)
        (tmp_path / JOBS / name / "application").write_text(f"application_of_{name}")
    runner_of(tmp_path).run()
    assert sorted(folder.name for folder in (tmp_path / JOBS).iterdir()) == ["d-r-1-10", "d-s-1-2"]
    assert (tmp_path / "yarn-calls").read_text() == "application -kill application_of_d-r-1-5\n"


def test_archives_of_other_code_wait_until_these_are_sent(
    answers: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job with other code removes this one's archive from the cache: not before it is sent."""
    answers("true")
    sender = threading.Thread(target=lambda: runner_of(tmp_path, "d-r-1-7", HadoopRunner)._send_archives())
    made = []

    def pack(_modules: object, cache: Path) -> list[Archive]:
        for old in cache.glob("*.zip"):
            old.unlink()
        made.append(cache / f"{len(made)}.zip")
        made[-1].write_text("code")
        if len(made) == 1:
            sender.start()
            sender.join(0.5)
        return [Archive("code", made[-1])]

    monkeypatch.setattr(runner, "pack", pack)
    assert runner_of(tmp_path, kind=HadoopRunner)._send_archives() == [f"{tmp_path}/{ENVIRONMENT}/0.zip"]
    sender.join(10)
    assert sorted(file.name for file in (tmp_path / ENVIRONMENT).iterdir()) == ["0.zip", "1.zip"]


def test_certificates_travel_to_the_tasks(answers: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = answers(f"cat {SAID}")
    (tmp_path / "own.pem").write_text("-----BEGIN CERTIFICATE-----")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "own.pem"))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path))  # a folder does not travel
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    runner_of(tmp_path).run()
    (call,) = calls.read_text().splitlines()
    assert f"{tmp_path}/own.pem#authorities-http.pem" in call
    assert "REQUESTS_CA_BUNDLE=./authorities-http.pem" in call
    assert "AWS_REGION=eu-central-1" in call
    assert "AWS_CA_BUNDLE" not in call
