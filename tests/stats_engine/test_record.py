import sqlite3
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from pinflow.errors import PinflowError, UnknownNameError
from pinflow.stats_engine import queries, rules
from pinflow.stats_engine.alerts import Alert, JobKey, alerts_of
from pinflow.stats_engine.engine import StatsEngine
from pinflow.stats_engine.history import read_history
from pinflow.stats_engine.record import mark_published, notify, record
from pinflow.stats_engine.statistics import Item, Items, Statistics
from pinflow.stats_engine.tables import METADATA

FEW_USERS = rules.absolute("users", min=10)
BAD_LINES = rules.ratio("bad_lines", of="lines_read", max=0.01, degree="fatal")


def _statistics(users: int = 5) -> Statistics:
    stats = StatsEngine()
    stats.incr_count("users", users)
    stats.incr_count("lines_read", 100)
    stats.incr_count("bad_lines", 50)
    stats.incr_count("output_rows", 7)
    stats.add_sum("seconds", 1.5)
    stats.add_to_histogram("age", [0, 1, 1.5, -2])
    stats.add_item("rank", ["a'b", "ü\t%"], [1, 2])
    stats.add_distinct("visitors", list(range(10)))
    return stats.statistics()


def _alerts(statistics: Statistics, *which: rules.Rule) -> list[Alert]:
    return alerts_of(rules.evaluate(which or (FEW_USERS, BAD_LINES), statistics))


def _sql(database: sa.Engine, query: str) -> list[tuple]:
    """As a person sees it who asks with plain SQL; times as texts."""
    with database.connect() as connection:
        rows = connection.exec_driver_sql(query).all()
    return [tuple(v.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if isinstance(v, datetime) else v for v in row) for row in rows]


def test_statistics_are_there_for_plain_sql(database: sa.Engine, key: JobKey, now: datetime) -> None:
    record(database, key, _statistics(), [], now)
    first = "'analytics', 'analytics-2015-05-18-1', 'read_events', 1, 0, '2015-05-18'"
    same = f"WHERE (workflow, run_id, job, attempt, step, date) = ({first})"
    assert _sql(database, f"SELECT value FROM stat_counts {same} AND name = 'users'") == [(5,)]
    assert _sql(database, f"SELECT value FROM stat_sums {same}") == [(1.5,)]
    assert _sql(database, f"SELECT low, high, count FROM stat_histograms {same} ORDER BY low") == [
        (-2.03125, -2.0, 1),
        (0.0, 0.0, 1),
        (1.0, 1.015625, 1),
        (1.5, 1.515625, 1),
    ]
    assert _sql(database, f"SELECT rank, item, value FROM stat_items {same} AND side = 'top' ORDER BY rank") == [
        (1, "ü\t%", 2.0),
        (2, "a'b", 1.0),
    ]
    ((estimate, low, high),) = _sql(database, f"SELECT estimate, low, high FROM stat_distincts {same}")
    assert 10 <= low <= estimate <= high < 10.01
    assert _sql(database, "SELECT published, output_rows, output_bytes, seconds, recorded_at FROM job_stats") == [
        (0, 7, None, 1.5, "2015-05-19T00:12:00.000000Z")
    ]


def test_views_show_the_published_attempt(database: sa.Engine, key: JobKey, now: datetime) -> None:
    second = replace(key, attempt=2)
    record(database, key, _statistics(5), [], now)
    record(database, second, _statistics(6), [], now)
    query = "SELECT workflow, job, date, value FROM v_counts WHERE name = 'users'"
    assert _sql(database, query) == []
    mark_published(database, key)
    assert _sql(database, query) == [("analytics", "read_events", "2015-05-18", 5)]
    mark_published(database, second)
    assert _sql(database, query) == [("analytics", "read_events", "2015-05-18", 6)]
    assert _sql(database, "SELECT count(*) FROM v_histograms") == [(4,)]
    assert _sql(database, "SELECT side, rank, item FROM v_items ORDER BY 1, 2")[0] == ("bottom", 1, "a'b")
    assert _sql(database, "SELECT name, value FROM v_sums") == [("seconds", 1.5)]


