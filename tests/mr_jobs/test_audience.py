"""The audience of a subject whose users come in several batches."""

import os
from pathlib import Path

import polars as pl

from pinflow.mr_jobs.analytics.domain_audience import DomainAudience
from pinflow.mr_jobs.launch import launch
from pinflow.mr_jobs.spec import JobSpec
from pinflow.mr_jobs.splits import DatasetFile, DatasetSplit

DAY = "2015-05-18"
ROWS = {
    "u1": ("web", "US", "male"),
    "u2": ("ipad", "US", None),
    "u3": ("web", "US", "male"),
    "u4": ("web", None, "female"),
}
WANTED = {
    ("all", "country", "US"): 3,
    ("all", "country", "_unknown"): 1,
    ("ipad", "country", "US"): 1,
    ("web", "country", "US"): 2,
    ("web", "country", "_unknown"): 1,
    ("all", "metro", "_unknown"): 4,
    ("ipad", "metro", "_unknown"): 1,
    ("web", "metro", "_unknown"): 3,
    ("all", "gender", "male"): 2,
    ("all", "gender", "female"): 1,
    ("all", "gender", "_unknown"): 1,
    ("ipad", "gender", "_unknown"): 1,
    ("web", "gender", "male"): 2,
    ("web", "gender", "female"): 1,
}


def test_users_of_all_batches_of_a_task_add_up(tmp_path: Path) -> None:
    lines = []
    for number, users in enumerate((("u1", "u2"), ("u3", "u4"))):
        path = str(tmp_path / f"{number}.parquet")
        rows = [(user, "a.example", *ROWS[user], None) for user in users]
        names = dict.fromkeys(("user_id", "domain", "app", "country", "gender", "metro"), pl.String)
        pl.DataFrame(rows, schema=names, orient="row").write_parquet(path)
        full = DatasetFile(path, DAY, DomainAudience.rows_together(DomainAudience([]), "user_actions"), 1)
        lines.append((DatasetSplit("user_actions", (full,)).to_line(), 1))
    options = (f"--date={DAY}", f"--days={DAY}", "--to=parquet")
    job = "pinflow.mr_jobs.analytics.domain_audience:DomainAudience"
    launch(JobSpec(job, options, tuple(lines), str(tmp_path / "_attempt-1"), buckets=1, slots=1), "inline", os.environ)
    found = pl.concat(map(pl.read_parquet, sorted(tmp_path.glob("_attempt-1/*.parquet"))))
    assert set(found["subject"]) == {"a:d:a.example"}
    columns = found.select("platform", "dimension", "value", "users").iter_rows()
    assert {(platform, dimension, value): users for platform, dimension, value, users in columns} == WANTED
    assert found.height == len(WANTED)
