"""The command line of a Hadoop Streaming step."""

import json
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from mrjob.job import MRJob
from mrjob.step import MRStep

from pinflow.mr_jobs.hadoop.streaming import PYTHON, Step, Streaming


class Twice(MRJob):
    """Its second step has only a reducer."""

    def steps(self) -> list[MRStep]:
        return [MRStep(mapper=self.pairs, reducer=self.add), MRStep(reducer=self.add)]

    def pairs(self, _: None, line: str) -> Iterator[tuple[str, int]]:
        yield line, 1

    def add(self, word: str, counts: Iterable[int]) -> Iterator[tuple[str, int]]:
        yield word, sum(counts)


def step(number: int) -> Step:
    return Step(
        inputs=[f"hdfs://n/in-{number}"],
        output=f"hdfs://n/out-{number}",
        name="pinflow words",
        reducers=3,
        files=["hdfs://n/start.py", "/here/secret#secret"],
        libraries="hdfs://n/libraries.zip",
        code="hdfs://n/code.zip",
        variables={"POLARS_MAX_THREADS": "1"},
        properties={"mapreduce.map.speculative": "false"},
    )


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    conf = tmp_path / "mrjob.conf"
    options = {
        "hadoop_bin": "/opt/hadoop",
        "hadoop_streaming_jar": "/opt/s.jar",
        "jobconf": {"mapreduce.job.reduces": 5},
    }
    conf.write_text(json.dumps({"runners": {"hadoop": options}}))
    monkeypatch.setenv("MRJOB_CONF", str(conf))
    made = Streaming.of(Twice, [])
    made.planned = {0: step(0), 1: step(1)}
    return [made.command(number) for number in made.planned]


def after(command: list[str], option: str) -> list[str]:
    return [value for name, value in pairwise(command) if name == option]


def test_a_step_is_told_what_to_run_where_and_with_what(commands: list[list[str]]) -> None:
    first, _ = commands
    assert first[:3] == ["/opt/hadoop", "jar", "/opt/s.jar"]
    assert after(first, "-files") == ["hdfs://n/start.py,/here/secret#secret,hdfs://n/libraries.zip,hdfs://n/code.zip"]
    assert after(first, "-mapper") == [f"python{PYTHON} -I -S start.py {PYTHON} libraries.zip code.zip mapper 0"]
    assert after(first, "-reducer") == [f"python{PYTHON} -I -S start.py {PYTHON} libraries.zip code.zip reducer 0"]
    assert (after(first, "-input"), after(first, "-output")) == (["hdfs://n/in-0"], ["hdfs://n/out-0"])
    properties = dict(text.split("=", 1) for text in after(first, "-D"))
    # what mrjob.conf says counts more
    assert properties["mapreduce.job.reduces"] == "5"
    assert properties["mapreduce.map.speculative"] == "false"
    assert properties["stream.map.input.ignoreKey"] == "true"
    assert after(first, "-cmdenv") == ["POLARS_MAX_THREADS=1"]


def test_a_step_without_a_mapper_passes_its_lines_on(commands: list[list[str]]) -> None:
    assert after(commands[1], "-mapper") == ["cat"]
    assert [text.endswith(" reducer 1") for text in after(commands[1], "-reducer")] == [True]
