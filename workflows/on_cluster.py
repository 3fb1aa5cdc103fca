"""What a node needs to run on a cluster: its runner, files that travel with it, and the folder of the cluster."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pinflow.config import Settings
from pinflow.errors import ConfigurationError
from pinflow.mr_jobs.hadoop.cluster import FOLDER, Cluster
from pinflow.mr_jobs.inputs.visitors import SECRET_NAME, load_secret
from pinflow.storage import is_remote, join
from pinflow.workflows.node import MapReduce

PLACES = {"hadoop": ("hdfs://", "webhdfs://", "swebhdfs://"), "emr": ("s3://",)}
"""Runners that work on a cluster, and the storage that its tasks write to."""

_EXAMPLES = {"hadoop": "HDFS, hdfs://namenode:8020/warehouse", "emr": "S3, s3://bucket/warehouse"}
_COUNTRIES = "countries.mmdb"
_ONCE = {"mapreduce.map.speculative": "false", "mapreduce.reduce.speculative": "false"}


def runs_on_cluster(node: MapReduce, settings: Settings) -> bool:
    """Whether the tasks of a node run on the cluster.

    Those that write into a table store that is a file of this machine run here, whatever the runner is.
    """
    return settings.runner in PLACES and not (node.serves and not is_remote(settings.serving_url))


def cluster_of(settings: Settings, name: str) -> Cluster:
    """The cluster, for the attempt or other undertaking `name`.

    Raises `ConfigurationError` when the warehouse is not where the tasks write: in HDFS, or in S3 for EMR.
    """
    if not settings.warehouse_url.startswith(PLACES[settings.runner]):
        raise ConfigurationError(
            f"the runner {settings.runner} cannot write to the warehouse {settings.warehouse_url!r}; valid is a folder "
            f"in {_EXAMPLES[settings.runner]}. Set warehouse, or use: pinflow --runner local"
        )
    return Cluster(
        folder=join(settings.warehouse_url, FOLDER),
        cache=environment_cache(settings),
        name=name,
        run=name,
        modules=tuple(settings.workflows),
    )


def of_node(cluster: Cluster, node: MapReduce, run: str, options: Mapping[str, Any]) -> Cluster:
    """The cluster for an attempt of a node; `run` starts the names of all attempts of it in this run."""
    # nothing is to write into the serving store twice at once
    properties = _ONCE if node.serves else {}
    return replace(cluster, run=run, files=_files(options), properties=properties)


def environment_cache(settings: Settings) -> Path:
    """The folder of this machine for the archives that travel to the nodes."""
    return settings.home_path / "cache" / "environment"


def options_there(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options that name files of this machine, as tasks of the cluster find these: in their working folder."""
    moved = dict(options)
    if "home" in moved:
        moved["home"] = "."
    if moved.get("country_database"):
        moved["country_database"] = _COUNTRIES
    return moved


def _files(options: Mapping[str, Any]) -> dict[str, str]:
    files = {}
    if "home" in options:
        load_secret(Path(options["home"]))  # it is made here, where it stays
        files[SECRET_NAME] = str(Path(options["home"], SECRET_NAME).absolute())
    if options.get("country_database"):
        files[_COUNTRIES] = str(Path(options["country_database"]).absolute())
    return files
