"""The default runner: the tasks of a job as forked processes of this machine, with Hadoop's contract of a task.

A task writes below its own attempt folder; the runner moves its files into the job's output when the task has
succeeded. A task that was killed is tried again, one that failed by itself is not: it would fail again.
"""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from mrjob.job import MRJob

from pinflow.errors import ConfigurationError, FatalAlertError, InputMissingError, PinflowError
from pinflow.mr_jobs import slots
from pinflow.mr_jobs.batch_job import BatchJob
from pinflow.mr_jobs.executors import Executor, InlineExecutor
from pinflow.mr_jobs.local_plan import Given, Plan, Task
from pinflow.mr_jobs.local_tasks import load_job, message_file, read_message, reserve_message
from pinflow.mr_jobs.native import StepRun
from pinflow.mr_jobs.progress import INTERVAL, Watch, read_report
from pinflow.mr_jobs.slots import Slots
from pinflow.mr_jobs.spec import JobSpec, check_step
from pinflow.mr_jobs.task import STATS_FOLDER, STEP_VARIABLE
from pinflow.stats_engine.rules import INPUT_BYTES
from pinflow.storage import explained
from pinflow.zygote import Call, Exit

TASKS = "pinflow.mr_jobs.local_tasks"
TEMPORARY = "_temporary"
MAX_ATTEMPTS = 4
_KINDS: dict[int | None, type[PinflowError]] = {
    int(kind.exit_code): kind for kind in (ConfigurationError, FatalAlertError, InputMissingError)
}


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
        self._watch = Watch(self.spec.maxima)
        self._slots = Slots(self.spec.slots)
        self._plan = Plan(self.spec, self._temporary)

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

    def _run_batches(self, job: type[BatchJob]) -> None:
        shuffles = bool(job.cluster_by)
        maps = self._plan.batch_maps(shuffles=shuffles)
        if shuffles and self._plan.is_small and not self._watch.maxima:
            self.executor = InlineExecutor()  # forks would cost more than what the tasks do
        done = self._run_all(maps, "map")
        if shuffles:
            self._run_all(self._plan.batch_reduces([folder for folder in done if folder]), "reduce")

    def _run_lines(self, job: type[MRJob]) -> None:
        steps = job(args=list(self.spec.arguments)).steps()
        self._runs = [StepRun() for _ in steps]
        inputs: list[Given] = [(lines, []) for lines in self._plan.groups()]
        for number, step in enumerate(steps):
            description = step.description(number)
            check_step(self.spec.job, description)
            self._step, started = number, monotonic()
            is_last = number == len(steps) - 1
            if "reducer" in description:
                done = self._run_all(self._plan.line_maps(number, inputs, description), "map")
                tasks = self._plan.line_reduces(number, [folder for folder in done if folder], is_last=is_last)
            else:
                tasks = self._plan.only_line_maps(number, inputs, is_last=is_last)
            self._run_all(tasks, f"step {number + 1}", into=None if is_last else self._step_folder(number))
            self._runs[number].seconds = monotonic() - started
            if not is_last:
                inputs = [([], [str(file)]) for file in sorted(self._step_folder(number).glob("part-*"))]

    def _step_folder(self, number: int) -> Path:
        return self._temporary / f"step-{number}"

    def _run_all(self, tasks: Sequence[Task], kind: str, *, into: Path | None = None) -> list[Path | None]:
        """Run tasks on the slots; gives the parcels' folder of each, in the order of `tasks`."""
        waiting = list(reversed(tasks))
        running: dict[int, Task] = {}
        folders: dict[int, Path | None] = {}
        while waiting or running:
            while waiting and len(running) < self.spec.slots and self._take_slot(is_first=not running):
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

    def _take_slot(self, *, is_first: bool) -> bool:
        if self._slots.take(wait=False):
            return True
        if is_first:
            self.executor.wait(0)  # who has nothing to do ends: others need its memory now
        return is_first and self._slots.take(wait=True)

    def _patience(self, *, is_short: bool) -> float | None:
        """For how many seconds to wait for the end of a task: until it is time to look for a slot, or at its counts."""
        if is_short:
            return slots.INTERVAL
        return INTERVAL if self._watch.maxima else None

    def _look(self, tasks: Iterable[Task], kind: str) -> None:
        """Take in how far the watched counts of tasks are."""
        for task in tasks if self._watch.maxima else ():
            counts = read_report(self._temporary / self._attempt(task, kind))
            self._watch.take((kind, self._step, task.partition), counts)

    def _folder(self, task: Task) -> Path | None:
        return task.folder.with_name(f"{task.folder.name}.{task.attempt}") if task.folder else None

    def _attempt(self, task: Task, kind: str) -> str:
        letter = "m" if kind == "map" else "r"
        return f"attempt_{self._key}_{self._step:04d}_{letter}_{task.partition:06d}_{task.attempt}"

    def _start(self, task: Task, kind: str) -> int:
        task.started = monotonic()
        call = Call(
            function=f"{TASKS}:{task.function}",
            arguments=self._given(task, kind),
            environment={
                **self.environment,
                **self._watch.variables,
                "POLARS_MAX_THREADS": "1",
                **self._environment_of(task, kind),
            },
            folder=str(Path.cwd()),
            output=1,
            group=os.getpgrp(),
        )
        return self.executor.fork(call)

    def _given(self, task: Task, kind: str) -> dict[str, Any]:
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

    def _environment_of(self, task: Task, kind: str) -> dict[str, str]:
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

    def _succeeded(self, task: Task, exit: Exit, kind: str) -> bool:
        """Whether the task ended well; False when it is to be tried again."""
        if exit.code == 0:
            return True
        name = f"{kind} task {task.partition} of {self.spec.job}"
        if exit.signal is None:
            if message := read_message(self._temporary / self._attempt(task, kind)):
                raise _KINDS.get(exit.code, PinflowError)(f"{name} failed: {message}")
            raise PinflowError(f"{name} failed with exit code {exit.code}; what it said stands in the job's log")
        if task.attempt + 1 >= MAX_ATTEMPTS:
            raise PinflowError(f"{name} was killed by signal {exit.signal} in each of {MAX_ATTEMPTS} attempts")
        return False

    def _commit(self, task: Task, kind: str, target: Path) -> None:
        """Move what the task wrote to where it belongs; statistics always belong to the job."""
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
