"""The default runner: the tasks of a job as forked processes of this machine, with Hadoop's contract of a task.

A task writes below its own attempt folder; the runner moves its files into the job's output when the task has
succeeded. A task that was killed is tried again, one that failed by itself is not: it would fail again.
"""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from mrjob.job import MRJob

from pinflow.errors import ConfigurationError, FatalAlertError, InputMissingError, PinflowError
from pinflow.mr_jobs import slots
from pinflow.mr_jobs.batch_job import BatchJob
from pinflow.mr_jobs.executors import Executor
from pinflow.mr_jobs.local_tasks import load_job, message_file, read_message, reserve_message
from pinflow.mr_jobs.native import StepRun
from pinflow.mr_jobs.progress import INTERVAL, Watch, read_report
from pinflow.mr_jobs.slots import Slots
from pinflow.mr_jobs.task import STATS_FOLDER, STEP_VARIABLE
from pinflow.stats_engine.rules import INPUT_BYTES
from pinflow.storage import explained
from pinflow.zygote import Call, Exit

TASKS = "pinflow.mr_jobs.local_tasks"
TEMPORARY = "_temporary"
MAX_ATTEMPTS = 4
SMALL_TASK_BYTES = 4 << 20
_KINDS: dict[int | None, type[PinflowError]] = {
    int(kind.exit_code): kind for kind in (ConfigurationError, FatalAlertError, InputMissingError)
}


@dataclass(frozen=True)
class JobSpec:
    """One MapReduce job to run: `lines` are its input lines, each with its weight in bytes.

    With `expand` they name splits, and the job is a plain `MRJob`, which gets the lines that they name. `maxima` are
    those of counts above which it is to be stopped while it runs.
    """

    job: str
    arguments: tuple[str, ...]
    lines: tuple[tuple[str, int], ...]
    output: str
    buckets: int = 1
    slots: int = 1
    memory: int = 512 << 20
    expand: bool = False
    maxima: Mapping[str, float] = field(default_factory=dict)


@dataclass
class _Task:
    """A task to run: its partition, function and arguments; `folder` is where its parcels go, if it has any.

    `input_bytes` is known of tasks that read the job's input; `started` is a time of the monotonic clock. One that
    `counts` has to leave a shard of statistics in its output. `first` is the map task that its process does before.
    """

    partition: int
    function: str
    arguments: dict[str, Any]
    attempt: int = 0
    folder: Path | None = None
    input_bytes: int | None = None
    started: float = 0.0
    counts: bool = False
    first: "_Task | None" = None


