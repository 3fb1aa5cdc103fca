"""The runner emr as far as moto goes: EMR's answers and S3 are moto's, the steps are run by `EmrNodes`."""

import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import polars as pl
import pytest
from moto.emr.models import Cluster as MotoCluster
from moto.server import ThreadedMotoServer

from pinflow.config import Settings
from pinflow.errors import ConfigurationError, PinflowError
from pinflow.mr_jobs.hadoop.cluster import JOBS, Cluster
from pinflow.mr_jobs.launch import JobOutput, launch
from pinflow.mr_jobs.spec import JobSpec
from pinflow.mr_jobs.splits import DatasetFile, DatasetSplit
from pinflow.storage import open_storage
from pinflow.storage_s3 import client
from pinflow.workflows.on_cluster import cluster_of
from tests.mr_jobs.hadoop.emr_nodes import REGION, EmrNodes
from tests.mr_jobs.hadoop.sent_jobs import OWN, SAMPLE, make_importable

RELEASE = "emr-7.9.0"
ROWS = [[("a", 1), ("b", 2)], [("a", 3), ("c", 4)]]
BASE = "s3://warehouse/pinflow"
Run = Callable[..., JobOutput]


def configure(folder: Path, monkeypatch: pytest.MonkeyPatch, **options: object) -> None:
    own = {"check_cluster_every": 0.1, "cloud_fs_sync_secs": 0, "python_bin": sys.executable, "region": REGION}
    roles = {"iam_instance_profile": "nodes", "iam_service_role": "emr"}
    path = folder / "mrjob.conf"
    path.write_text(json.dumps({"runners": {"emr": own | roles | options}}))
    monkeypatch.setenv("MRJOB_CONF", str(path))


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """EMR and S3 by moto, in this process, with a bucket."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    # moto gives applications without a name, which EMR never does
    monkeypatch.setattr(MotoCluster, "add_applications", lambda *_: None)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:{1}".format(*server.get_host_and_port()))
    client.cache_clear()
    boto3.client("s3").create_bucket(Bucket="warehouse")
    yield
    server.stop()
    client.cache_clear()


@pytest.fixture
def nodes(amazon: None, tmp_path: Path) -> Iterator[EmrNodes]:
    found = EmrNodes(tmp_path / "nodes")
    yield found
    found.stop()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(nodes: EmrNodes, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a job over two Parquet files."""
    make_importable(tmp_path, monkeypatch)
    lines = []
    for number, rows in enumerate(ROWS):
        data = io.BytesIO()
        pl.DataFrame(rows, schema={"key": pl.String, "value": pl.Int64}, orient="row").write_parquet(data)
        path = f"{BASE}/input/{number}.parquet"
        open_storage(path).write_bytes(path, data.getvalue())
        lines.append((DatasetSplit("d", (DatasetFile(path, "2015-05-18", len(rows), 1),)).to_line(), 1))

    def start(job: str) -> JobOutput:
        spec = JobSpec(job, ("--to=parquet",), tuple(lines), f"{BASE}/d/_attempt-1")
        return launch(spec, "emr", dict(os.environ), Cluster(f"{BASE}/_hadoop", cache, "d-1", "d-"))

    return start


@pytest.mark.s3
def test_a_job_starts_a_cluster_of_the_named_release_and_ends_it(
    run: Run, nodes: EmrNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(tmp_path, monkeypatch, release_label=RELEASE, core_instance_type="m7i.xlarge")
    output = run(f"{SAMPLE}:Totals")
    (part,) = output.parts
    with open_storage(BASE).open_input(f"{BASE}/d/_attempt-1/{part.name}") as file:
        found = pl.read_parquet(file, columns=["key", "value", "n"])
    assert sorted(found.rows()) == [("a", 4, 2), ("b", 2, 1), ("c", 4, 1)]
    counts = output.statistics.counts
    assert [counts[name] for name in ("rows_read", "keys", "output_rows")] == [4, 3, 3]
    (cluster,) = nodes.clusters()
    assert cluster.release_label == RELEASE
    assert cluster.state == "TERMINATED"
    version = "{}.{}".format(*sys.version_info)
    assert f"dnf install -y python{version}" in nodes.bootstrapped[cluster.id]
    assert "COMPLETED" in capsys.readouterr().err
    assert open_storage(BASE).list(f"{BASE}/_hadoop/{JOBS}") == []


@pytest.mark.s3
def test_a_running_cluster_is_used_and_kept_and_a_failure_told(
    run: Run, nodes: EmrNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emr = boto3.client("emr")
    instances = {"MasterInstanceType": "m7i.xlarge", "InstanceCount": 1, "KeepJobFlowAliveWhenNoSteps": True}
    kept, left = (
        emr.run_job_flow(Name=name, ReleaseLabel=RELEASE, Instances=instances)["JobFlowId"] for name in ("kept", "left")
    )
    # what the driver of an earlier attempt left, which was killed
    open_storage(BASE).write_bytes(f"{BASE}/_hadoop/{JOBS}/d-0/application", f"{left} own s-1".encode())
    configure(tmp_path, monkeypatch, cluster_id=kept)
    with pytest.raises(PinflowError, match=rf"RuntimeError: broken on purpose.* Its EMR step of {kept} shared s-"):
        run(f"{OWN}:Broken")
    states = {cluster.id: cluster.state for cluster in nodes.clusters()}
    assert states[kept] != "TERMINATED"
    assert states[left] == "TERMINATED"
    assert open_storage(BASE).list(f"{BASE}/_hadoop/{JOBS}") == []


def test_what_is_not_configured_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(tmp_path, monkeypatch)
    spec = JobSpec("tests.mr_jobs.sample_jobs:Totals", (), (), f"{BASE}/d/_attempt-1")
    cluster = Cluster(f"{BASE}/_hadoop", tmp_path, "d-1", "d-")
    with pytest.raises(ConfigurationError, match="set release_label, such as emr-"):
        launch(spec, "emr", dict(os.environ), cluster)
    settings = Settings(runner="emr", warehouse="hdfs://here:8020/warehouse")
    with pytest.raises(ConfigurationError, match=r"the runner emr cannot write .* S3, s3://bucket/warehouse"):
        cluster_of(settings, "d-1")
