"""A warehouse whose disk fills up while a run writes to it: each failed job says so."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from benchmarks.generate import generate_odd_day
from pinflow import config
from pinflow.workflows import run as running
from pinflow.workflows.preload import start_zygote

DAY = date(2015, 5, 18)


def test_a_disk_that_fills_up_is_the_reason_of_the_failed_jobs(
    tmp_path: Path, disk_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = disk_of("300k")
    generate_odd_day(tmp_path / "input", DAY, 1, events=900)
    places = {"HOME": tmp_path / "home", "INPUT": tmp_path / "input", "WAREHOUSE": disk / "warehouse"}
    for name, place in places.items():
        monkeypatch.setenv(f"PINFLOW_{name}", str(place))
    monkeypatch.setattr(running, "LEAST_FREE_BYTES", 0)
    settings = config.load()
    with start_zygote(settings) as zygote:
        result = running.run_workflow(settings, running.Request("analytics", DAY), zygote)
    reasons = [job.reason or "" for job in result.run.jobs if job.state == "failed"]
    assert reasons
    assert [reason for reason in reasons if f"{disk}/" not in reason or "the disk is full" not in reason] == []
    logs = [path.read_text() for path in (tmp_path / "home" / "logs").rglob("*") if path.is_file()]
    assert [log for log in logs if "Traceback" in log] == []
