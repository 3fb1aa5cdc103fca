"""Prints what the scheduler costs over each store."""

import json
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import pymysql
from sqlalchemy import make_url

from benchmarks.scheduler.claims import claim, fill
from benchmarks.scheduler.floors import raw_claims, start_floors
from benchmarks.scheduler.peers import PEERS, measure
from benchmarks.scheduler.shapes import ROOT, milliseconds_a_job, start_seconds, worker_milliseconds_a_job

STORES = ("sqlite", "mariadb")


def _peers(_: click.Context, __: click.Parameter, text: str) -> list[str]:
    names = text.split(",") if text else []
    if unknown := set(names) - set(PEERS):
        raise click.BadParameter(f"no engine is called {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    return names


@click.command()
@click.option("--stores", default="sqlite", show_default=True, help="sqlite, mariadb or both, by comma.")
@click.option("--engines", default="", callback=_peers, help=f"Measured beside pinflow, by comma: {', '.join(PEERS)}.")
@click.option("--rounds", default=5, show_default=True, help="Runs of each shape; the median counts.")
@click.option("--processes", default=8, show_default=True, help="Processes that claim at once.")
@click.option("--seconds", default=4.0, show_default=True, help="How long they claim.")
@click.option("--archived", default="0", show_default=True, help="Old jobs beside those that are claimed, by comma.")
@click.option("--only-claims", is_flag=True, help="Measure the claims alone.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(
    stores: str,
    engines: list[str],
    rounds: int,
    processes: int,
    seconds: float,
    archived: str,
    only_claims: bool,
    as_json: bool,
) -> None:
    """Measure overhead a job, start of a command and claims a second."""
    found: dict[str, dict[str, Any]] = {}
    for store in stores.split(","):
        if store not in STORES:
            raise click.UsageError(f"no store is called {store!r}; valid: {', '.join(STORES)}")
        with tempfile.TemporaryDirectory() as folder, _database(store, Path(folder)) as url:
            values = {} if only_claims else _overhead(url, Path(folder), rounds)
            values |= _claims(url, processes, seconds, sorted(map(int, archived.split(","))))
        found[store] = values
    for engine in engines:
        found[engine] = measure(engine, rounds)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for store, values in found.items():
        for name, value in values.items():
            click.echo(f"{store:8} {name:26} {round(value, 3) if isinstance(value, float) else value}")


def _overhead(url: str, folder: Path, rounds: int) -> dict[str, Any]:
    values: dict[str, Any] = milliseconds_a_job(url, folder, rounds)
    values["chain_40_worker_ms"] = worker_milliseconds_a_job(url, folder, rounds)
    if url.startswith("sqlite"):
        in_full = milliseconds_a_job(url, folder, rounds, full=True)
        values |= {name.replace("_ms", "_full_ms"): value for name, value in in_full.items()}
    return values | {"start_s": start_seconds(url, folder, rounds)} | start_floors(rounds)


def _claims(url: str, processes: int, seconds: float, archived: list[int]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for before, size in zip([0, *archived], archived, strict=False):
        fill(url, before, size)
        values[f"claims_{size}_archived"] = vars(claim(url, processes, seconds))
    lowest = min(found["per_second"] for found in values.values())
    if not url.startswith("sqlite"):
        values["raw_claims_per_s"] = raw_claims(url, processes, seconds)
    return values | {"claims_per_s": lowest}


@contextmanager
def _database(store: str, folder: Path) -> Iterator[str]:
    if store == "sqlite":
        yield f"sqlite:///{folder / 'pinflow.db'}"
        return
    engines = str(ROOT / "bin" / "engines")
    subprocess.run([engines, "start", "mariadb"], check=True)
    line = subprocess.check_output([engines, "env", "mariadb"], text=True)
    url = make_url(line.partition("=")[2].strip().strip("'"))
    name = f"benchmark_{uuid.uuid4().hex[:8]}"
    with pymysql.connect(host=url.host, port=url.port or 3306, user=url.username, autocommit=True) as server:
        server.cursor().execute(f"CREATE DATABASE {name}")
        yield url.set(database=name).render_as_string(hide_password=False)
        server.cursor().execute(f"DROP DATABASE {name}")


if __name__ == "__main__":
    main()