def test_publishing_leaves_other_dates_and_workflows_alone(database: sa.Engine, key: JobKey, now: datetime) -> None:
    others = [replace(key, date="2015-05-17"), replace(key, workflow="other"), replace(key, job="other")]
    for other in (key, *others):
        record(database, other, _statistics(), [], now)
        mark_published(database, other)
    assert _sql(database, "SELECT sum(published) FROM job_stats") == [(4,)]


def test_publishing_what_was_not_recorded_is_refused(database: sa.Engine, key: JobKey, now: datetime) -> None:
    record(database, key, _statistics(), [], now)
    mark_published(database, key)
    with pytest.raises(PinflowError, match="attempt 2 of read_events"):
        mark_published(database, replace(key, attempt=2))
    assert _sql(database, "SELECT sum(published) FROM job_stats") == [(1,)]


def test_recording_again_replaces(database: sa.Engine, key: JobKey, now: datetime) -> None:
    for users in (5, 6):
        statistics = _statistics(users)
        record(database, key, statistics, _alerts(statistics), now)
    assert _sql(database, "SELECT value FROM stat_counts WHERE name = 'users'") == [(6,)]
    assert _sql(database, "SELECT name, value, state, repeats FROM alerts ORDER BY id") == [
        ("users", 6.0, "open", 0),
        ("bad_lines / lines_read", 0.5, "open", 0),
    ]
    assert _sql(database, "SELECT count(*) FROM mails") == [(1,)]


def test_a_failure_leaves_nothing_behind(database: sa.Engine, key: JobKey, now: datetime) -> None:
    record(database, key, _statistics(5), [], now)
    broken = Alert(rule="r", name="n", degree="severe", message="m")
    with pytest.raises((sa.exc.IntegrityError, sa.exc.OperationalError), match="alert_degree"):
        record(database, key, _statistics(6), [broken], now)
    assert _sql(database, "SELECT value FROM stat_counts WHERE name = 'users'") == [(5,)]
    assert _sql(database, "SELECT count(*) FROM alerts") == _sql(database, "SELECT count(*) FROM mails") == [(0,)]


def test_a_connection_joins_the_callers_transaction(database: sa.Engine, key: JobKey, now: datetime) -> None:
    with database.connect() as connection:
        record(connection, key, _statistics(), [], now)
        mark_published(connection, key)
        connection.rollback()
    assert _sql(database, "SELECT count(*) FROM job_stats") == [(0,)]


def test_one_mail_says_all(database: sa.Engine, key: JobKey, now: datetime) -> None:
    statistics = _statistics()
    record(database, key, statistics, _alerts(statistics), now)
    ((recipient, subject, body),) = _sql(database, "SELECT recipient, subject, body FROM mails")
    assert recipient == "ann@example.com"
    assert subject == (
        "[pinflow] FATAL: read_events 2015-05-18: bad_lines / lines_read is 0.5, above its maximum 0.01 (and 1 more)"
    )
    for part in (
        "read_events of workflow analytics",
        "Date:   2015-05-18",
        "Owner:  ann@example.com",
        "FATAL: bad_lines / lines_read is 0.5, above its maximum 0.01",
        "alert:     2\n",
        "rule:      ratio(bad_lines / lines_read, max=0.01)\n",
        "value:     0.5\n",
        "bounds:    max 0.01\n",
        "so far:    this rule has alarmed once for this job: 0 accepted as right, 0 acknowledged, 0 muted",
        "WARNING: users is 5, below its minimum 10",
        "nothing of it was published for 2015-05-18",
        "pinflow stats read_events --date 2015-05-18",
        "pinflow logs analytics-2015-05-18-1 read_events",
        "pinflow run analytics --date 2015-05-18",
    ):
        assert part in body


def test_a_warning_says_that_nothing_was_stopped(database: sa.Engine, key: JobKey, now: datetime) -> None:
    record(database, key, _statistics(), _alerts(_statistics(), FEW_USERS), now)
    ((subject, body),) = _sql(database, "SELECT subject, body FROM mails")
    assert subject.startswith("[pinflow] warning: read_events")
    assert "Nothing was stopped" in body


def test_an_attempt_that_was_lost_sends_no_second_mail(database: sa.Engine, key: JobKey, now: datetime) -> None:
    for attempt in (1, 2):
        record(database, replace(key, attempt=attempt), _statistics(), _alerts(_statistics()), now)
    assert _sql(database, "SELECT count(*) FROM mails") == [(1,)]
    record(database, replace(key, run_id="analytics-2015-05-18-2"), _statistics(), _alerts(_statistics()), now)
    assert _sql(database, "SELECT count(*) FROM mails") == [(2,)]


