"""The smallest job on a cluster, which `pinflow doctor` runs: one task tells where and by what it is run."""

import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from time import monotonic
from typing import TextIO

from mrjob.job import MRJob

from pinflow.mr_jobs.hadoop.cluster import Cluster
from pinflow.mr_jobs.hadoop.emr import reachable
from pinflow.mr_jobs.hadoop.runner import HadoopRunner
from pinflow.mr_jobs.spec import JobSpec
from pinflow.storage import join, open_storage


class Probe(MRJob):
    """Tells the node's name and its Python."""

    def mapper(self, _: None, line: str) -> Iterator[tuple[str, str]]:
        """One pair, whatever the line says."""
        yield platform.node(), f"Python {sys.version.split()[0]} at {sys.executable}"


def ask_emr(cluster: Cluster) -> str:
    """What EMR answers to a question that costs nothing; raises `PinflowError`."""
    return f"{reachable(Probe, cluster.folder)} answers; no job was tried, which would cost a cluster"


def try_out(cluster: Cluster, environment: Mapping[str, str], log: TextIO) -> str:
    """Run the job and say what it told; raises `PinflowError` as any job does."""
    output = join(cluster.folder, f"{cluster.name}-output")
    storage = open_storage(cluster.folder)
    started = monotonic()
    with ExitStack() as after:
        after.callback(storage.delete, output, recursive=True)
        spec = JobSpec(f"{__name__}:{Probe.__name__}", (), (("", 1),), output)
        HadoopRunner(spec, cluster, environment, log).run()
        told = storage.read_bytes(join(output, "part-00000")).decode().strip()
    node, python = (text.strip('"') for text in told.split("\t"))
    return f"a task ran on the node {node} with {python}; the job took {monotonic() - started:.0f} s"
