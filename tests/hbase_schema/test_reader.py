import random
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pinflow.errors import ConfigurationError, UnknownNameError
from pinflow.hbase_schema.keys import row_keys
from pinflow.hbase_schema.markers import withdraw
from pinflow.hbase_schema.packing import pack_cells
from pinflow.hbase_schema.reader import audience, is_known, last_published_day, metrics, orders, subjects, top
from pinflow.hbase_schema.rows import audience_rows, period_rows, top_rows
from pinflow.hbase_schema.store import Store, open_store
from pinflow.hbase_schema.tables import AUDIENCES, METRICS, TOP_ITEMS, Row
from pinflow.hbase_schema.writer import write_period

DAY = date(2015, 5, 18)


def serve(store: Store, day: date, names: list[str], aggregation: str = "daily", platform: str = "all") -> None:
    made = row_keys(names, [platform] * len(names), aggregation, day)
    rows = [
        Row(key, pack_cells({b"m:like": b"%d" % (number + 1), b"m:score": b"0.5"}), 2)
        for number, key in enumerate(made)
    ]
    write_period(store, METRICS, aggregation, day, sorted(rows), version="1")


def named(subject: str, count: int) -> dict[str, list[str]]:
    return {"subject": [subject] * count, "platform": ["all"] * count}


def test_a_missing_day_is_told_from_an_empty_one(store: Store) -> None:
    serve(store, DAY, ["d:a", "d:b"])
    serve(store, DAY + timedelta(1), ["d:b"])
    serve(store, DAY + timedelta(3), ["d:b", "d:a"])
    found = metrics(store, "d:a")
    assert [row.as_json() for row in found.rows] == [
        {"date": "2015-05-18", "platform": "all", "aggregation": "daily", "metrics": {"like": 1, "score": 0.5}},
        {"date": "2015-05-21", "platform": "all", "aggregation": "daily", "metrics": {"like": 2, "score": 0.5}},
    ]
    assert isinstance(found.rows[0].metrics["like"], int)
    assert found.missing == [DAY + timedelta(2)]
    assert metrics(store, "d:none").rows == []


def test_a_subject_is_known_by_its_own_published_rows(store: Store) -> None:
    serve(store, DAY, ["d:a.example.br", "d:c.example"])
    assert [is_known(store, name) for name in ("d:a.example", "d:a.example.br", "d:c")] == [False, True, False]
    serve(store, DAY, ["d:a.example", "d:a.example.br"], "weekly")
    assert is_known(store, "d:a.example")
    withdraw(store, METRICS, "weekly", DAY)
    assert not is_known(store, "d:a.example")


def test_a_range_of_days(store: Store) -> None:
    for offset in range(5):
        serve(store, DAY + timedelta(offset), ["d:a"])
    found = metrics(store, "d:a", first=DAY + timedelta(3), last=DAY + timedelta(6))
    assert [row.date.day for row in found.rows] == [21, 22]
    assert [day.day for day in found.missing] == [23, 24]
    assert metrics(store, "d:a", first=date(2016, 1, 2), last=date(2016, 1, 1)) == ([], [])


def test_a_week_is_found_by_any_of_its_days(store: Store) -> None:
    serve(store, DAY, ["d:a"], "weekly")
    found = metrics(store, "d:a", aggregation="weekly", first=date(2015, 5, 21), last=date(2015, 5, 21))
    assert [row.date for row in found.rows] == [DAY]
    assert metrics(store, "d:a", aggregation="weekly", last=date(2015, 5, 17)).rows == []


def test_other_subjects_and_platforms_stay_out(store: Store) -> None:
    names = ["d:a", "d:a_all", "d:a_all_daily", "d:a%5Fall", "d:A"]
    serve(store, DAY, names)
    for number, name in enumerate(names):
        assert [row.metrics["like"] for row in metrics(store, name).rows] == [number + 1]
    assert metrics(store, "d:a", "web").rows == []


