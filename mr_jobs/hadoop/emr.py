"""Runs a job on Amazon EMR: its steps as Hadoop Streaming steps of a cluster that mrjob starts or finds.

What runs on the nodes is what runs on any Hadoop; they only need Python, which a bootstrap action installs.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any, TextIO

from botocore.exceptions import BotoCoreError, ClientError
from mrjob.conf import load_opts_from_mrjob_confs
from mrjob.emr import EMRJobRunner
from mrjob.job import MRJob
from mrjob.step import StepFailedException

from pinflow.errors import ConfigurationError, PinflowError
from pinflow.mr_jobs.hadoop.client import Told
from pinflow.mr_jobs.hadoop.cluster import Cluster
from pinflow.mr_jobs.hadoop.runner import ClusterRunner, step_run
from pinflow.mr_jobs.hadoop.streaming import PYTHON, PlannedSteps, Step, options_explained
from pinflow.mr_jobs.job import DatasetJob
from pinflow.mr_jobs.native import StepRun
from pinflow.mr_jobs.spec import JobSpec
from pinflow.storage import join

LOGS = "emr-logs"
_OWN, _SHARED = "own", "shared"
_RELEASE = "release_label"
# it ends itself as soon as no step is left: the steps must be there from the start, and run one after the other
_OWN_CLUSTER = ["--add-steps-in-batch", "--max-concurrent-steps", "1"]
_INSTALL_PYTHON = f"command -v python{PYTHON} || sudo dnf install -y python{PYTHON}"
# what a task wrote below its output folder is published with the attempt that counts
_COMMITTER = {"mapred.output.committer.class": "org.apache.hadoop.mapred.FileOutputCommitter"}


class EmrSteps(PlannedSteps, EMRJobRunner):
    """mrjob's runner for EMR with `planned` steps; `on_step` hears of each that was submitted."""

    on_step: Callable[[str], None]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.seconds: dict[int, float] = {}
        """How long each step took that has ended, by its number; -1 is mrjob's own step that sets up the cluster."""

    @classmethod
    def of(cls, job: type[MRJob], arguments: Sequence[str], folder: str, logs: str) -> "EmrSteps":
        """The runner of a job; options that mrjob.conf has for `emr` count. `folder` is for mrjob's own files.

        Raises `ConfigurationError` when mrjob.conf names neither a release nor a cluster, or cannot be used.
        """
        with _explained(), options_explained("emr"):
            return cls(**job([*_own_options(job, folder, logs), *arguments])._runner_kwargs())

    def submitted(self) -> str:
        """The cluster, whether it is this job's own, and the steps; a pooled one is for other jobs, too."""
        is_own = self._created_cluster and not self._opts["pool_clusters"]
        return " ".join((str(self.get_cluster_id()), _OWN if is_own else _SHARED, *self._step_ids))

    def get_hadoop_version(self) -> str:
        """See EMRJobRunner; names of properties are those of Hadoop 2 and later."""
        return "3.0.0"

    def _jobconf_for_step(self, step_num: int) -> dict[str, Any]:
        return _COMMITTER | super()._jobconf_for_step(step_num)

    def _add_steps_to_cluster(self, steps: list[dict[str, Any]]) -> None:
        super()._add_steps_to_cluster(steps)
        self.on_step(self.submitted())

    def _wait_for_step_to_complete(self, step_id: str, step_num: int) -> None:
        # mrjob waits for one step after the other, also when they were submitted together or on another cluster again
        started = monotonic()
        super()._wait_for_step_to_complete(step_id, step_num)
        self.seconds[step_num] = monotonic() - started


