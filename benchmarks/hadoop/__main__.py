"""`python -m benchmarks.hadoop --events 8e6`: one task on a real Hadoop, by records and by batches.

`bin/engines env hadoop` prints the variables that it needs.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from time import perf_counter

import click
import polars as pl

from benchmarks.analytics.__main__ import DAY, generated
from benchmarks.hadoop.batches import DomainsByBatch
from benchmarks.hadoop.records import DomainsByRecord, DomainsByRecordInLargeSplits
from pinflow import config
from pinflow.errors import PinflowError
from pinflow.mr_jobs.hadoop.cluster import Cluster
from pinflow.mr_jobs.hadoop.sizes import TASK_BYTES, least_buckets
from pinflow.mr_jobs.inputs.splits import InputFile, plan_splits
from pinflow.mr_jobs.launch import launch
from pinflow.mr_jobs.spec import JobSpec
from pinflow.storage import join, open_storage
from pinflow.workflows.on_cluster import cluster_of

PINS = "pins.jsonl"
TARGETS = {"records": 5.0, "records, large splits": 3.5}
"""How many times the time of the batches each is to take at least, at 8 million events."""

Rows = set[tuple[str, str, str, int]]
"""Domain, kind, item, number."""


@dataclass(frozen=True)
class Run:
    """What one job took: seconds of its command and of all containers together, and tasks that were started."""

    name: str
    seconds: float
    container_seconds: float
    maps: int
    reduces: int
    rows: Rows


@dataclass(frozen=True)
class Input:
    """The files of events in HDFS, the file of pins here, and a folder in HDFS for what the jobs write."""

    events: list[InputFile]
    pins: Path
    folder: str
    cluster: Cluster


def uploaded(day: Path, warehouse: str, cluster: Cluster) -> Input:
    """The generated day in HDFS; what is there from an earlier call is used again."""
    folder = join(warehouse, "_benchmark", day.name)
    storage = open_storage(folder)
    for path in sorted((day / "events" / f"date={DAY}").iterdir()):
        url = join(folder, "events", path.name)
        if not storage.exists(url):
            click.echo(f"uploading {path.name} …", err=True)
            storage.write_file(url, path)
    files = [InputFile(entry.path, entry.size, 0) for entry in storage.list(join(folder, "events"))]
    (pins,) = (day / "pins" / f"date={DAY}").iterdir()
    return Input(sorted(files, key=lambda file: file.path), pins, folder, replace(cluster, files={PINS: str(pins)}))


def by_records(name: str, job: type[DomainsByRecord], given: Input, reducers: int | None) -> Run:
    """mrjob's own runner for Hadoop, with the Python of this process on the nodes."""
    arguments = ["-r", "hadoop", "--python-bin", sys.executable, "--no-bootstrap-mrjob", "--no-check-input-paths"]
    arguments += ["--hadoop-tmp-dir", join(given.folder, "mrjob"), "-D", "mapreduce.job.ubertask.enable=false"]
    arguments += ["-D", f"mapreduce.job.reduces={reducers}"] if reducers else []
    made = job([*arguments, "--pins", str(given.pins), *(file.path for file in given.events)])
    with made.make_runner() as runner:
        started = perf_counter()
        runner.run()
        seconds = perf_counter() - started
        (groups,) = runner.counters()
        rows = {(domain, *row) for domain, row in made.parse_output(runner.cat_output())}
    counters = {f"{group.strip()}/{name}": value for group, names in groups.items() for name, value in names.items()}
    return _run(name, seconds, counters, rows)


