"""What a node's process does: run its job, merge and check the statistics, then publish: write, audit, publish."""

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pinflow import config
from pinflow.config import Settings
from pinflow.database import open_database
from pinflow.errors import FatalAlertError, LimitExceededError
from pinflow.hbase_schema.markers import read_marker
from pinflow.hbase_schema.store import open_store
from pinflow.mr_jobs import local_plan
from pinflow.mr_jobs.clustering import BUCKET_SHARE, bucket_count, finer
from pinflow.mr_jobs.datasets import Published, Warehouse
from pinflow.mr_jobs.hadoop import sizes
from pinflow.mr_jobs.job import DatasetJob, job_arguments
from pinflow.mr_jobs.launch import JobOutput, clustered_by, describe, launch
from pinflow.mr_jobs.local_tasks import load_job
from pinflow.mr_jobs.spec import JobSpec
from pinflow.scheduler.child import ANEW_VARIABLE, SKIPPED, give_declared, leave_result
from pinflow.stats_engine.alerts import JobKey, alerts_of
from pinflow.stats_engine.channels import channels_of
from pinflow.stats_engine.limits import growing_maxima
from pinflow.stats_engine.outbox import deliver
from pinflow.stats_engine.record import is_recorded, mark_published, record
from pinflow.stats_engine.rules import Violation, evaluate
from pinflow.stats_engine.statistics import Statistics
from pinflow.storage import is_remote, open_storage
from pinflow.workflows.audit import audit
from pinflow.workflows.inputs import Resolved, identity_of, resolve, served_labels
from pinflow.workflows.node import MapReduce
from pinflow.workflows.on_cluster import cluster_of, of_node, options_there, runs_on_cluster
from pinflow.workflows.shrinking import days_read, fuller_periods, without


@dataclass(frozen=True)
class Attempt:
    """Which attempt of which job of which run this process is."""

    run_id: str
    workflow: str
    job: str
    number: int
    day: date
    fence: int
    anew: bool = False

    @classmethod
    def current(cls, environment: Mapping[str, str]) -> "Attempt":
        """From what the scheduler put into the environment of the job's process."""
        return cls(
            run_id=environment["PINFLOW_RUN_ID"],
            workflow=environment["PINFLOW_WORKFLOW"],
            job=environment["PINFLOW_JOB"],
            number=int(environment["PINFLOW_ATTEMPT"]),
            day=date.fromisoformat(environment["PINFLOW_DATE"]),
            fence=int(environment["PINFLOW_FENCE"]),
            anew=environment.get(ANEW_VARIABLE) == "1",
        )

    @property
    def name(self) -> str:
        """The attempt in the name of its folder; the fence keeps two attempts of one number apart."""
        return f"{self.run_id}-{self.number}-{self.fence}"


def run(node: Mapping[str, Any], **taken: Any) -> int | None:
    """Run one node; values that it takes from other jobs are options of its job.

    Gives 10 when its result is published already for the same inputs and code.

    Raises `FatalAlertError` when a fatal rule fired: nothing is published then.
    """
    wanted = MapReduce.from_json(node)
    wanted = replace(wanted, options={**wanted.options, **taken})
    attempt = Attempt.current(os.environ)
    settings = config.load()
    return _NodeRun(wanted, attempt, settings).run()