def test_top_lists(store: Store) -> None:
    ids = ["pin_1\t%", "_other", "Ünï/\"'", "x"]
    ranks = [1, None, 2, 1]
    lists = {"items": ["pins", "pins", "pins", "boards"], "by": ["like"] * 4, "rank": ranks, "id": ids}
    frame = pl.DataFrame({**named("d:a", 4), **lists, "value": [9.0, 20.0, 2.5, 1.0]})
    write_period(store, TOP_ITEMS, "daily", DAY, period_rows(top_rows(frame), "daily", DAY), version="1")
    found = top(store, "d:a", "pins", "like", day=DAY)
    assert found == [(1, "pin_1\t%", 9), (2, "Ünï/\"'", 2.5), (None, "_other", 20)]
    assert found is not None
    assert found[0]._asdict() == {"rank": 1, "id": "pin_1\t%", "value": 9}
    assert top(store, "d:a", "boards", "like", day=DAY) == [(1, "x", 1)]
    assert top(store, "d:a", "pins", "lik", day=DAY) == []
    assert top(store, "d:a", "pins", "like", day=DAY + timedelta(1)) is None
    assert (orders(store, "d:a"), orders(store, "d:")) == ({"like"}, set())


def test_audiences(store: Store) -> None:
    values = ["US", "_unknown", "New York/NY\t", "f"]
    kinds = ["country", "country", "metro", "gender"]
    columns = {"dimension": kinds, "value": values, "users": [3, 2, 1, 4]}
    packed = audience_rows(pl.DataFrame({**named("a:d:a", 4), **columns}))
    write_period(store, AUDIENCES, "weekly", DAY, period_rows(packed, "weekly", DAY), version="1")
    assert audience(store, "d:a", "all", "weekly", day=date(2015, 5, 24)) == {
        "country": {"US": 3, "_unknown": 2},
        "metro": {"New York/NY\t": 1},
        "gender": {"f": 4},
    }
    assert audience(store, "d:none", "all", "weekly", day=DAY) == {"country": {}, "metro": {}, "gender": {}}
    assert audience(store, "d:a", day=DAY) is None


def test_the_last_published_day(store: Store) -> None:
    assert last_published_day(store) is None
    serve(store, DAY, ["d:a"])
    serve(store, DAY + timedelta(9), ["d:a"])
    serve(store, date(2015, 6, 1), ["d:a"], "weekly")
    assert last_published_day(store) == DAY + timedelta(9)
    assert last_published_day(store, TOP_ITEMS) is None


NAMES = st.sets(st.text(alphabet="abé_%/!.", max_size=3).map(lambda text: "d:" + text), max_size=20)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(NAMES, st.text(alphabet="ab_%", max_size=1), st.integers(0, 5))
def test_subjects_by_prefix(store: Store, names: set[str], letters: str, limit: int) -> None:
    both = sorted(names | {f"p:{name}" for name in names})
    random.Random(1).shuffle(both)
    serve(store, DAY, both)
    expected = {name for name in both if name.startswith(f"d:{letters}")}
    found = subjects(store, f"d:{letters}")
    assert found == sorted(expected)
    some = subjects(store, f"d:{letters}", limit)
    assert some == sorted(some)
    assert set(some) <= expected
    assert len(some) == min(limit, len(expected))
    assert set(some) <= set(subjects(store, f"d:{letters}", limit + 1))
    assert set(subjects(store)) == set(both)


def test_subjects_are_published_ones(store: Store) -> None:
    serve(store, DAY, ["d:a"])
    (audiences,) = row_keys(["a:d:x"], ["all"], "daily", DAY)
    row = Row(audiences, pack_cells({b"m:country/US": b"1"}), 1)
    write_period(store, AUDIENCES, "daily", DAY, [row], version="1")
    for hidden in row_keys(["d:hidden", "d:a"], ["all"] * 2, "daily", DAY - timedelta(1)):
        store.table("analytics_metrics").put(hidden, {b"m:like": b"1"})
    assert subjects(store) == ["d:a"]


def test_reading_before_anything_was_written(tmp_path: Path) -> None:
    file = tmp_path / "serving.db"
    with open_store(str(file)) as store:
        assert metrics(store, "d:a") == ([], [])
        assert top(store, "d:a", "pins", "like", day=DAY) is None
        assert subjects(store) == []
        assert last_published_day(store) is None
    assert not file.exists()


def test_what_is_no_subject(store: Store) -> None:
    with pytest.raises(ConfigurationError, match="d:DOMAIN"):
        metrics(store, "example.com")
    with pytest.raises(UnknownNameError, match="daily"):
        metrics(store, "d:a", aggregation="dayly")
