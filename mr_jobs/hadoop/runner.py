"""Runs a job on a cluster: its steps as Hadoop Streaming jobs, its files in the cluster's file system.

A map task gets a small file of input lines, which name what it is to read; it writes below its own output folder, so
that Hadoop's committer publishes the files of exactly one attempt of each task.
"""

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from time import monotonic
from typing import TextIO

from pinflow.errors import PinflowError
from pinflow.mr_jobs.batch_job import BatchJob
from pinflow.mr_jobs.hadoop import client
from pinflow.mr_jobs.hadoop.client import Told
from pinflow.mr_jobs.hadoop.cluster import ENVIRONMENT, JOBS, Cluster
from pinflow.mr_jobs.hadoop.failures import error_of, failure_of, was_away, was_wordless
from pinflow.mr_jobs.hadoop.packing import locked, pack
from pinflow.mr_jobs.hadoop.sizes import BUCKETS_PER_REDUCER, REDUCER_BYTES, TASK_BYTES, groups, reducer_count
from pinflow.mr_jobs.hadoop.streaming import SCRIPT, Step, Streaming
from pinflow.mr_jobs.hadoop.task import DESCRIPTION, FAILURES, INPUT_COUNTER, Description
from pinflow.mr_jobs.inputs.splits import Split
from pinflow.mr_jobs.local_tasks import load_job
from pinflow.mr_jobs.native import INPUT_ROWS, StepRun, Usage
from pinflow.mr_jobs.spec import JobSpec, check_step
from pinflow.storage import is_remote, join, open_storage
from pinflow.zygote import MALLOC

_APPLICATION = "application"
_LOST = ("Failed map", "Failed reduce", "Killed map", "Killed reduce")
_PASSED = (
    *("WEBHDFS_URL", "HADOOP_USER_NAME", "WEBHDFS_KERBEROS"),
    *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION", "AWS_REGION"),
)
_BUNDLES = {"REQUESTS_CA_BUNDLE": "authorities-http.pem", "AWS_CA_BUNDLE": "authorities-aws.pem"}
"""Variables that name a file of certificates, and how tasks find it in their working folder."""
_SUBMISSIONS = 3
"""How often a step is submitted at most while Hadoop goes away and comes back."""


