"""The engines that are compared: how each is run for a task, and where it leaves its tables."""

import importlib.util
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from benchmarks.analytics.task import Task
from pinflow.mr_jobs.datasets import Warehouse

ROOT = Path(__file__).parents[3]
EXTRA = "pip install --editable '.[benchmarks]'"


@dataclass(frozen=True)
class Command:
    """A process to start, with variables that are added to its environment."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Engine:
    """One way to do the task, in a process of its own.

    `distribution` is the Python package that it needs, `program` a command that must be on the PATH.
    """

    name: str
    distribution: str
    command: Callable[[Task], Command]
    table: Callable[[Task, str], Path]
    program: str = ""

    @property
    def missing(self) -> str:
        """What is not installed, and how to get it; '' when the engine can run."""
        if importlib.util.find_spec(self.distribution) is None:
            return f"{self.distribution} is not installed; get it with: {EXTRA}"
        if self.program and not shutil.which(self.program):
            return f"{self.distribution} needs the program {self.program}, which is not on the PATH"
        return ""

    @property
    def version(self) -> str:
        """The version of the distribution."""
        return version(self.distribution)


def _module(name: str) -> Callable[[Task], Command]:
    def command(task: Task) -> Command:
        module = f"{__name__}.{name}"
        arguments = (sys.executable, "-m", module, str(task.input), task.day, str(task.output))
        return Command(arguments, {"PYTHONPATH": str(ROOT)})

    return command


def _pinflow(task: Task) -> Command:
    environment = {
        "PINFLOW_HOME": str(task.output),
        "PINFLOW_INPUT": str(task.input),
        "PINFLOW_WORKFLOWS": f"{__name__}.pinflow_stages",
        "PYTHONPATH": str(ROOT),
    }
    program = str(Path(sys.executable).with_name("pinflow"))
    return Command((program, "run", "three_stages", "--date", task.day), environment)


def _published(task: Task, table: str) -> Path:
    warehouse = Warehouse(str(task.output / "warehouse"))
    return Path(warehouse.path(warehouse.require(table, task.day)))


ENGINES = {
    engine.name: engine
    for engine in (
        Engine("pinflow", "pinflow", _pinflow, _published),
        Engine("duckdb", "duckdb", _module("duckdb_sql"), Task.table),
        Engine("polars", "polars", _module("polars_frames"), Task.table),
        Engine("pyspark", "pyspark", _module("pyspark_frames"), Task.table, program="java"),
        Engine("mrjob", "mrjob", _module("mrjob_local"), Task.table),
    )
}
