"""The command line of a Hadoop Streaming step, made by mrjob's own runners with the options of mrjob.conf."""

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrjob.conf import yaml  # that which reads mrjob.conf
from mrjob.hadoop import HadoopJobRunner
from mrjob.job import MRJob

from pinflow.errors import ConfigurationError
from pinflow.mr_jobs.hadoop import start

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
SCRIPT = Path(start.__file__)
JOBCONF = {
    # map tasks are few and end together: what a reduce task takes to start, it takes beside them
    "mapreduce.job.reduce.slowstart.completedmaps": "0",
    # version 2 leaves the files of a job that failed
    "mapreduce.fileoutputcommitter.algorithm.version": "1",
    # without it streaming gives the offset too, when the input format is not its default
    "stream.map.input.ignoreKey": "true",
}


@dataclass(frozen=True)
class Step:
    """What a step reads and writes: URLs in the cluster.

    `files` travel to the tasks, `URL` or `URL#NAME`; so do the archives of libraries and code.
    """

    inputs: Sequence[str]
    output: str
    name: str
    reducers: int
    files: Sequence[str]
    libraries: str
    code: str
    variables: Mapping[str, str]
    properties: Mapping[str, str]


class PlannedSteps:
    """Beside one of mrjob's runners: the command lines of `planned` steps, which mrjob does not know as they are."""

    planned: Mapping[int, Step]

    def _render_substep(self, step_num: int, mrc: str) -> str | None:
        if mrc not in self._get_step(step_num):  # type: ignore[attr-defined]
            return "cat" if mrc == "mapper" else None
        step = self.planned[step_num]
        python = " ".join(self._opts["python_bin"] or [f"python{PYTHON}"])  # type: ignore[attr-defined]
        archives = " ".join(url.rpartition("/")[2] for url in (step.libraries, step.code))
        return f"{python} -I -S {SCRIPT.name} {PYTHON} {archives} {mrc} {step_num}"

    def _hadoop_streaming_jar_args(self, step_num: int) -> list[str]:
        step = self.planned[step_num]
        files = ["-files", ",".join((*step.files, step.libraries, step.code))]
        return [*files, *super()._hadoop_streaming_jar_args(step_num), "-lazyOutput"]  # type: ignore[misc]

    def _upload_args(self) -> list[str]:
        return []

    def _jobconf_for_step(self, step_num: int) -> dict[str, Any]:
        step = self.planned[step_num]
        own = {
            "mapreduce.job.name": step.name,
            "mapreduce.job.reduces": step.reducers,
            **JOBCONF,
            **step.properties,
        }
        return own | super()._jobconf_for_step(step_num)  # type: ignore[misc, no-any-return]

    def _cmdenv(self) -> dict[str, str]:
        # the same for all steps of a job
        return {**self.planned[0].variables, **super()._cmdenv()}  # type: ignore[misc]

    def _step_input_uris(self, step_num: int) -> list[str]:
        return list(self.planned[step_num].inputs)

    def _step_output_uri(self, step_num: int) -> str:
        return self.planned[step_num].output


class Streaming(PlannedSteps, HadoopJobRunner):
    """mrjob's Hadoop runner as far as it makes the command lines of steps."""

    @classmethod
    def of(cls, job: type[MRJob], arguments: Sequence[str]) -> "Streaming":
        """The runner of a job; options that mrjob.conf has for `hadoop` count.

        Raises `ConfigurationError` when there is no Hadoop here, or mrjob.conf cannot be used.
        """
        logging.getLogger("mrjob").setLevel(logging.ERROR)
        with options_explained("hadoop"):
            made = cls(**job(["-r", "hadoop", *arguments])._runner_kwargs())
        try:
            found = made.get_hadoop_bin() and made.get_hadoop_streaming_jar()
        except OSError:
            found = None
        if not found:
            raise ConfigurationError(
                "the runner hadoop finds no Hadoop on this machine; put `hadoop` on the PATH, set HADOOP_HOME, or set "
                "hadoop_bin and hadoop_streaming_jar in mrjob.conf. See: pinflow doctor"
            )
        return made

    @property
    def yarn(self) -> list[str]:
        """The command `yarn`, which lies beside `hadoop`."""
        program, *arguments = self.get_hadoop_bin()
        beside = Path(program).with_name("yarn")
        return [str(beside) if beside.exists() else "yarn", *arguments]

    def command(self, number: int) -> list[str]:
        """The command line that runs a planned step."""
        jar = self.get_hadoop_streaming_jar()
        return [*self.get_hadoop_bin(), "jar", jar, *self._hadoop_streaming_jar_args(number)]

    def get_hadoop_version(self) -> str:
        """See HadoopJobRunner; asking would start a JVM, and names of properties are those of Hadoop 2 and later."""
        return "3.0.0"


@contextmanager
def options_explained(runner: str) -> Iterator[None]:
    """What mrjob raises for mistakes in mrjob.conf becomes a `ConfigurationError`."""
    try:
        yield
    except (yaml.YAMLError, ValueError, TypeError, AttributeError) as error:
        what = " ".join(str(error).split())
        raise ConfigurationError(
            f"mrjob.conf cannot be used: {what}. Correct what stands below runners: {runner}: there (MRJOB_CONF names "
            "the file; else it is ~/.mrjob.conf or /etc/mrjob.conf), then run again: pinflow doctor"
        ) from error
