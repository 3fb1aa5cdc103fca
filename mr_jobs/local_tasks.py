"""One task of a job on this machine: what runs in a forked process (or in line, for debugging)."""

import heapq
import importlib
import io
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO

from mrjob.job import MRJob

from pinflow.errors import ConfigurationError
from pinflow.mr_jobs.job import DatasetJob, binary_lines
from pinflow.mr_jobs.native import INPUT_ROWS
from pinflow.mr_jobs.plain_input import counted, lines_of
from pinflow.mr_jobs.progress import Reports, reported
from pinflow.mr_jobs.task import STATS_FOLDER, Task
from pinflow.stats_engine import shards
from pinflow.stats_engine.engine import engine
from pinflow.storage import explained, explanation

MESSAGE_BYTES = 4096


def load_job(name: str) -> type[MRJob]:
    """The job class of `module:Class`. Raises `ConfigurationError` when there is none."""
    module, _, attribute = name.partition(":")
    try:
        job = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"cannot load the job {name!r}: {error}; write it as package.module:Class") from error
    if not (isinstance(job, type) and issubclass(job, MRJob)):
        raise ConfigurationError(f"{name!r} is not an mrjob job: a subclass of mrjob's MRJob is wanted")
    return job


class Reporter(io.RawIOBase):
    """Standard error of a task: lines of Hadoop's counter protocol are counted, all others passed on."""

    def __init__(self, log: BinaryIO) -> None:
        self._log = log

    def write(self, data: Any) -> int:
        """Take one or more whole lines, as mrjob writes them."""
        for line in bytes(data).splitlines(keepends=True):
            if line.startswith(b"reporter:counter:"):
                group, name, amount = line[len(b"reporter:counter:") :].decode().strip().rsplit(",", 2)
                engine().incr_count(f"{group}/{name}", int(amount))
            elif not line.startswith(b"reporter:status:"):
                self._log.write(line)
        return len(data)


def _execute(job_name: str, arguments: Sequence[str], source: Iterable[bytes], sink: BinaryIO | io.RawIOBase) -> MRJob:
    job = load_job(job_name)(args=list(arguments))
    job.sandbox(stdin=source, stdout=sink, stderr=Reporter(sys.stderr.buffer))
    job.execute()
    return job


def run_batch_task(job: str, arguments: list[str], lines: list[str]) -> int:
    """A map or reduce task of a BatchJob; its rows go through files that the arguments name."""
    return _guarded(lambda _: _execute(job, arguments, binary_lines(lines), sys.stdout.buffer))


def run_line_mapper(
    job: str,
    arguments: list[str],
    combiner: list[str],
    lines: list[str],
    files: list[str],
    folder: str,
    reducers: int,
    expand: bool,
) -> int:
    """A map task of lines: its output is partitioned, sorted and combined into one file a reduce task.

    Without `arguments` the step has no mapper, and what the step before gave is its output.
    """

    def run(reports: Reports) -> None:
        partitions: list[list[bytes]] = [[] for _ in range(reducers)]
        is_plain = not issubclass(load_job(job), DatasetJob)
        source = _plain(lines, expand=expand) if is_plain and lines else _input(lines, files)
        if arguments:
            _execute(job, arguments, source, _Partitioner(partitions))
        else:
            _hand_on(source, _Partitioner(partitions))
        Path(folder).mkdir(parents=True, exist_ok=True)
        for number, partition in enumerate(partitions):
            partition.sort(key=_sort_key)
            if combiner and partition:
                if not is_plain:
                    reports.reset()  # what the mapper counted is on its way
                output = io.BytesIO()
                _execute(job, combiner, partition, output)
                partition = sorted(output.getvalue().splitlines(keepends=True), key=_sort_key)
            with explained("write", folder):
                Path(folder, f"{number}.lines").write_bytes(b"".join(partition))
        if is_plain:
            _write_own_statistics()

    return _guarded(run)


