"""The runners of clusters by their names in the configuration."""

from pinflow.mr_jobs.hadoop.emr import EmrRunner
from pinflow.mr_jobs.hadoop.runner import ClusterRunner, HadoopRunner

_RUNNERS: dict[str, type[ClusterRunner]] = {"hadoop": HadoopRunner, "emr": EmrRunner}


def cluster_runner(name: str) -> type[ClusterRunner]:
    """The runner `hadoop` or `emr`."""
    return _RUNNERS[name]