def _own_options(job: type[MRJob], folder: str, logs: str) -> list[str]:
    """What pinflow asks of mrjob, beside the options that mrjob.conf has."""
    given = {name: value for _, options in load_opts_from_mrjob_confs("emr") for name, value in options.items()}
    if not given.keys() & {_RELEASE, "cluster_id"}:
        raise ConfigurationError(
            "the runner emr is not told which release of EMR to start; set release_label, such as emr-7.9.0, below "
            "runners: emr: in mrjob.conf, or cluster_id for a cluster that runs. See: docs/how-to/emr.md"
        )
    own = ["-r", "emr", "--no-bootstrap-mrjob", "--no-check-input-paths", "--bootstrap", _INSTALL_PYTHON]
    own += ["--cloud-tmp-dir", folder]
    own += [] if "cloud_log_dir" in given else ["--cloud-log-dir", logs]
    own += [] if given.get("cluster_id") or given.get("pool_clusters") else _OWN_CLUSTER
    # of pinflow's jobs everything is counted in their shards; logs come minutes late
    own += ["--no-read-logs"] if issubclass(job, DatasetJob) else []
    return own


def reachable(job: type[MRJob], folder: str) -> str:
    """What a job would run on, asked of EMR without a job, which would cost a cluster; raises `PinflowError`."""
    made = EmrSteps.of(job, (), join(folder, "mrjob"), join(folder, LOGS))
    with _explained():
        made.make_emr_client().list_clusters(ClusterStates=["WAITING"])
    options = made._opts
    return str(options["cluster_id"] or f"{options[_RELEASE]} in {options['region']}")


class EmrRunner(ClusterRunner):
    """Runs the steps on EMR; what mrjob says of their progress goes to the log."""

    def __init__(
        self, spec: JobSpec, cluster: Cluster, environment: Mapping[str, str], log: TextIO | None = None
    ) -> None:
        super().__init__(spec, cluster, environment, log)
        arguments = [*spec.arguments, f"{self._folder}/input"]
        self._steps = EmrSteps.of(self._job, arguments, join(self._folder, "mrjob"), join(cluster.folder, LOGS))
        self._steps.on_step = self._remember

    def _sent(self, files: Mapping[str, str]) -> list[str]:
        sent = []
        for name, path in files.items():
            url = join(self._folder, "files", name)
            self._storage.write_file(url, Path(path))
            sent.append(f"{url}#{name}")
        return sent

    def _run_steps(self, steps: Sequence[Step]) -> list[StepRun]:
        runner = self._steps
        runner.planned = dict(enumerate(steps))
        with self._heard() as heard, _explained(), runner:
            try:
                runner.run()
            except StepFailedException:
                where = f"EMR step of {runner.submitted()}"
                raise self._failed(Told(place=where, tail=heard), 1) from None
            except BaseException:
                self._end(runner.submitted())
                raise
        counters = enumerate(runner.counters())
        return [step_run(_flat(groups), runner.seconds.get(number, 0.0)) for number, groups in counters]

    @contextmanager
    def _heard(self) -> Iterator[list[str]]:
        """What mrjob says meanwhile, which goes to the log, too."""
        log, heard = logging.getLogger("mrjob"), list[str]()

        class Handler(logging.Handler):
            def emit(_, record: logging.LogRecord) -> None:  # noqa: N805
                heard.append(record.getMessage())
                self._say(heard[-1])

        handler, level, propagate = Handler(), log.level, log.propagate
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
        try:
            yield heard
        finally:
            log.removeHandler(handler)
            log.setLevel(level)
            log.propagate = propagate

    def _end(self, submitted: str) -> None:
        """Terminate the job's own cluster; of another one cancel the steps."""
        cluster, kind, *steps = submitted.split()
        client = self._steps.make_emr_client()
        with suppress(BotoCoreError, ClientError):
            if kind == _OWN:
                client.terminate_job_flows(JobFlowIds=[cluster])
            elif steps:
                client.cancel_steps(ClusterId=cluster, StepIds=steps, StepCancellationOption="TERMINATE_PROCESS")


def _flat(groups: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    return {f"{group.strip()}/{name}": value for group, names in groups.items() for name, value in names.items()}


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise PinflowError(
            f"EMR does not do what it was asked for: {error}. Check the credentials, their rights, and the options "
            "below runners: emr: in mrjob.conf; see docs/how-to/emr.md"
        ) from error
