"""Drives a run in a process of its own, so that a test can kill it: DATABASE LOGS NOTES SHAPE SECONDS [LEASE]."""

import sys
from datetime import date, timedelta
from pathlib import Path

from pinflow.database import open_database
from pinflow.scheduler.declare import Job, Stage, Workflow
from pinflow.scheduler.definition import Definition, define
from pinflow.scheduler.processes import Place
from pinflow.scheduler.run import execute
from pinflow.scheduler.store import LEASE, Store
from pinflow.zygote import Zygote

SHAPES = {
    "tree": {"a": [], "b": ["a"], "c": ["a"], "d": ["b"], "e": ["b"], "f": ["c"], "g": ["d", "e", "f"], "h": []},
    "one": {"a": []},
    "pair": {"a": [], "b": ["a"]},
    "failing": {"a": [], "bad": ["a"], "b": ["a"], "c": ["b"], "last": ["a", "b", "bad"]},
}


def definition_of(shape: str, notes: str, seconds: float) -> Definition:
    # In the shape with a job that fails all jobs publish.
    jobs = [
        Job(
            name,
            call="sample_jobs:note",
            after=after,
            arguments={"file": notes, "seconds": seconds, "code": 7 if name == "bad" else 0},
            publishes=[name] if shape == "failing" else [],
        )
        for name, after in SHAPES[shape].items()
    ]
    return define(Workflow("demo", "o", lambda _day, _parameters: [Stage("s", jobs)]), date(2015, 5, 18))


def main() -> int:
    database, logs, notes, shape, seconds, *rest = sys.argv[1:]
    lease = timedelta(seconds=float(rest[0])) if rest else LEASE
    with Zygote.start(["pinflow.scheduler.child"]) as zygote, Store(open_database(database), lease=lease) as store:
        place = Place(Path(logs), slots=2, folder=Path(__file__).parent)
        definition = definition_of(shape, notes, float(seconds))
        result = execute(
            store,
            definition,
            zygote,
            place,
            on_event=lambda event: print(event.job, event.state, flush=True),
            on_join=lambda run: print("joined", run.run_id, flush=True),
        )
    print("driven" if result.driven else "followed", result.run.run_id, result.run.state)
    return int(result.exit_code)


if __name__ == "__main__":
    sys.exit(main())
