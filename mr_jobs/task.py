"""What a task attempt knows of itself, and its side files; the same under every runner.

The contract: the environment holds `mapreduce_task_partition`, `mapreduce_task_attempt_id` and
`mapreduce_task_output_dir`; what a task writes below that folder is committed with the attempt or not at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pinflow.stats_engine import shards
from pinflow.storage import open_storage

STATS_FOLDER = "_stats"
BAD_FOLDER = "_bad"
STEP_VARIABLE = "PINFLOW_STEP"


@dataclass(frozen=True)
class Task:
    """One attempt of a map or reduce task; `step` is its step, from 1, if the runner says that the job has several."""

    partition: int
    attempt: str
    output: str
    step: int = 0

    @classmethod
    def current(cls, environment: Mapping[str, str]) -> "Task | None":
        """The task that this process runs, None outside of one."""
        output = environment.get("mapreduce_task_output_dir")
        if not output:
            return None
        return cls(
            partition=int(environment["mapreduce_task_partition"]),
            attempt=environment["mapreduce_task_attempt_id"],
            output=output,
            step=int(environment.get(STEP_VARIABLE, "0")),
        )

    def write(self, name: str, data: bytes) -> None:
        """Write one file of the task; `name` is relative to the task's output."""
        open_storage(self.output).write_unsynced(f"{self.output}/{name}", data)

    def write_statistics(self, data: bytes, step: int = 0) -> None:
        """Store the task's shard under its partition number (ST-05), and its step in a job of several (ST-20)."""
        self.write(f"{STATS_FOLDER}/{shards.shard_name(self.partition, step)}", data)
