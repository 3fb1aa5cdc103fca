"""What mrjob's options make of the runner emr, as far as nothing is asked of Amazon."""

import json
from pathlib import Path

import pytest

from pinflow.mr_jobs.hadoop.emr import EmrSteps
from tests.mr_jobs.sample_jobs import Totals

RELEASE = {"release_label": "emr-7.9.0", "region": "us-east-1"}


@pytest.fixture(autouse=True)
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mrjob.conf"
    monkeypatch.setenv("MRJOB_CONF", str(path))
    return path


def made(conf: Path, **options: object) -> EmrSteps:
    conf.write_text(json.dumps({"runners": {"emr": RELEASE | options}}))
    return EmrSteps.of(Totals, (), "s3://b/mrjob", "s3://b/logs")


@pytest.mark.parametrize(("options", "kind"), [({}, "own"), ({"pool_clusters": True}, "shared")])
def test_a_pooled_cluster_belongs_to_no_job(options: dict[str, object], kind: str, conf: Path) -> None:
    steps = made(conf, **options)
    steps._cluster_id, steps._created_cluster, steps._step_ids = "j-1", True, ["s-1"]
    assert steps.submitted() == f"j-1 {kind} s-1"
