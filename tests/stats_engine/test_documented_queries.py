"""The queries of docs/how-to/statistics-in-sql.md, as they stand there, on each database."""

import re
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pinflow.stats_engine.alerts import JobKey
from pinflow.stats_engine.engine import StatsEngine
from pinflow.stats_engine.record import mark_published, record
from pinflow.stats_engine.statistics import Statistics

PAGE = Path(__file__).parents[2] / "docs/how-to/statistics-in-sql.md"
BLOCKS = dict(re.findall(r"^## (.+?)\n.*?^```sql\n(.+?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL))
DAY = date(2015, 5, 18)
EVENTS = [100, 110, 120, 130, 140, 150, 160, 170, 40, 200]
"""Of the days up to DAY."""

EXPECTED: dict[str, Any] = {
    "What did a job count on a day?": [
        ("bad_lines", 5),
        ("cpu_seconds", 36.0),
        ("events_kept", 200),
        ("lines_read", 205),
        ("output_rows", 7),
        ("peak_bytes", 3 << 20),
        ("seconds", 10.0),
        ("users", 3),
    ],
    "How did a number develop?": [(f"2015-05-{9 + n:02}", events) for n, events in enumerate(EVENTS)],
    "How does each day compare with the same weekday before?": [
        ("2015-05-18", 200, 120, 66.7),
        ("2015-05-17", 40, 110, -63.6),
        ("2015-05-16", 170, 100, 70.0),
        *((f"2015-05-{9 + n:02}", EVENTS[n], None, None) for n in range(6, -1, -1)),
    ],
    "What share of the input was bad?": None,
    "Which days fell below half of the week before?": [("2015-05-17", 40, 140.0)],
    "Which jobs of a day took longest, and what did they use?": [
        ("read_events", 10.0, 36.0, 3, 7),
        ("pin_counts", 2.0, None, None, 7),
        ("extract_like", 1.0, None, None, 7),
    ],
    "How often had each day to run?": [("2015-05-18", "read_events", 2, 2, 1)],
    "Where does the median of a histogram lie?": [(2.0, 2.03125, 0.75)],
    "Which items are new at the top?": [(1, "new", 9.0)],
    "Does what went in come out?": [("2015-05-18", 150, 149)],
    "How did a number develop from step to step?": [(1, 900, None), (2, 90, -810), (3, 4, -86)],
    "What does a month cost?": [("2015-05", "read_events", 0.1, 10)],
}


def test_at_least_ten_questions_are_answered() -> None:
    assert len(BLOCKS) >= 10
    assert BLOCKS.keys() == EXPECTED.keys()


@pytest.mark.parametrize("question", list(EXPECTED))
def test_a_query_gives_its_answer(database: sa.Engine, key: JobKey, now: datetime, question: str) -> None:
    _fill(database, key, now)
    with database.connect() as connection:
        rows = connection.exec_driver_sql(BLOCKS[question].replace("%", "%%" if _is_server(database) else "%")).all()
    if question == "What share of the input was bad?":
        assert (rows[0][0], float(rows[0][2])) == ("2015-05-17", pytest.approx(100 * 5 / 45))
        assert len(rows) == len(EVENTS)
        return
    found = [tuple(_plain(value) for value in row) for row in rows]
    assert found == [
        tuple(pytest.approx(v, abs=1e-3) if isinstance(v, float) else v for v in r) for r in EXPECTED[question]
    ]


def _is_server(database: sa.Engine) -> bool:
    return database.dialect.name == "mysql"


def _close(value: Any) -> Any:
    return pytest.approx(value, abs=1e-3) if isinstance(value, float) else value


def _plain(value: Any) -> Any:
    """As SQLite gives it: servers give decimals."""
    return value if value is None or isinstance(value, str | int) else round(float(value), 6)


def _fill(database: sa.Engine, key: JobKey, now: datetime) -> None:
    for number, events in enumerate(EVENTS):
        day = DAY - timedelta(days=len(EVENTS) - 1 - number)
        own = replace(key, date=day.isoformat(), run_id=f"analytics-{day}-1")
        read = StatsEngine()
        read.incr_count("events_kept", events)
        read.incr_count("bad_lines", 5)
        read.incr_count("lines_read", events + 5)
        for job, counts in (("extract_like", {"events_kept": 150}), ("pin_counts", {"events": 150 - (day == DAY)})):
            stats = StatsEngine()
            for name, value in counts.items():
                stats.incr_count(name, value)
            stats.add_to_histogram("events_per_pin", [1, 2, 2, 5])
            stats.add_item("pins_by_events", ["new" if day == DAY else "old", "both"], [9, 8])
            _publish(database, replace(own, job=job), now, stats, 2.0 if job == "pin_counts" else 1.0)
        if day == DAY:
            read.add_distinct("users", ["a", "b", "c"])
            read.incr_count("peak_bytes", 3 << 20)
            record(database, replace(own, run_id="analytics-0"), Statistics(counts={"events_kept": 1}), [], now)
        read.add_sum("cpu_seconds", 36.0)
        _publish(database, own, now, read, 10.0)
    ranked = replace(key, workflow="ranking", date=DAY.isoformat(), job="pagerank")
    moved = [Statistics(counts={"moved": number}) for number in (900, 90, 4)]
    record(database, replace(ranked, attempt=2), Statistics(), [], now, moved[:2])
    record(database, ranked, Statistics(counts={"moved": 994}), [], now, moved)
    mark_published(database, ranked)


def _publish(database: sa.Engine, key: JobKey, now: datetime, stats: StatsEngine, seconds: float) -> None:
    native = Statistics({"output_rows": 7} if seconds else {}, {"seconds": seconds})
    record(database, key, stats.statistics().merge(native), [], now)
    mark_published(database, key)