class _NodeRun:
    """One attempt of a node, step by step."""

    def __init__(self, node: MapReduce, attempt: Attempt, settings: Settings) -> None:
        self.node, self.attempt, self.settings = node, attempt, settings
        self._served: dict[str, int] = {}
        self._alerted = False
        self.warehouse = Warehouse(settings.warehouse_url)
        self.folder = self.warehouse.attempt_folder(node.dataset, attempt.day, attempt.name)
        self.name = f"{node.dataset}-{attempt.day}-{attempt.name}"
        self.on_cluster = runs_on_cluster(node, settings)
        # tasks of this machine write to it; what is to be published goes to a remote warehouse as a whole
        self.staged = is_remote(self.folder) and not self.on_cluster
        self.output = str(settings.staging_path / self.name) if self.staged else self.folder
        self.key = JobKey(
            workflow=attempt.workflow,
            run_id=attempt.run_id,
            job=attempt.job,
            attempt=attempt.number,
            date=attempt.day.isoformat(),
            owner=node.owner,
        )

    @property
    def _is_anew(self) -> bool:
        return self.node.rebuild or self.attempt.anew

    @cached_property
    def _database(self) -> sa.Engine:
        return open_database(self.settings.database_url).execution_options(writes=True)

    def run(self) -> int | None:
        try:
            return self._run()
        finally:
            if self._alerted:  # after publishing: a mail server that hangs keeps nobody from the data
                deliver(self._database, channels_of(self.settings), datetime.now(UTC))
            self._database.dispose()

    def _run(self) -> int | None:
        resolved = resolve(self.node, self.attempt.day, self.settings, self.warehouse)
        identity = identity_of(self.node, resolved, self.attempt.day)
        # a rebuild does not ask what is there: it may be damaged
        before = None if self._is_anew else self.warehouse.current(self.node.dataset, self.attempt.day)
        if before is not None and before.identity == identity and self._is_there(before):
            self._confirm(before, fine_at=datetime.now(UTC))
            leave_result({"reason": f"published by {before.run_id} for the same inputs and code"})
            give_declared(rows=before.rows, bytes=before.bytes)
            return SKIPPED
        try:
            output = self._launch(resolved)
        except LimitExceededError as stopped:
            counted = Statistics(counts=stopped.counts)
            self._keep(counted, evaluate(growing_maxima(self.node.rules), counted))
            raise FatalAlertError(f"{stopped}. Nothing was published. See: pinflow alerts") from stopped
        found = audit(self._database, self.node, self.key, output.statistics)
        violations = self._keep(output.statistics, found, output.steps)
        fatal = [violation for violation in violations if violation.degree == "fatal"]
        if fatal:
            raise FatalAlertError(
                f"stopped before publishing: {'; '.join(v.message for v in fatal)}. "
                f"What was written lies in {self.output}. See: pinflow alerts"
            )
        self._publish(output, identity, resolved.datasets)
        return None

    def _launch(self, resolved: Resolved) -> JobOutput:
        is_plain = not issubclass(load_job(self.node.job), DatasetJob)
        options = dict(self.node.options)
        if not is_plain:
            options = {"date": self.attempt.day, "to": "parquet", **resolved.options, **options}
        if self.node.serves:
            options |= self._serving_options(resolved)
        buckets, divided = self._bucket_counts(resolved.weight)
        if divided > 1:
            options["finer"] = divided
        self._buckets = buckets * divided
        cluster = None
        if self.on_cluster:
            run = self.name.removesuffix(f"{self.attempt.number}-{self.attempt.fence}")
            cluster = of_node(cluster_of(self.settings, self.name), self.node, run, options)
            options = options_there(options)
        spec = JobSpec(
            job=self.node.job,
            arguments=tuple(job_arguments(**options)),
            lines=tuple(resolved.lines),
            output=self.output,
            buckets=buckets,
            slots=self.settings.slot_count,
            memory=self.settings.memory_bytes,
            maxima={rule.name: rule.max for rule in growing_maxima(self.node.rules) if rule.max is not None},
            expand=is_plain,
        )
        storage = open_storage(self.output)
        storage.delete(self.output, recursive=True)
        if cluster is None:
            storage.make_folder(self.output)
        return launch(spec, self.settings.runner, os.environ, cluster)

    def _bucket_counts(self, weight: int) -> tuple[int, int]:
        """The buckets that the job works with, and into how many each of them is divided when it is written."""
        if not clustered_by(self.node.job):
            return 1, 1
        if self.on_cluster:
            least = sizes.least_buckets(weight)
        else:
            least = local_plan.least_buckets(self.node.job, weight, self.settings.slot_count)
        job = load_job(self.node.job)
        buckets = bucket_count(weight, self.settings.memory_bytes // getattr(job, "bucket_share", BUCKET_SHARE), least)
        return buckets, finer(weight, buckets, getattr(job, "bytes_a_file", None))

    def _is_there(self, published: Published) -> bool:
        """Whether its files, and the rows that a node put into the serving store, are still there."""
        if not self.warehouse.is_whole(published):
            return False
        if not self.node.serves:
            return True
        with open_store(self.settings.serving_url) as store:
            section = load_job(self.node.job).section
            marker = read_marker(store, section, "daily", self.attempt.day)
        return marker is not None and marker.version == published.run_id

    def _serving_options(self, resolved: Resolved) -> dict[str, Any]:
        day, section = self.attempt.day, load_job(self.node.job).section
        read = days_read(self.warehouse, resolved, day)
        fuller = fuller_periods(self.settings, section, self.node.dataset, day, read, datetime.now(UTC))
        for name, count in fuller.items():
            logging.warning("%s is left as it is: it was made of %d days, %d are left of them", name, count, read[name])
        self._served = read | fuller
        return {
            "serving": self.settings.serving_url,
            "fence": self.attempt.fence,
            "version": self.attempt.run_id,
            "labels": ",".join(without(served_labels(self.warehouse, resolved, day), fuller)),
        }

    def _keep(
        self, statistics: Statistics, violations: Sequence[Violation], steps: Sequence[Statistics] = ()
    ) -> list[Violation]:
        """Keep the statistics, of steps too, together with the alerts that they raise, in one transaction (ST-03).

        Gives the violations that nobody has accepted.
        """
        alerts = alerts_of(violations)
        accepted = record(self._database, self.key, statistics, alerts, datetime.now(UTC), steps)
        self._alerted = bool(alerts)
        return [found for found, alert in zip(violations, alerts, strict=True) if alert.rule not in accepted]

    def _publish(self, output: JobOutput, identity: str, inputs: list[tuple[str, str, str]]) -> None:
        published = Published(
            dataset=self.node.dataset,
            date=self.attempt.day.isoformat(),
            attempt=self.folder.rpartition("/")[2],
            fence=self.attempt.fence,
            identity=identity,
            rows=output.rows,
            bytes=output.bytes,
            parts=output.parts,
            clustered_by=clustered_by(self.node.job),
            buckets=self._buckets,
            published_at=datetime.now(UTC).isoformat(),
            run_id=self.attempt.run_id,
            number=self.attempt.number,
            inputs=tuple(inputs),
            served=tuple(self._served.items()),
        )
        describe(published, self.output)
        if self.staged:
            self.warehouse.upload(Path(self.output), self.folder)
        self.warehouse.publish(published, rebuild=self._is_anew)
        if self.staged:
            shutil.rmtree(self.output, ignore_errors=True)
        mark_published(self._database, self.key)
        self._confirm_later()
        leave_result({"rows": output.rows, "bytes": output.bytes, "seconds": round(output.seconds, 3)})
        give_declared(rows=output.rows, bytes=output.bytes)

    def _confirm_later(self) -> None:
        """Of two runs that end together the one whose data stands is the published one in SQL, too."""
        now = self.warehouse.current(self.node.dataset, self.attempt.day)
        if now is not None and (now.run_id, now.number) != (self.attempt.run_id, self.attempt.number):
            self._confirm(now)

    def _confirm(self, published: Published, *, fine_at: datetime | None = None) -> None:
        """Say so in SQL too: the process that published may have died before it could."""
        key = replace(self.key, run_id=published.run_id, attempt=published.number)
        if is_recorded(self._database, key):
            mark_published(self._database, key, fine_at=fine_at)