def test_a_rule_that_fires_again_repeats_and_publishing_resolves_the_rest(
    database: sa.Engine, key: JobKey, now: datetime
) -> None:
    record(database, key, _statistics(), _alerts(_statistics()), now)
    second = replace(key, attempt=2)
    record(database, second, _statistics(), _alerts(_statistics(), FEW_USERS), now + timedelta(minutes=1))
    query = "SELECT attempt, name, state, repeats FROM alerts ORDER BY id"
    assert _sql(database, query) == [
        (1, "users", "resolved", 0),
        (1, "bad_lines / lines_read", "open", 0),
        (2, "users", "open", 1),
    ]
    mark_published(database, second)
    assert [state for _, _, state, _ in _sql(database, query)] == ["resolved", "resolved", "open"]
    third = replace(key, attempt=3)
    record(database, third, _statistics(50), [], now + timedelta(minutes=2))
    assert [state for _, _, state, _ in _sql(database, query)] == ["resolved", "resolved", "open"]
    mark_published(database, third)
    assert {state for _, _, state, _ in _sql(database, query)} == {"resolved"}
    assert _sql(database, "SELECT alert_id, person, `before`, state, why FROM alert_changes ORDER BY id") == [
        (1, "pinflow", "open", "resolved", "fired again in analytics-2015-05-18-1, attempt 2"),
        (2, "pinflow", "open", "resolved", "analytics-2015-05-18-1, attempt 2, was published without it"),
        (3, "pinflow", "open", "resolved", "analytics-2015-05-18-1, attempt 3, was published without it"),
    ]


def test_publishing_once_more_leaves_what_a_later_attempt_raised(
    database: sa.Engine, key: JobKey, now: datetime
) -> None:
    """A rebuild that is refused leaves the first result standing, and its alert open."""
    record(database, key, _statistics(50), [], now)
    mark_published(database, key)
    later = replace(key, run_id="analytics-2015-05-18-2")
    record(database, later, _statistics(), _alerts(_statistics(), BAD_LINES), now + timedelta(hours=1))
    mark_published(database, key)
    assert _sql(database, "SELECT state FROM alerts") == [("open",)]
    mark_published(database, key, fine_at=now + timedelta(hours=2))
    assert _sql(database, "SELECT state FROM alerts") == [("resolved",)]


def test_a_share_of_nothing_has_no_value_in_sql(database: sa.Engine, key: JobKey, now: datetime) -> None:
    statistics = Statistics(counts={"bad_lines": 1})
    record(database, key, statistics, _alerts(statistics, BAD_LINES), now)
    assert _sql(database, "SELECT value, high FROM alerts") == [(None, 0.01)]


def test_alerts_that_no_statistic_shows(database: sa.Engine, key: JobKey, now: datetime) -> None:
    for text in ("input of 2015-05-18 is missing", "input is still missing"):
        notify(database, key, text, "Looked in events/date=2015-05-18.\n", "fatal", "input_missing", now)
    (alert,) = queries.list_alerts(database)
    assert (alert.rule, alert.degree, alert.message) == ("input_missing", "fatal", "input is still missing")
    assert _sql(database, "SELECT subject, body FROM mails") == [
        ("[pinflow] input of 2015-05-18 is missing", "Looked in events/date=2015-05-18.\n")
    ]


def test_reading_a_jobs_statistics(database: sa.Engine, key: JobKey, now: datetime) -> None:
    statistics = _statistics()
    record(database, key, statistics, [], now)
    record(database, replace(key, attempt=2), _statistics(50), [], now + timedelta(hours=1))
    record(database, replace(key, date="2015-05-17"), _statistics(1), [], now + timedelta(hours=2))
    assert queries.job_statistics(database, "read_events").info.attempt == 2
    mark_published(database, key)
    info, found = queries.job_statistics(database, "read_events", "2015-05-18", workflow="analytics")
    assert (info.attempt, info.published, info.output_rows, info.recorded_at) == (1, True, 7, now)
    assert (found.counts, found.sums) == (statistics.counts, statistics.sums)
    assert found.items["rank"].top == statistics.items["rank"].top
    assert found.histograms["age"].rows() == statistics.histograms["age"].rows()
    assert queries.job_statistics(database, "read_events", "2015-05-17").statistics.counts["users"] == 1