class ClusterRunner(ABC):
    """Runs the steps of one job; its output goes to the folder `spec.output`, which must not be there yet."""

    def __init__(
        self, spec: JobSpec, cluster: Cluster, environment: Mapping[str, str], log: TextIO | None = None
    ) -> None:
        self._spec, self._cluster = spec, cluster
        self._log = log or sys.stderr
        self._environment = dict(environment)
        self._folder = join(cluster.folder, JOBS, cluster.name)
        self._storage = open_storage(cluster.folder)
        self._job = load_job(spec.job)

    @abstractmethod
    def _run_steps(self, steps: Sequence[Step]) -> list[StepRun]:
        """Run the steps one after the other; end them when this process is to end. Raises `PinflowError`."""

    @abstractmethod
    def _end(self, submitted: str) -> None:
        """End what an earlier attempt had remembered as `submitted`."""

    def _sent(self, files: Mapping[str, str]) -> list[str]:
        """Files of this machine, by the name that a task finds them under, as Hadoop's client takes them."""
        return [f"{path}#{name}" for name, path in files.items()]

    def run(self) -> list[StepRun]:
        """Run all steps; gives what Hadoop's counters, its own and the job's, say of each, by `GROUP/NAME`.

        Raises `PinflowError` of the kind of the task's error, with its words and where to look.
        """
        steps = self._job(list(self._spec.arguments)).steps()
        descriptions = [step.description(number) for number, step in enumerate(steps)]
        for description in descriptions:
            check_step(self._spec.job, description)
        self._end_earlier_attempts()
        with client.ended_by_signal():
            try:
                return self._run_steps(self._planned(["reducer" in description for description in descriptions]))
            finally:
                self._storage.delete(self._folder, recursive=True)

    def _planned(self, have_reducers: Sequence[bool]) -> list[Step]:
        """The steps, with everything sent that they need."""
        libraries, code = self._send_archives()
        self._send_input()
        own = {_BUNDLES[variable]: path for variable, path in self._bundles().items()} | dict(self._cluster.files)
        files = [f"{self._folder}/{DESCRIPTION}", f"{self._folder}/{SCRIPT.name}", *self._sent(own)]
        inputs = f"{self._folder}/input"
        steps = []
        for number, has_reducer in enumerate(have_reducers):
            last = number == len(have_reducers) - 1
            output = self._spec.output if last else f"{self._folder}/step-{number}"
            steps.append(
                Step(
                    inputs=[inputs],
                    output=output,
                    name=f"pinflow {self._cluster.name}",
                    reducers=self._reducers() if has_reducer else 0,
                    files=files,
                    libraries=libraries,
                    code=code,
                    variables=self._variables(),
                    properties=self._cluster.properties,
                )
            )
            inputs = output
        return steps

    def _reducers(self) -> int:
        weight = sum(weight for _, weight in self._spec.lines)
        if issubclass(self._job, BatchJob):
            return max(1, min(reducer_count(weight, REDUCER_BYTES), self._spec.buckets // BUCKETS_PER_REDUCER))
        return reducer_count(weight, TASK_BYTES)

    def _end_earlier_attempts(self) -> None:
        """Kill what a driver left running that was killed itself; a later attempt's work is none of this one's."""
        jobs = join(self._cluster.folder, JOBS)
        for entry in self._storage.list(jobs):
            is_earlier = _fence_of(entry.name) < _fence_of(self._cluster.name)
            if entry.name.startswith(self._cluster.run) and is_earlier:
                application = self._storage.read_if_exists(f"{entry.path}/{_APPLICATION}")
                if application:
                    self._say(f"ending {application.decode()}, which an earlier attempt left behind")
                    self._end(application.decode())
                self._storage.delete(entry.path, recursive=True)

    def _send_archives(self) -> list[str]:
        """The archives of libraries and of code, sent unless they are there already."""
        sent = []
        module = self._spec.job.partition(":")[0]
        with locked(self._cluster.cache):
            for archive in pack([module, *self._cluster.modules], self._cluster.cache):
                url = join(self._cluster.folder, ENVIRONMENT, archive.path.name)
                if not self._storage.exists(url):
                    self._say(f"sending {archive.path.name}, {archive.path.stat().st_size / 1e6:.1f} MB")
                    self._storage.write_file(url, archive.path)
                sent.append(url)
        return sent

    def _send_input(self) -> None:
        arguments = list(self._spec.arguments)
        if issubclass(self._job, BatchJob):
            arguments += [f"--buckets={self._spec.buckets}", f"--memory={self._spec.memory >> 10}K"]
        description = Description(self._spec.job, arguments, self._folder, self._spec.expand)
        self._storage.write_bytes(f"{self._folder}/{DESCRIPTION}", description.to_json())
        self._storage.write_file(f"{self._folder}/{SCRIPT.name}", SCRIPT)
        for number, group in enumerate(groups(list(self._lines()))):
            data = "".join(f"{line}\n" for line in group).encode()
            self._storage.write_bytes(f"{self._folder}/input/group-{number:05d}", data)

    def _lines(self) -> Iterator[tuple[str, int]]:
        """The input lines; files of this machine that they name are uploaded first."""
        uploaded: dict[str, str] = {}
        for line, weight in self._spec.lines:
            split = _split_of_file(line)
            if split is None or is_remote(split.path):
                yield line, weight
                continue
            if split.path not in uploaded:
                uploaded[split.path] = f"{self._folder}/raw/{len(uploaded)}-{Path(split.path).name}"
                self._say(f"uploading {split.path}")
                self._storage.write_file(uploaded[split.path], Path(split.path))
            yield json.dumps(split.to_json() | {"path": uploaded[split.path]}), weight

    def _failed(self, told: Told, code: int) -> PinflowError:
        """Why a step failed."""
        failure = failure_of(told, self._storage, self._folder)
        if failure and failure.trace:
            self._say(f"{failure.attempt} failed:\n{failure.trace}")
        return error_of(self._spec.job, told, failure, code)

    def _variables(self) -> dict[str, str]:
        passed = {name: self._environment[name] for name in _PASSED if name in self._environment}
        bundles = {variable: f"./{_BUNDLES[variable]}" for variable in self._bundles()}
        return {"POLARS_MAX_THREADS": "1", "PYTHONHASHSEED": "0", **MALLOC, **passed, **bundles}

    def _bundles(self) -> dict[str, str]:
        """The files of certificates that are set here, by their variable."""
        found = {variable: Path(self._environment.get(variable) or "/") for variable in _BUNDLES}
        return {variable: str(path.absolute()) for variable, path in found.items() if path.is_file()}

    def _remember(self, submitted: str) -> None:
        """Leave its id for a later attempt, in case that this process is killed."""
        with suppress(PinflowError):
            self._storage.write_bytes(f"{self._folder}/{_APPLICATION}", submitted.encode())

    def _say(self, text: str) -> None:
        print(text, file=self._log, flush=True)


class HadoopRunner(ClusterRunner):
    """Runs each step with the command `hadoop` of this machine, as a job on YARN."""

    def __init__(
        self, spec: JobSpec, cluster: Cluster, environment: Mapping[str, str], log: TextIO | None = None
    ) -> None:
        super().__init__(spec, cluster, {**environment, "HADOOP_ROOT_LOGGER": "INFO,console"}, log)
        self._streaming = Streaming.of(self._job, spec.arguments)

    def _run_steps(self, steps: Sequence[Step]) -> list[StepRun]:
        self._streaming.planned = dict(enumerate(steps))
        return [self._run_step(number, step.output) for number, step in enumerate(steps)]

    def _run_step(self, number: int, output: str) -> StepRun:
        """Run a step, and again when it failed because Hadoop was away, or lost a node, once HDFS answers."""
        for submission in count(1):
            told, started = Told(on_application=self._remember), monotonic()
            command = self._streaming.command(number)
            code = client.run(command, self._environment, self._log, told, self._streaming.yarn)
            if not code:
                break
            failed = self._failed(told, code)  # waits for HDFS
            may_pass = was_away(told) or was_wordless(told, self._storage, self._folder)
            if submission == _SUBMISSIONS or not may_pass:
                raise failed
            self._say(f"{failed}. Hadoop was away, or lost a node; the step is run again")
            self._end(told.application)
            for left in (output, join(self._folder, FAILURES)):
                self._storage.delete(left, recursive=True)
        return step_run(told.counters, monotonic() - started)

    def _end(self, submitted: str) -> None:
        client.kill(submitted, self._streaming.yarn, self._environment)


def step_run(told: Mapping[str, int], seconds: float) -> StepRun:
    """What a step's counters say of it, and the time it took."""
    counters = dict(told)
    rows = counters.pop("/".join(INPUT_COUNTER), None)
    if rows is not None:
        counters[INPUT_ROWS] = rows
    peaks = (counters.get(f"Map-Reduce Framework/Peak {k} Physical memory (bytes)", 0) for k in ("Map", "Reduce"))
    usage = Usage(
        tasks=sum(counters.get(f"Job Counters/Launched {kind} tasks", 0) for kind in ("map", "reduce")),
        lost=sum(counters.get(f"Job Counters/{kind} tasks", 0) for kind in _LOST),
        cpu_seconds=counters.get("Map-Reduce Framework/CPU time spent (ms)", 0) / 1000,
        peak_bytes=max(peaks),
    )
    return StepRun(usage, seconds, counters)


def _fence_of(name: str) -> int:
    """The fence with which an attempt's name ends, 0 for one without."""
    end = name.rpartition("-")[2]
    return int(end) if end.isdecimal() else 0


def _split_of_file(line: str) -> Split | None:
    return Split.from_json(json.loads(line)) if line.startswith("{") else None
