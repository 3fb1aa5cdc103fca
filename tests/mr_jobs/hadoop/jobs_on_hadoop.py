"""Small jobs for the tests on a real Hadoop."""

import os
import signal
import time

import polars as pl

from pinflow.errors import FatalAlertError
from tests.mr_jobs.sample_jobs import Totals


def is_first_attempt() -> bool:
    return os.environ["mapreduce_task_attempt_id"].endswith("_0")


class DiesOnce(Totals):
    """The first attempt of reduce task 1 is killed once it has written all its files, also its statistics."""

    def run_reducer(self, step_num: int = 0) -> None:
        super().run_reducer(step_num)
        if self.partition == 1 and is_first_attempt():
            os.kill(os.getpid(), signal.SIGKILL)


class SlowFirst(Totals):
    """The first attempt of map task 0 hangs."""

    def map(self, batch: pl.DataFrame) -> pl.DataFrame:
        if self.partition == 0 and is_first_attempt():
            time.sleep(300)
        return super().map(batch)


class Lingering(Totals):
    """Each map task takes a while."""

    def map(self, batch: pl.DataFrame) -> pl.DataFrame:
        time.sleep(10)
        return super().map(batch)


class Broken(Totals):
    """Fails by itself."""

    def reduce(self, frame: pl.DataFrame) -> pl.DataFrame:
        raise RuntimeError("broken on purpose")


class Refusing(Totals):
    """Raises one of pinflow's errors."""

    def map(self, batch: pl.DataFrame) -> pl.DataFrame:
        raise FatalAlertError("too much")
