"""Events get their pins' columns, however many batches and lookups it takes."""

import os
from pathlib import Path
from unittest.mock import Mock

import polars as pl
import pytest

from pinflow.mr_jobs.analytics.extract_events import KEPT_COLUMNS
from pinflow.mr_jobs.launch import launch
from pinflow.mr_jobs.lookups import Lookup
from pinflow.mr_jobs.spec import JobSpec
from pinflow.mr_jobs.splits import MOST_ROWS, DatasetFile, DatasetSplit
from tests.mr_jobs.coded_frames import write_clustered

DAY = "2015-05-18"
PINS = [("p1", "one.example", "o1", "b1"), ("p2", "two.example", "o2", None), ("p3", None, None, "b3")]
EVENTS = [
    [("u1", "p1", None, None, None), ("u2", "p2", None, None, "b9")],
    [("u3", "p1", "own.example", None, "b9"), ("u4", "unknown", None, None, "b9")],
    [("u5", "unknown", "own.example", None, "b9"), ("u6", "p3", None, None, None), ("u7", "p2", None, "own", None)],
]
"""User, pin, and what an event says itself: domain, owner and board; three files."""
WANTED = {
    ("u1", "p1", "one.example", "o1", "b1"),
    ("u2", "p2", "two.example", "o2", "b9"),
    ("u3", "p1", "own.example", "o1", "b1"),
    ("u5", "unknown", "own.example", None, "b9"),
    ("u6", "p3", None, None, "b3"),
    ("u7", "p2", "two.example", "own", None),
}
COUNTED = {"events_read": 7, "events_kept": 6, "unknown_pins": 2, "unknown_pins_dropped": 1}


def frame(names: str, rows: list[tuple[str | None, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(names.split(), pl.String), orient="row")


@pytest.mark.parametrize(
    ("size", "rows", "lookups"),
    [(1, 1, 1), (1, MOST_ROWS, 1), (1 << 40, 1, 1), (1 << 40, MOST_ROWS, 3)],
    ids=["pins kept", "pins kept for all files", "one lookup of some pins", "a lookup for each file"],
)
def test_events_are_joined_with_their_pins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, rows: int, lookups: int
) -> None:
    made_of = Mock(wraps=Lookup.of_rows)
    monkeypatch.setattr(Lookup, "of_rows", made_of)
    monkeypatch.setattr("pinflow.mr_jobs.coded_job.size_of", lambda *_: size)
    folder = tmp_path / "pins"
    folder.mkdir()
    write_clustered(folder, frame("pin_id domain owner_id board_id", PINS), "pin_id", 2)
    lines = []
    for number, events in enumerate(EVENTS):
        path = str(tmp_path / f"{number}.parquet")
        same = [pl.lit("x").alias(name) for name in ("app", "country", "metro", "network")]
        read = frame("user_id pin_id domain owner_id board_id", events).with_columns(same)
        read.write_parquet(path)
        lines.append((DatasetSplit("read_events", (DatasetFile(path, DAY, rows, 1),)).to_line(), 1))
    options = (f"--date={DAY}", "--to=parquet", "--event-type=like", f"--table=pins={folder}")
    job = "pinflow.mr_jobs.analytics.extract_events:ExtractEvents"
    output = tmp_path / "_attempt-1"
    made = launch(JobSpec(job, options, tuple(lines), str(output), buckets=1, slots=1), "inline", os.environ)
    found = pl.concat(map(pl.read_parquet, sorted(output.glob("*.parquet"))))
    assert found.columns == ["event_type", *KEPT_COLUMNS]
    assert set(found["event_type"]) == {"like"}
    assert set(found.select("user_id", "pin_id", "domain", "owner_id", "board_id").iter_rows()) == WANTED
    assert found.height == len(WANTED)
    assert COUNTED.items() <= made.statistics.counts.items()
    assert made_of.call_count == lookups