def run_line_task(
    job: str, arguments: list[str], lines: list[str], files: list[str], sorted_files: list[str], expand: bool
) -> int:
    """The last task of a job of lines: a reduce task over sorted files, or a map task without reduce.

    Output lines become `part-NNNNN` of the task's folder.
    """

    def run(_: Reports) -> None:
        is_plain = not issubclass(load_job(job), DatasetJob)
        if sorted_files:
            source = _merged(sorted_files)
        else:
            source = _plain(lines, expand=expand) if is_plain and lines else _input(lines, files)
        output = io.BytesIO()
        _execute(job, arguments, source, output)
        task = Task.current(os.environ)
        if task is not None and output.tell():
            task.write(f"part-{task.partition:05d}", output.getvalue())
        if is_plain:
            _write_own_statistics()

    return _guarded(run)


def _write_own_statistics() -> None:
    """The counters of a plain MRJob's task: it has no way of its own to hand them on."""
    task = Task.current(os.environ)
    if task is not None:
        name = shards.file_name(task.attempt, task.step)
        task.write(f"{STATS_FOLDER}/{name}", shards.encode(engine().statistics()))


def _guarded(run: Callable[[Reports], object]) -> int:
    engine().reset()
    task = Task.current(os.environ)
    try:
        with reported(os.environ, task.output if task else None) as reports:
            run(reports)
    except Exception as error:
        known = explanation(error, task.output if task else "a file of the task")
        told = str(known) if known else f"{type(error).__name__}: {error}; its traceback stands in the job's log"
        if task:
            _leave_message(task, told)
        if known is None:
            raise
        with suppress(OSError):  # the log may lie on the disk that is full
            print(f"error: {told}", file=sys.stderr)
        return int(known.exit_code)
    return 0


def message_file(output: str | Path) -> Path:
    """Where the task with this output folder leaves why it failed, outside of what is committed."""
    return Path(f"{output}.message")


def reserve_message(output: str | Path) -> None:
    """Take the room for a task's message before the task starts: it may have to tell that the disk is full."""
    message_file(output).write_bytes(b" " * MESSAGE_BYTES)


def read_message(output: str | Path) -> str:
    """Why the task failed, empty when it could not say so."""
    return message_file(output).read_text(encoding="utf-8", errors="ignore").strip()


def _leave_message(task: Task, text: str) -> None:
    with suppress(OSError), message_file(task.output).open("r+b") as file:
        file.write(text.encode("utf-8", "backslashreplace")[:MESSAGE_BYTES])


class _Partitioner(io.RawIOBase):
    """Standard output of a map task: each line goes to the partition of its key."""

    def __init__(self, partitions: list[list[bytes]]) -> None:
        self._partitions = partitions
        self._rest = b""

    def write(self, data: Any) -> int:
        """Take a piece of output; lines are complete at their newline."""
        *lines, self._rest = (self._rest + bytes(data)).split(b"\n")
        for line in lines:
            key = line.split(b"\t", 1)[0]
            self._partitions[zlib.crc32(key) % len(self._partitions)].append(line + b"\n")
        return len(data)


def _sort_key(line: bytes) -> list[bytes]:
    return line.split(b"\t", 1)


def _hand_on(source: Iterable[bytes], sink: _Partitioner) -> None:
    for line in source:
        sink.write(line)


def _input(lines: Sequence[str], files: Sequence[str]) -> Iterator[bytes]:
    yield from binary_lines(lines)
    for file in files:
        with Path(file).open("rb") as stream:
            yield from stream


def _plain(lines: Sequence[str], *, expand: bool) -> Iterator[bytes]:
    """The lines of a plain MRJob's input, counted: those of pinflow's jobs count themselves."""
    source = binary_lines(lines)
    return counted(lines_of(source) if expand else source, lambda number: engine().incr_count(INPUT_ROWS, number))


def _merged(files: Sequence[str]) -> Iterator[bytes]:
    with ExitStack() as stack:
        streams = [stack.enter_context(Path(file).open("rb")) for file in files]
        yield from heapq.merge(*streams, key=_sort_key)
