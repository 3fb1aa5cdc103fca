"""A job's past as rules see it, read from SQL."""

from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
import sqlalchemy as sa

from pinflow.errors import ConfigurationError
from pinflow.stats_engine.alerts import Alert, JobKey
from pinflow.stats_engine.baseline import ExpectedChange, Observation
from pinflow.stats_engine.engine import StatsEngine
from pinflow.stats_engine.expectations import Expectation, expect, forget, list_expectations
from pinflow.stats_engine.history import History, read_history
from pinflow.stats_engine.record import mark_published, record
from pinflow.stats_engine.statistics import Statistics
from pinflow.stats_engine.tables import ALERTS

FIRST = date(2015, 5, 1)
NAMES = ["users", "seconds", "age", "late"]


def _key(key: JobKey, number: int, attempt: int = 1, run: int = 1) -> JobKey:
    day = FIRST + timedelta(days=number)
    return replace(key, run_id=f"analytics-{day}-{run}", date=day.isoformat(), attempt=attempt)


def _publish(database: sa.Engine, key: JobKey, now: datetime, statistics: Statistics, *alerts: Alert) -> None:
    record(database, key, statistics, alerts, now)
    mark_published(database, key)


def _counted(users: int | None) -> Statistics:
    return Statistics(counts={} if users is None else {"users": users, "other": 3}, sums={"seconds": 1.5})


def _read(database: sa.Engine, before: int) -> History:
    return read_history(database, "analytics", "read_events", NAMES, FIRST + timedelta(days=before))


def test_zero_and_missing_are_told_apart(database: sa.Engine, key: JobKey, now: datetime) -> None:
    for number, users in enumerate([None, 7, 0, None, 9]):
        if number != 4:
            _publish(database, _key(key, number), now, _counted(users))
    history = _read(database, 10)
    days = [FIRST + timedelta(days=number) for number in range(5)]
    assert history.dates == tuple(days[:4])
    assert [history.value("users", day) for day in days[:4]] == [None, 7.0, 0.0, 0.0]
    assert history.observations("users") == [Observation(day, v) for day, v in zip(days[1:4], (7.0, 0, 0), strict=True)]
    assert history.observations("never") == []
    assert history.observations("users", of="seconds")[0].value == pytest.approx(7 / 1.5)
    assert history.observations("seconds", of="users")[2].value is None
    assert "other" not in history.values


def test_of_several_runs_of_a_date_the_published_one_counts(database: sa.Engine, key: JobKey, now: datetime) -> None:
    _publish(database, _key(key, 0, attempt=1), now, _counted(1))
    _publish(database, _key(key, 0, attempt=2), now, _counted(2))
    record(database, _key(key, 0, run=2), _counted(3), [], now)
    record(database, _key(key, 1), _counted(4), [], now)
    _publish(database, replace(_key(key, 0), workflow="other"), now, _counted(5))
    _publish(database, replace(_key(key, 0), job="other"), now, _counted(6))
    _publish(database, _key(key, 2), now, _counted(7))
    assert _read(database, 2).values["users"] == {FIRST: 2.0}
    assert _read(database, 0) == History()


def test_histograms_stand_for_how_many_values_they_have(database: sa.Engine, key: JobKey, now: datetime) -> None:
    stats = StatsEngine()
    stats.add_to_histogram("age", [1, 1, 50])
    _publish(database, _key(key, 0), now, stats.statistics())
    assert _read(database, 2).values["age"] == {FIRST: 3.0}


def test_alerts_say_what_may_be_learnt_from(database: sa.Engine, key: JobKey, now: datetime) -> None:
    alarm = Alert(rule="temporal(users)", name="users", degree="warning", message="low")
    slow = replace(alarm, rule="drift(users)")
    for number, alerts in enumerate([[alarm], [alarm], [slow], []]):
        _publish(database, _key(key, number), now, _counted(7), *alerts)
    record(database, _key(key, 3, run=2), _counted(0), [alarm], now)
    with database.begin() as connection:
        connection.execute(ALERTS.update().where(ALERTS.c.date == "2015-05-02").values(state="accepted"))
    found = [seen.state for seen in _read(database, 10).observations("users")]
    assert found == ["alarmed", "accepted", "good", "good"]


def test_expected_changes_come_with_the_history(database: sa.Engine, key: JobKey, now: datetime) -> None:
    _publish(database, _key(key, 0), now, _counted(7))
    for_good = Expectation("analytics", "read_events", "users", date(2015, 5, 4), None, 2.0, "new app")
    for_days = replace(for_good, name="seconds", to_date=date(2015, 5, 6), factor=0.5)
    first = expect(database, for_good, now)
    second = expect(database, for_days, now)
    expect(database, replace(for_good, job="other"), now)
    assert [(s.id, s.expectation) for s in list_expectations(database, job="read_events")] == [
        (second, for_days),
        (first, for_good),
    ]
    assert _read(database, 10).changes == {
        "users": (ExpectedChange(date(2015, 5, 4), 2.0),),
        "seconds": (ExpectedChange(date(2015, 5, 4), 0.5), ExpectedChange(date(2015, 5, 7), 2.0)),
    }
    forget(database, first)
    assert list(_read(database, 10).changes) == ["seconds"]
    with pytest.raises(ConfigurationError, match=f"no expectation {first}"):
        forget(database, first)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"factor": 0.0}, "above 0"),
        ({"factor": float("nan")}, "above 0"),
        ({"to_date": date(2015, 5, 3)}, "before it begins"),
        ({"why": " "}, "say why"),
    ],
)
def test_expectations_that_make_no_sense_are_refused(change: dict, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        replace(Expectation("w", "j", "n", date(2015, 5, 4), None, 2.0, "because"), **change)


@pytest.mark.parametrize("count", [1, 12])
def test_the_number_of_queries_does_not_grow_with_the_names(database: sa.Engine, now: datetime, count: int) -> None:
    seen: list[str] = []
    sa.event.listen(database, "before_cursor_execute", lambda *args: seen.append(args[2]))
    read_history(database, "analytics", "read_events", [f"name{n}" for n in range(count)], FIRST)
    assert len([statement for statement in seen if statement.startswith("SELECT")]) == 2
