"""The two ways of the benchmark on Hadoop give the same rows, those that a plain count gives."""

import json
import os
from collections import Counter, defaultdict
from datetime import date
from pathlib import Path

import polars as pl

from benchmarks.generate import generate_day
from benchmarks.hadoop.batches import DomainsByBatch
from benchmarks.hadoop.records import TOP, DomainsByRecord
from pinflow.mr_jobs.inputs.splits import InputFile, plan_splits
from pinflow.mr_jobs.launch import launch
from pinflow.mr_jobs.spec import JobSpec

DAY = date(2015, 5, 18)
Rows = set[tuple[str, str, str, int]]


def counted(events: Path, pins: Path) -> Rows:
    domains = {pin["pin_id"]: pin["domain"] for pin in map(json.loads, pins.read_text().splitlines())}
    types: defaultdict[str, Counter[str]] = defaultdict(Counter)
    by_pin: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for event in map(json.loads, events.read_text().splitlines()):
        if event["pin_id"] in domains:
            types[domains[event["pin_id"]]][event["event_type"]] += 1
            by_pin[domains[event["pin_id"]]][event["pin_id"]] += 1
    rows = {(domain, "count", item, n) for domain, found in types.items() for item, n in found.items()}
    for domain, found in by_pin.items():
        ordered = sorted(found.items(), key=lambda entry: (-entry[1], entry[0]))
        rows |= {(domain, "top", item, n) for item, n in ordered[:TOP]}
    return rows


def test_records_and_batches_give_the_same_rows(tmp_path: Path) -> None:
    generate_day(tmp_path, DAY, events=4_000)
    (events,), (pins,) = (list((tmp_path / kind / f"date={DAY}").iterdir()) for kind in ("events", "pins"))
    expected = counted(events, pins)

    job = DomainsByRecord(["-r", "inline", "--no-conf", "--pins", str(pins), str(events)])
    with job.make_runner() as runner:
        runner.run()
        assert {(domain, *row) for domain, row in job.parse_output(runner.cat_output())} == expected

    splits = plan_splits([InputFile(str(events), events.stat().st_size, 0)], events.stat().st_size // 3)
    output = tmp_path / "output"
    output.mkdir()
    spec = JobSpec(
        f"{DomainsByBatch.__module__}:{DomainsByBatch.__name__}",
        ("--to=parquet", f"--pins={pins}"),
        tuple((json.dumps(split.to_json()), split.length) for split in splits),
        str(output),
        buckets=4,
    )
    done = launch(spec, "inline", dict(os.environ))
    frames = [pl.read_parquet(output / part.name, columns=["domain", "kind", "item", "n"]) for part in done.parts]
    assert set(pl.concat(frames).iter_rows()) == expected
    assert len(done.parts) > 1
