"""What a persist job does with rows of periods that it is not to write, and how it counts them."""

import os
from datetime import date
from pathlib import Path

import polars as pl

from pinflow.hbase_schema.reader import audience
from pinflow.hbase_schema.store import open_store
from pinflow.hbase_schema.tables import DATA_START
from pinflow.mr_jobs.launch import launch
from pinflow.mr_jobs.spec import JobSpec

DAY = date(2015, 5, 20)
ALL_FOUR = "daily+weekly+biweekly+monthly"
Users = dict[str, dict[str, int]]


def persisted(folder: Path, labels: str, users: Users) -> tuple[dict[str, int], dict[str, dict[str, float]]]:
    """Counts of a run over one file for each label of rows; and what is served: users by subject, by aggregation."""
    lines = []
    for number, (label, by_subject) in enumerate(users.items()):
        rows = [(f"a:{subject}", "all", label, "country", "US", n) for subject, n in by_subject.items()]
        names = ["subject", "platform", "aggregations", "dimension", "value", "users"]
        pl.DataFrame(rows, schema=names, orient="row").write_parquet(folder / f"{number}.parquet")
        lines.append((str(folder / f"{number}.parquet"), 1))
    serving = str(folder / "serving.db")
    options = (
        f"--date={DAY}",
        f"--labels={labels}",
        f"--serving={serving}",
        "--fence=1",
        "--version=v",
        "--to=parquet",
    )
    job = "pinflow.mr_jobs.analytics.persist_audience:PersistAudience"
    output = launch(JobSpec(job, options, tuple(lines), str(folder / "_attempt-1"), buckets=4), "inline", os.environ)
    served: dict[str, dict[str, float]] = {}
    with open_store(serving) as store:
        for aggregation in ALL_FOUR.split("+"):
            for subject in ("d:a", "p:b"):
                found = audience(store, subject, "all", aggregation, day=DAY)
                if found and found["country"]:
                    served.setdefault(aggregation, {})[subject] = found["country"]["US"]
    return dict(output.statistics.counts), served


def test_rows_of_periods_that_are_left_out_are_counted(tmp_path: Path) -> None:
    users: Users = {"daily": {"d:a": 1, "p:b": 2}, "weekly+biweekly": {"d:a": 3}, "monthly": {"d:a": 4, "p:b": 5}}
    counts, served = persisted(tmp_path, "daily,weekly", users)
    assert served == {"daily": {"d:a": 1, "p:b": 2}, "weekly": {"d:a": 3}}
    assert (counts["rows_read"], counts["rows_kept"], counts["rows_left_out"]) == (5, 3, 2)
    assert (counts["periods"], counts["periods_left_out"], counts["periods_superseded"]) == (2, 2, 0)


def test_rows_of_more_periods_than_are_written_together_come_to_all_of_them(tmp_path: Path) -> None:
    users: Users = {ALL_FOUR: {"d:a": 1}, "daily": {"p:b": 2}, "weekly+biweekly+monthly": {"p:b": 3}}
    counts, served = persisted(tmp_path, "daily,weekly+biweekly+monthly", users)
    longer = {name: {"d:a": 1, "p:b": 3} for name in ("weekly", "biweekly", "monthly")}
    assert served == {"daily": {"d:a": 1, "p:b": 2}} | longer
    assert (counts["rows_read"], counts["rows_kept"], counts["periods_left_out"]) == (3, 3, 0)
    assert "rows_left_out" not in counts


def test_rows_of_many_subjects_lie_in_order_and_their_cells_from_several_files_come_together(tmp_path: Path) -> None:
    subjects = [f"d:site{number}.example" for number in range(300)]
    lines = []
    for number, countries in enumerate((["US"], ["DE", "FR"])):
        rows = [(f"a:{name}", "all", "daily", "country", country, 5) for name in subjects for country in countries]
        names = ["subject", "platform", "aggregations", "dimension", "value", "users"]
        pl.DataFrame(rows, schema=names, orient="row").write_parquet(tmp_path / f"{number}.parquet")
        lines.append((str(tmp_path / f"{number}.parquet"), 8 << 20))
    serving = str(tmp_path / "serving.db")
    options = (f"--date={DAY}", "--labels=daily", f"--serving={serving}", "--fence=1", "--version=v", "--to=parquet")
    job = "pinflow.mr_jobs.analytics.persist_audience:PersistAudience"
    spec = JobSpec(job, options, tuple(lines), str(tmp_path / "_attempt-1"), buckets=4, slots=2)
    counts = launch(spec, "inline", os.environ).statistics.counts
    assert (counts["rows_written"], counts["cells_written"]) == (300, 900)
    with open_store(serving) as store:
        keys = [key for key, _ in store.table("analytics_metrics").scan(row_start=DATA_START)]
        assert keys == sorted(keys)
        assert len(set(keys)) == 300
        for name in subjects:
            found = audience(store, name, "all", "daily", day=DAY)
            assert found
            assert found["country"] == {"US": 5, "DE": 5, "FR": 5}
