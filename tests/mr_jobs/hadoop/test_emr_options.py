"""What mrjob's options make of the runner emr, as far as nothing is asked of Amazon."""

import json
from pathlib import Path

import pytest
from mrjob.emr import EMRJobRunner

from pinflow.errors import ConfigurationError
from pinflow.mr_jobs.hadoop import emr
from pinflow.mr_jobs.hadoop.cluster import Cluster
from pinflow.mr_jobs.hadoop.emr import EmrSteps
from pinflow.mr_jobs.hadoop.streaming import Streaming
from pinflow.mr_jobs.spec import JobSpec
from tests.mr_jobs.sample_jobs import Totals

RELEASE = {"release_label": "emr-7.9.0", "region": "us-east-1"}


@pytest.fixture(autouse=True)
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mrjob.conf"
    monkeypatch.setenv("MRJOB_CONF", str(path))
    return path


def write(conf: Path, **options: object) -> None:
    conf.write_text(json.dumps({"runners": {"emr": RELEASE | options}}))


def made(conf: Path, **options: object) -> EmrSteps:
    write(conf, **options)
    return EmrSteps.of(Totals, (), "s3://b/mrjob", "s3://b/logs")


@pytest.mark.parametrize(("options", "kind"), [({}, "own"), ({"pool_clusters": True}, "shared")])
def test_a_pooled_cluster_belongs_to_no_job(options: dict[str, object], kind: str, conf: Path) -> None:
    steps = made(conf, **options)
    steps._cluster_id, steps._created_cluster, steps._step_ids = "j-1", True, ["s-1"]
    assert steps.submitted() == f"j-1 {kind} s-1"


def test_the_time_of_a_step_is_that_of_waiting_for_it_last(
    conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was submitted before, such as to a pool's cluster that is gone, and mrjob's own step."""
    took = {"s-setup": 5.0, "s-gone": 70.0, "s-0": 20.0, "s-1": 30.0}
    now = [100.0]

    def wait(runner: EMRJobRunner, step_id: str, step_num: int) -> None:
        now[0] += took[step_id]
        if step_id == "s-gone":
            raise InterruptedError

    def run(steps: EmrSteps) -> None:
        for submitted in ("j-1 shared s-gone", "j-2 shared s-setup", "j-2 shared s-setup s-0 s-1"):
            steps.on_step(submitted)
        with pytest.raises(InterruptedError):
            steps._wait_for_step_to_complete("s-gone", 0)
        for number, step in enumerate(("s-setup", "s-0", "s-1"), start=-1):
            steps._wait_for_step_to_complete(step, number)

    monkeypatch.setattr(emr, "monotonic", lambda: now[0])
    monkeypatch.setattr(EMRJobRunner, "_wait_for_step_to_complete", wait)
    monkeypatch.setattr(EmrSteps, "run", run)
    monkeypatch.setattr(EmrSteps, "counters", lambda _: [{"own": {"rows": 3}}, {}])
    monkeypatch.setattr(EmrSteps, "cleanup", lambda _, mode=None: None)
    monkeypatch.setattr(emr.EmrRunner, "_remember", lambda _, submitted: None)
    write(conf)
    spec = JobSpec("tests.mr_jobs.sample_jobs:Totals", (), (), "s3://b/out")
    runner = emr.EmrRunner(spec, Cluster("s3://b/_hadoop", tmp_path, "d-1", "d-"), {})
    assert [(one.seconds, one.counters) for one in runner._run_steps([])] == [(20.0, {"own/rows": 3}), (30.0, {})]


@pytest.mark.parametrize("options", [{}, {"pool_clusters": True}, {"cluster_id": "j-1"}])
def test_a_cluster_that_ends_itself_has_all_steps_from_the_start(options: dict[str, object], conf: Path) -> None:
    steps = made(conf, max_concurrent_steps=2, **options)
    assert (steps._add_steps_in_batch(), steps._opts["max_concurrent_steps"]) == ((False, 2) if options else (True, 1))


MAKERS = {
    "emr": lambda: EmrSteps.of(Totals, (), "s3://b/mrjob", "s3://b/logs"),
    "hadoop": lambda: Streaming.of(Totals, ()),
}


@pytest.mark.parametrize(
    ("runner", "mistake"),
    [
        ("emr", "release_label: 7.9"),
        *((runner, mistake) for runner in MAKERS for mistake in ("cleanup: NOPE", "setup: 3", "cleanup: [NONE")),
    ],
)
def test_a_mistake_in_the_file_is_told(runner: str, mistake: str, conf: Path) -> None:
    others = "" if "release" in mistake or runner == "hadoop" else "    release_label: emr-7.9.0\n"
    conf.write_text(f"runners:\n  {runner}:\n{others}    {mistake}\n")
    with pytest.raises(ConfigurationError, match=rf"mrjob.conf cannot be used: .*below runners: {runner}:"):
        MAKERS[runner]()