def test_what_has_no_statistics_is_explained(database: sa.Engine, key: JobKey, now: datetime) -> None:
    with pytest.raises(UnknownNameError, match="there are none yet"):
        queries.job_statistics(database, "read_events")
    record(database, key, _statistics(), [], now)
    with pytest.raises(UnknownNameError, match="did you mean 'read_events'"):
        queries.job_statistics(database, "read_event")
    with pytest.raises(UnknownNameError, match="2015-05-18"):
        queries.job_statistics(database, "read_events", "2015-05-11")


def test_recording_waits_for_a_writer(tmp_path: Path, key: JobKey, now: datetime) -> None:
    file = tmp_path / "pinflow.db"
    patient = sa.create_engine(f"sqlite:///{file}", connect_args={"timeout": 0.05})
    METADATA.create_all(patient)
    with sqlite3.connect(file) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sa.exc.OperationalError, match="locked"):
            record(patient, key, _statistics(), [], now)
        other.rollback()
    record(patient, key, _statistics(), [], now)
    assert _sql(patient, "SELECT count(*) FROM job_stats") == [(1,)]


def test_names_that_differ_little_stay_apart(database: sa.Engine, key: JobKey, now: datetime) -> None:
    names = ["users", "Users", "users ", "üsers", "\U0001f600"]
    record(database, key, Statistics(counts={name: number for number, name in enumerate(names)}), [], now)
    assert queries.job_statistics(database, "read_events").statistics.counts == {n: i for i, n in enumerate(names)}


def test_numbers_come_back_as_they_went_in(database: sa.Engine, key: JobKey, now: datetime) -> None:
    sums = {"small": 5e-324, "third": 1 / 3, "large": 1.7976931348623157e308, "negative": -0.1}
    record(database, key, Statistics(counts={"most": 2**63 - 1}, sums=sums), [], now)
    found = queries.job_statistics(database, "read_events")
    assert found.statistics.sums == sums
    assert found.statistics.counts == {"most": 2**63 - 1}
    assert found.info.recorded_at == now


def test_a_count_beyond_64_bits_is_kept_as_the_most_they_hold(database: sa.Engine, key: JobKey, now: datetime) -> None:
    record(database, key, Statistics(counts={"over": 2**70, "under": -(2**70)}), [], now)
    found = queries.job_statistics(database, "read_events").statistics.counts
    assert found == {"over": 2**63 - 1, "under": 1 - 2**63, "_dropped.over": 1, "_dropped.under": 1}


def test_each_step_is_kept_and_none_is_left_of_what_was_recorded_before(
    database: sa.Engine, key: JobKey, now: datetime
) -> None:
    steps = [
        Statistics(counts={"n": number}, items={"top": Items(1, (Item(f"i{number}", 1.0),))}) for number in (1, 2, 4)
    ]
    record(database, key, Statistics(counts={"n": 7}), [], now, steps)
    record(database, key, Statistics(counts={"n": 3}), [], now, steps[:2])
    record(database, replace(key, attempt=2), Statistics(counts={"n": 9}), [], now, steps)
    mark_published(database, key)
    assert _sql(database, "SELECT name, value FROM v_counts") == [("n", 3)]
    assert _sql(database, "SELECT step, value FROM v_step_counts ORDER BY step") == [(1, 1), (2, 2)]
    assert _sql(database, "SELECT step, item FROM v_step_items ORDER BY step") == [(1, "i1"), (2, "i2")]
    assert _sql(database, "SELECT step, published FROM job_stats WHERE attempt = 1 ORDER BY step") == [
        (0, 1),
        (1, 1),
        (2, 1),
    ]
    assert read_history(database, key.workflow, key.job, ["n"], date(2015, 5, 20)).values["n"] == {
        date.fromisoformat(key.date): 3
    }


def test_a_day_of_long_texts_is_kept(database: sa.Engine, key: JobKey, now: datetime) -> None:
    alert = Alert(rule="r" * 700, name="n" * 600, degree="warning", message="m" * 100_000)
    record(database, key, Statistics(), [alert], now)
    assert queries.list_alerts(database)[0].message == "m" * 100_000