@dataclass
class LocalRunner:
    """Runs the steps of one job."""

    spec: JobSpec
    executor: Executor
    environment: Mapping[str, str]

    def __post_init__(self) -> None:
        self._output = Path(self.spec.output)
        self._temporary = self._output / TEMPORARY
        self._key = self._output.name.lstrip("_")
        self._step = 0
        self._runs = [StepRun()]
        self._weights = dict(self.spec.lines)
        self._watch = Watch(self.spec.maxima)
        self._slots = Slots(self.spec.slots)
        self._counts = "--to=parquet" in self.spec.arguments

    def run(self) -> list[StepRun]:
        """Run all tasks; the job's files lie in its output folder afterwards. Gives what is known of each step.

        Raises `PinflowError` when a task failed: of the kind of the task's own error, with its message; and
        `LimitExceededError` when a count passed its maximum, whose tasks end with the executor.
        """
        self._watch.take("input", {INPUT_BYTES: sum(weight for _, weight in self.spec.lines)})
        self._watch.check()
        job = load_job(self.spec.job)
        self._temporary.mkdir(parents=True, exist_ok=True)
        started = monotonic()
        with self._slots:
            if issubclass(job, BatchJob):
                self._run_batches(job)
                self._runs[0].seconds = monotonic() - started
            else:
                self._run_lines(job)
        shutil.rmtree(self._temporary, ignore_errors=True)
        return self._runs

    def _arguments(self, *more: str) -> list[str]:
        return [*self.spec.arguments, f"--buckets={self.spec.buckets}", f"--memory={self.spec.memory >> 10}K", *more]

    def _groups(self) -> list[list[str]]:
        """Input lines for each map task: neighbours together, of about the same weight."""
        total = sum(weight for _, weight in self.spec.lines)
        count = max(1, min(len(self.spec.lines), -(-total // SMALL_TASK_BYTES), self.spec.slots))
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

    def _run_batches(self, job: type[BatchJob]) -> None:
        shuffles = bool(job.cluster_by)
        maps = []
        for number, lines in enumerate(self._groups()):
            folder = self._temporary / f"map-{number:05d}" if shuffles else None
            arguments = {"job": self.spec.job, "arguments": self._arguments("--mapper", "--step-num=0"), "lines": lines}
            maps.append(_Task(number, "run_batch_task", arguments, folder=folder, input_bytes=self._weight(lines)))
            maps[-1].counts = self._counts and not shuffles
        is_small = sum(self._weights.values()) <= SMALL_TASK_BYTES
        if shuffles and is_small and len(maps) == self._reducer_count == 1 and not self._watch.maxima:
            self._run_in_one(maps[0])
            return
        done = self._run_all(maps, "map")
        if shuffles:
            self._run_all(self._reducers([folder for folder in done if folder]), "reduce")

    def _run_in_one(self, only_map: _Task) -> None:
        """Do the map and the reduce task of a small job in one process: two would cost more than what they do."""
        folder = self._folder(only_map)
        (task,) = self._reducers([folder] if folder else [])
        task.first, task.input_bytes = only_map, only_map.input_bytes
        self._run_all([task], "reduce")

    @property
    def _reducer_count(self) -> int:
        return max(1, min(self.spec.slots, self.spec.buckets))

    def _reducers(self, folders: list[Path]) -> list[_Task]:
        from_folders = [f"--shuffle-from={folder}" for folder in folders]
        count = self._reducer_count
        tasks = []
        for number in range(count):
            buckets = ",".join(map(str, range(number, self.spec.buckets, count)))
            arguments = self._arguments("--reducer", "--step-num=0", *from_folders, f"--reduce-buckets={buckets}")
            given = {"job": self.spec.job, "arguments": arguments, "lines": []}
            tasks.append(_Task(number, "run_batch_task", given, counts=self._counts))
        return tasks

    def _run_lines(self, job: type[MRJob]) -> None:
        steps = job(args=list(self.spec.arguments)).steps()
        self._runs = [StepRun() for _ in steps]
        inputs: list[tuple[list[str], list[str]]] = [(lines, []) for lines in self._groups()]
        for number, step in enumerate(steps):
            description = step.description(number)
            check_step(self.spec.job, description)
            self._step, started = number, monotonic()
            last = number == len(steps) - 1
            self._counts = last and "--to=parquet" in self.spec.arguments
            if "reducer" in description:
                folders = self._map_lines(number, inputs, description)
                tasks = self._reduce_lines(number, folders)
            else:
                tasks = self._last_lines("--mapper", number, inputs)
            self._run_all(tasks, f"step {number + 1}", into=None if last else self._step_folder(number))
            self._runs[number].seconds = monotonic() - started
            if not last:
                inputs = [([], [str(file)]) for file in sorted(self._step_folder(number).glob("part-*"))]

    def _step_folder(self, number: int) -> Path:
        return self._temporary / f"step-{number}"

    def _map_lines(
        self, step: int, inputs: list[tuple[list[str], list[str]]], description: Mapping[str, Any]
    ) -> list[Path]:
        mapper, combiner = (
            self._line_arguments(f"--{task}", step) if task in description else [] for task in ("mapper", "combiner")
        )
        tasks = []
        for number, (lines, files) in enumerate(inputs):
            folder = self._temporary / f"map-{step}-{number:05d}"
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
            tasks.append(_Task(number, "run_line_mapper", arguments, folder=folder, input_bytes=weight))
        return [folder for folder in self._run_all(tasks, "map") if folder]

    def _reduce_lines(self, step: int, folders: list[Path]) -> list[_Task]:
        return [
            self._line_task(
                "--reducer", step, number, ([], []), [str(folder / f"{number}.lines") for folder in folders]
            )
            for number in range(self.spec.slots)
        ]

    def _last_lines(self, kind: str, step: int, inputs: list[tuple[list[str], list[str]]]) -> list[_Task]:
        return [self._line_task(kind, step, number, given, []) for number, given in enumerate(inputs)]

    def _line_task(
        self, kind: str, step: int, number: int, given: tuple[list[str], list[str]], sorted_files: list[str]
    ) -> _Task:
        arguments = {
            "job": self.spec.job,
            "arguments": self._line_arguments(kind, step),
            "lines": given[0],
            "files": given[1],
            "sorted_files": sorted_files,
            "expand": self.spec.expand,
        }
        weight = self._weight(given[0]) if given[0] else None
        return _Task(number, "run_line_task", arguments, input_bytes=weight, counts=self._counts)

    def _line_arguments(self, kind: str, step: int) -> list[str]:
        return [*self.spec.arguments, kind, f"--step-num={step}"]

    def _run_all(self, tasks: Sequence[_Task], kind: str, *, into: Path | None = None) -> list[Path | None]:
        """Run tasks on the slots; gives the parcels' folder of each, in the order of `tasks`."""
        waiting = list(reversed(tasks))
        running: dict[int, _Task] = {}
        folders: dict[int, Path | None] = {}
        while waiting or running:
            while waiting and len(running) < self.spec.slots and self._slots.take(wait=not running):
                task = waiting.pop()
                running[self._start(task, kind)] = task
            exit = self.executor.wait(self._patience(is_short=bool(waiting) and len(running) < self.spec.slots))
            self._look(running.values(), kind)
            if exit is None or exit.pid not in running:
                self._watch.check()
                continue
            task = running.pop(exit.pid)
            self._slots.give_back()
            self._runs[self._step].usage.add(exit, monotonic() - task.started, task.input_bytes)
            if self._succeeded(task, exit, kind):
                self._commit(task, kind, into or self._output)
                folders[task.partition] = self._folder(task)
            else:
                self._watch.take((kind, self._step, task.partition), {})
                task.attempt += 1
                waiting.append(task)
            if waiting or running:  # what has ended is judged as a whole
                self._watch.check()
        return [folders[task.partition] for task in tasks]

    def _patience(self, *, is_short: bool) -> float | None:
        """For how many seconds to wait for the end of a task: until it is time to look for a slot, or at its counts."""
        if is_short:
            return slots.INTERVAL
        return INTERVAL if self._watch.maxima else None

    def _look(self, tasks: Iterable[_Task], kind: str) -> None:
        """Take in how far the watched counts of tasks are."""
        for task in tasks if self._watch.maxima else ():
            counts = read_report(self._temporary / self._attempt(task, kind))
            self._watch.take((kind, self._step, task.partition), counts)

    def _folder(self, task: _Task) -> Path | None:
        return task.folder.with_name(f"{task.folder.name}.{task.attempt}") if task.folder else None

    def _attempt(self, task: _Task, kind: str) -> str:
        letter = "m" if kind == "map" else "r"
        return f"attempt_{self._key}_{self._step:04d}_{letter}_{task.partition:06d}_{task.attempt}"

    def _start(self, task: _Task, kind: str) -> int:
        task.started = monotonic()
        function, environment, arguments = task.function, self._environment_of(task, kind), self._given(task, kind)
        if task.first:
            shutil.rmtree(str(self._folder(task.first)), ignore_errors=True)  # of an attempt that was killed
            pairs = ((task.first, "map"), (task, kind))
            arguments = {"tasks": [self._given(*pair) | {"environment": self._environment_of(*pair)} for pair in pairs]}
            function = "run_batch_tasks"
        call = Call(
            function=f"{TASKS}:{function}",
            arguments=arguments,
            environment={**self.environment, **self._watch.variables, "POLARS_MAX_THREADS": "1", **environment},
            folder=str(Path.cwd()),
            output=1,
            group=os.getpgrp(),
        )
        return self.executor.fork(call)

    def _given(self, task: _Task, kind: str) -> dict[str, Any]:
        """The arguments of an attempt, whose output folder is made."""
        output = self._temporary / self._attempt(task, kind)
        with explained("write", str(output)):
            output.mkdir(parents=True, exist_ok=True)
            reserve_message(output)
        arguments = dict(task.arguments)
        folder = self._folder(task)
        if folder and task.function == "run_line_mapper":
            arguments["folder"] = str(folder)
        elif folder:
            arguments["arguments"] = [*arguments["arguments"], f"--shuffle-to={folder}"]
        return arguments

    def _environment_of(self, task: _Task, kind: str) -> dict[str, str]:
        """Hadoop's contract of a task."""
        attempt = self._attempt(task, kind)
        return {
            "mapreduce_task_partition": str(task.partition),
            "mapreduce_task_attempt_id": attempt,
            "mapreduce_task_output_dir": str(self._temporary / attempt),
            "mapreduce_task_ismap": "true" if kind == "map" else "false",
            "mapreduce_job_reduces": str(self.spec.slots),
            **({STEP_VARIABLE: str(self._step + 1)} if len(self._runs) > 1 else {}),
        }

    def _succeeded(self, task: _Task, exit: Exit, kind: str) -> bool:
        """Whether the task ended well; False when it is to be tried again."""
        if exit.code == 0:
            return True
        pairs = [(task.first, "map"), (task, kind)] if task.first else [(task, kind)]
        name = f"{' and '.join(part for _, part in pairs)} task {task.partition} of {self.spec.job}"
        if exit.signal is None:
            for each, part in pairs:
                if message := read_message(self._temporary / self._attempt(each, part)):
                    failed = f"{part} task {each.partition} of {self.spec.job}"
                    raise _KINDS.get(exit.code, PinflowError)(f"{failed} failed: {message}")
            raise PinflowError(f"{name} failed with exit code {exit.code}; what it said stands in the job's log")
        if task.attempt + 1 >= MAX_ATTEMPTS:
            raise PinflowError(f"{name} was killed by signal {exit.signal} in each of {MAX_ATTEMPTS} attempts")
        return False

    def _commit(self, task: _Task, kind: str, target: Path) -> None:
        """Move what the task wrote to where it belongs; statistics always belong to the job."""
        if task.first:
            self._commit(task.first, "map", target)
        source = self._temporary / self._attempt(task, kind)
        size = 0
        files = _files(source)
        if task.counts and not any(file.parent.name == STATS_FOLDER for file in files):
            raise PinflowError(
                f"{kind} task {task.partition} of {self.spec.job} ended without its statistics, so the job's numbers "
                "would be too low; a task must not end its process by itself. See the job's log"
            )
        for file in files:
            name = file.relative_to(source)
            size += file.stat().st_size
            destination = (self._output if name.parts[0] == STATS_FOLDER else target) / name
            destination.parent.mkdir(parents=True, exist_ok=True)
            file.replace(destination)
        self._runs[self._step].usage.add_output(size)
        shutil.rmtree(source, ignore_errors=True)
        message_file(source).unlink()


def _files(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def check_step(job: str, description: Mapping[str, Any]) -> None:
    """Raise `ConfigurationError` for a step that is not one of Python methods alone."""
    if description.get("type") != "streaming":
        raise ConfigurationError(
            f"{job} has a step of type {description.get('type')!r}; pinflow's runners run streaming steps"
        )
    for task in ("mapper", "combiner", "reducer"):
        if description.get(task, {}).get("type", "script") != "script" or "pre_filter" in description.get(task, {}):
            raise ConfigurationError(f"{job} has a {task} command or filter; pinflow's runners run Python methods only")