def by_batches(given: Input) -> Run:
    """pinflow's runner for Hadoop, with as many tasks as it gives them."""
    output = join(given.folder, "output")
    storage = open_storage(output)
    storage.delete(output, recursive=True)
    splits = plan_splits(given.events, TASK_BYTES)
    spec = JobSpec(
        f"{DomainsByBatch.__module__}:{DomainsByBatch.__name__}",
        ("--to=parquet", f"--pins={PINS}"),
        tuple((json.dumps(split.to_json()), split.length) for split in splits),
        output,
        buckets=least_buckets(sum(file.size for file in given.events)),
    )
    own = {"mapreduce.job.ubertask.enable": "false"}
    started = perf_counter()
    done = launch(spec, "hadoop", os.environ, replace(given.cluster, properties=own))
    seconds = perf_counter() - started
    frames = []
    for part in done.parts:
        with storage.open_input(join(output, part.name)) as file:
            frames.append(pl.read_parquet(file, columns=["domain", "kind", "item", "n"]))
    return _run("batches", seconds, dict(done.statistics.counts), set(pl.concat(frames).iter_rows()))


def _run(name: str, seconds: float, counters: dict[str, int], rows: Rows) -> Run:
    def of_job(what: str) -> int:
        return counters.get(f"Job Counters/{what}", 0)

    spent = sum(of_job(f"Total time spent by all {kind} tasks (ms)") for kind in ("map", "reduce"))
    return Run(name, seconds, spent / 1000, of_job("Launched map tasks"), of_job("Launched reduce tasks"), rows)


def all_runs(given: Input, reducers: int) -> Iterator[Run]:
    """Each way once; the batches first.

    A job over one file comes before: it sends the libraries, which stay in the cluster, and Hadoop's own processes
    load what they need.
    """
    first = by_batches(replace(given, events=given.events[:1]))
    click.echo(f"first job, over one file: {first.seconds:.1f} s", err=True)
    ways: list[Callable[[], Run]] = [
        lambda: by_batches(given),
        lambda: by_records("records", DomainsByRecord, given, None),
        lambda: by_records("records, large splits", DomainsByRecordInLargeSplits, given, reducers),
    ]
    for way in ways:
        found = way()
        click.echo(f"{found.name}: {found.seconds:.1f} s", err=True)
        yield found


def to_json(run: Run, first: Run) -> dict[str, object]:
    """The result as `--json` lists it; `ratio` is its time divided by that of the batches."""
    return {
        "job": run.name,
        "seconds": round(run.seconds, 1),
        "container_seconds": round(run.container_seconds, 1),
        "maps": run.maps,
        "reduces": run.reduces,
        "ratio": round(run.seconds / first.seconds, 2),
        "target": TARGETS.get(run.name),
        "equal": run.rows == first.rows,
    }


@click.command(context_settings={"show_default": True})
@click.option("--events", type=float, default=8e6, help="Events of the day.")
@click.option("--reducers", type=click.IntRange(1), default=2, help="Reduce tasks of `records, large splits`.")
@click.option("--seed", type=int, default=1, help="Of the generated day.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(tempfile.gettempdir()) / "pinflow-benchmarks",
    help="Keeps generated days.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(events: float, reducers: int, seed: int, folder: Path, as_json: bool) -> None:
    """Count, join and list the top 25 on Hadoop, as mrjob jobs are usually written and as a BatchJob."""
    settings = config.load()
    if settings.runner != "hadoop":
        raise click.UsageError(
            f"the runner is {settings.runner}, this needs a Hadoop; type first: bin/engines start --install hadoop; "
            'eval "$(bin/engines env hadoop)"'
        )
    day = generated(folder, int(events), seed)
    try:
        given = uploaded(day, settings.warehouse_url, cluster_of(settings, f"benchmark-{date.today()}-{os.getpid()}"))
        runs = list(all_runs(given, reducers))
    except PinflowError as error:
        raise click.ClickException(str(error)) from error
    found = [to_json(run, runs[0]) for run in runs]
    if as_json:
        click.echo(json.dumps(found, indent=1))
    else:
        size = sum(file.size for file in given.events)
        click.echo(f"{int(events):,} events, {size / 1e9:.2f} GB")
        click.echo(pl.DataFrame(found, schema_overrides={"target": pl.Float64}))
    sys.exit(not all(entry["equal"] for entry in found))


if __name__ == "__main__":
    main()
