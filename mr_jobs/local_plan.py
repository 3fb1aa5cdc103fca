"""Which tasks a job has on this machine: what each gets of the input, and its arguments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinflow.mr_jobs.local_tasks import load_job
from pinflow.mr_jobs.spec import JobSpec

SMALL_TASK_BYTES = 4 << 20
"""Less input than this is not worth another task of lines: to start one takes as long as to work on it."""
SMALL_BATCH_BYTES = 72 << 20
"""The same for tasks of frames, which are many times faster, where the job does not say otherwise (`small_bytes`)."""

_BUCKETS_A_SLOT = 2
"""Buckets are never quite equal: a task that has several gets more of its share."""

Given = tuple[list[str], list[str]]
"""Input of a task of lines: lines, and files of lines."""


def small_bytes(job: str) -> int:
    """Less input than this is not worth another task of the job, if it is one of frames."""
    return int(getattr(load_job(job), "small_bytes", SMALL_BATCH_BYTES))


def least_buckets(job: str, weight: int, slots: int) -> int:
    """As many buckets as an input of `weight` bytes has at least: a few for each slot, one if one task does it all."""
    return _BUCKETS_A_SLOT * slots if weight > small_bytes(job) else 1


@dataclass
class Task:
    """A task to run: its partition, function and arguments; `folder` is where its parcels go, if it has any.

    `input_bytes` is known of tasks that read the job's input; `started` is a time of the monotonic clock. One that
    `counts` has to leave a shard of statistics in its output.
    """

    partition: int
    function: str
    arguments: dict[str, Any]
    attempt: int = 0
    folder: Path | None = None
    input_bytes: int | None = None
    started: float = 0.0
    counts: bool = False


class Plan:
    """The tasks of one job, whose parcels go below `folder`."""

    def __init__(self, spec: JobSpec, folder: Path) -> None:
        self.spec = spec
        self.folder = folder
        self._weights = dict(spec.lines)
        self._small = small_bytes(spec.job)

    @property
    def counts(self) -> bool:
        """Whether the tasks that write the dataset leave shards of statistics."""
        return "--to=parquet" in self.spec.arguments

    @property
    def is_small(self) -> bool:
        """Whether one map task and one reduce task do it all, in no time."""
        return len(self.groups(self._small)) == self._reducer_count == 1

    def _arguments(self, *more: str) -> list[str]:
        return [*self.spec.arguments, f"--buckets={self.spec.buckets}", f"--memory={self.spec.memory >> 10}K", *more]

    def groups(self, small: int = SMALL_TASK_BYTES) -> list[list[str]]:
        """Input lines for each map task: neighbours together, of about the same weight, none for less than `small`."""
        total = sum(weight for _, weight in self.spec.lines)
        count = max(1, min(len(self.spec.lines), -(-total // small), self.spec.slots))
        largest = self.spec.memory // 4
        share = min(max(total / count, 1), largest)
        groups: list[list[str]] = [[]]
        weight_so_far = 0.0
        for line, weight in self.spec.lines:
            if groups[-1] and weight_so_far + weight / 2 > share:
                groups.append([])
                weight_so_far = 0.0
            groups[-1].append(line)
            weight_so_far += weight
        return groups

    def _weight(self, lines: list[str]) -> int:
        return sum(self._weights[line] for line in lines)

    def batch_maps(self, *, shuffles: bool) -> list[Task]:
        """The map tasks of a BatchJob."""
        tasks = []
        for number, lines in enumerate(self.groups(self._small)):
            folder = self.folder / f"map-{number:05d}" if shuffles else None
            arguments = {"job": self.spec.job, "arguments": self._arguments("--mapper", "--step-num=0"), "lines": lines}
            tasks.append(Task(number, "run_batch_task", arguments, folder=folder, input_bytes=self._weight(lines)))
            tasks[-1].counts = self.counts and not shuffles
        return tasks

    @property
    def _reducer_count(self) -> int:
        worth = -(-sum(self._weights.values()) // self._small)
        return max(1, min(self.spec.slots, self.spec.buckets, worth))

    def batch_reduces(self, folders: Sequence[Path]) -> list[Task]:
        """The reduce tasks of a BatchJob, which read the parcels of `folders`."""
        from_folders = [f"--shuffle-from={folder}" for folder in folders]
        count = self._reducer_count
        tasks = []
        for number in range(count):
            buckets = ",".join(map(str, range(number, self.spec.buckets, count)))
            arguments = self._arguments("--reducer", "--step-num=0", *from_folders, f"--reduce-buckets={buckets}")
            given = {"job": self.spec.job, "arguments": arguments, "lines": []}
            tasks.append(Task(number, "run_batch_task", given, counts=self.counts))
        return tasks

    def line_maps(self, step: int, inputs: Sequence[Given], description: Mapping[str, Any]) -> list[Task]:
        """The map tasks of a step of lines that has a reducer."""
        mapper, combiner = (
            self._line_arguments(f"--{task}", step) if task in description else [] for task in ("mapper", "combiner")
        )
        tasks = []
        for number, (lines, files) in enumerate(inputs):
            folder = self.folder / f"map-{step}-{number:05d}"
            arguments = {
                "job": self.spec.job,
                "arguments": mapper,
                "combiner": combiner,
                "lines": lines,
                "files": files,
                "reducers": self.spec.slots,
                "expand": self.spec.expand,
            }
            weight = self._weight(lines) if lines else None
            tasks.append(Task(number, "run_line_mapper", arguments, folder=folder, input_bytes=weight))
        return tasks

    def line_reduces(self, step: int, folders: Sequence[Path], *, is_last: bool) -> list[Task]:
        """The reduce tasks of a step of lines."""
        tasks = []
        for number in range(self.spec.slots):
            files = [str(folder / f"{number}.lines") for folder in folders]
            tasks.append(self._line_task("--reducer", step, number, ([], []), files, is_last=is_last))
        return tasks

    def only_line_maps(self, step: int, inputs: Sequence[Given], *, is_last: bool) -> list[Task]:
        """The tasks of a step of lines without a reducer."""
        return [
            self._line_task("--mapper", step, number, given, [], is_last=is_last) for number, given in enumerate(inputs)
        ]

    def _line_task(
        self, kind: str, step: int, number: int, given: Given, sorted_files: list[str], *, is_last: bool
    ) -> Task:
        arguments = {
            "job": self.spec.job,
            "arguments": self._line_arguments(kind, step),
            "lines": given[0],
            "files": given[1],
            "sorted_files": sorted_files,
            "expand": self.spec.expand,
        }
        weight = self._weight(given[0]) if given[0] else None
        return Task(number, "run_line_task", arguments, input_bytes=weight, counts=is_last and self.counts)

    def _line_arguments(self, kind: str, step: int) -> list[str]:
        return [*self.spec.arguments, kind, f"--step-num={step}"]
