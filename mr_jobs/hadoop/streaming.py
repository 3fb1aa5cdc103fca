"""The command line of a Hadoop Streaming step, made by mrjob's own Hadoop runner with the options of mrjob.conf."""

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrjob.hadoop import HadoopJobRunner
from mrjob.job import MRJob

from pinflow.errors import ConfigurationError
from pinflow.mr_jobs.hadoop import start

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
SCRIPT = Path(start.__file__)
JOBCONF = {
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

    number: int
    inputs: Sequence[str]
    output: str
    name: str
    reducers: int
    files: Sequence[str]
    libraries: str
    code: str
    variables: Mapping[str, str]
    properties: Mapping[str, str]


class Streaming(HadoopJobRunner):
    """mrjob's Hadoop runner as far as it makes the command line of a step; what it does not know is `step`."""

    step: Step

    @classmethod
    def of(cls, job: type[MRJob], arguments: Sequence[str]) -> "Streaming":
        """The runner of a job; options that mrjob.conf has for `hadoop` count.

        Raises `ConfigurationError` when there is no Hadoop here.
        """
        logging.getLogger("mrjob").setLevel(logging.ERROR)
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

    def command(self, step: Step) -> list[str]:
        """The command line that runs one step."""
        self.step = step
        jar = self.get_hadoop_streaming_jar()
        return [*self.get_hadoop_bin(), "jar", jar, *self._hadoop_streaming_jar_args(step.number), "-lazyOutput"]

    def get_hadoop_version(self) -> str:
        """See HadoopJobRunner; asking would start a JVM, and names of properties are those of Hadoop 2 and later."""
        return "3.0.0"

    def _render_substep(self, step_num: int, mrc: str) -> str | None:
        if mrc not in self._get_step(step_num):
            return None
        python = " ".join(self._opts["python_bin"] or [f"python{PYTHON}"])
        archives = " ".join(url.rpartition("/")[2] for url in (self.step.libraries, self.step.code))
        return f"{python} -I -S {SCRIPT.name} {PYTHON} {archives} {mrc} {step_num}"

    def _upload_args(self) -> list[str]:
        return ["-files", ",".join((*self.step.files, self.step.libraries, self.step.code))]

    def _jobconf_for_step(self, step_num: int) -> dict[str, Any]:
        own = {
            "mapreduce.job.name": self.step.name,
            "mapreduce.job.reduces": self.step.reducers,
            **JOBCONF,
            **self.step.properties,
        }
        return own | super()._jobconf_for_step(step_num)  # type: ignore[no-any-return]

    def _cmdenv(self) -> dict[str, str]:
        return {**self.step.variables, **super()._cmdenv()}

    def _step_input_uris(self, step_num: int) -> list[str]:
        return list(self.step.inputs)

    def _step_output_uri(self, step_num: int) -> str:
        return self.step.output
