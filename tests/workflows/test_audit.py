"""Rules over a job's past in SQL: day after day as a workflow's nodes do it, without the MapReduce."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import pytest
import sqlalchemy as sa

from pinflow.database import open_database
from pinflow.stats_engine.alerts import JobKey, alerts_of
from pinflow.stats_engine.expectations import Expectation, expect
from pinflow.stats_engine.record import mark_published, record
from pinflow.stats_engine.rules import Rule, Violation, balance, nonzero, ratio, temporal
from pinflow.stats_engine.statistics import Statistics
from pinflow.stats_engine.tables import ALERTS, METADATA, STAT_COUNTS
from pinflow.workflows.audit import audit
from pinflow.workflows.node import Day, MapReduce

FIRST = date(2013, 6, 3)
WEEKDAYS = (1.02, 1.03, 1.01, 1.0, 0.98, 0.97, 0.99)


@pytest.fixture
def database(database_url: str) -> Iterator[sa.Engine]:
    engine = open_database(database_url).execution_options(writes=True)
    METADATA.create_all(engine)
    yield engine
    engine.dispose()


class Days:
    """A job that is run for one day after the other."""

    def __init__(self, database: sa.Engine, *rules: Rule, country: str = "", sharing: int = 1, job: str = "j") -> None:
        self.database, self.job = database, job
        allowed = {"warning": 12 / sharing, "fatal": 1 / sharing}
        self.node = MapReduce("m:J", job, (Day("d"),), rules=rules, owner="o", country=country, allowed=allowed)

    def key(self, day: date, run: int = 1) -> JobKey:
        return JobKey("w", f"w-{day}-{run}", self.job, 1, day.isoformat(), "o")

    def remember(self, days: Mapping[date, Mapping[str, int]]) -> None:
        """Days that ran before there were rules."""
        for day, counts in days.items():
            with self.database.begin() as connection:
                record(connection, self.key(day), Statistics(counts=counts), [], _night(day))
                mark_published(connection, self.key(day))

    def run(self, day: date, counts: Mapping[str, int], run: int = 1) -> list[Violation]:
        """What a day's job does once its statistics are merged."""
        statistics = Statistics(counts=counts)
        found = audit(self.database, self.node, self.key(day, run), statistics)
        with self.database.begin() as connection:
            accepted = record(connection, self.key(day, run), statistics, alerts_of(found), _night(day))
            found = [violation for violation in found if violation.text not in accepted]
            if not any(violation.degree == "fatal" for violation in found):
                mark_published(connection, self.key(day, run))
        return found


def _night(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(0, 30), UTC)


def grown(level: float, growth: float, noise: float, seed: int) -> Callable[[date], float]:
    """A counter that grows every day, has a week and some noise."""

    def value(day: date) -> float:
        age = (day - FIRST).days
        error = np.random.default_rng((seed, age)).normal(0, noise)
        return float(level * growth**age * WEEKDAYS[day.weekday()] * np.exp(error))

    return value


def days(first: date, count: int) -> Iterator[date]:
    return (first + timedelta(days=number) for number in range(count))


def steady(value: int, count: int = 60, name: str = "n") -> dict[date, dict[str, int]]:
    wobble = (0, 1, -1, 2, 0, -2, 1)
    return {day: {name: value + value * wobble[i % 7] // 100} for i, day in enumerate(days(FIRST, count))}


NEXT = FIRST + timedelta(days=60)


@pytest.mark.parametrize(
    ("level", "noise", "bad_day", "factor", "country", "around"),
    [
        (31_000_000, 0.01, date(2013, 12, 23), 0.5, "US", {24: 0.97, 25: 0.93, 26: 0.97}),
        (2.4e11, 0.03, date(2013, 7, 22), 1.7, "", {}),
    ],
    ids=["users with interests", "output size"],
)
def test_the_incidents_of_the_source_documents(
    database: sa.Engine, level: float, noise: float, bad_day: date, factor: float, country: str, around: dict
) -> None:
    """N12: only the incident alarms, not the days around it, as one of ten rules of a workflow."""
    value = grown(level, 1.001, noise, 7)
    changed = {bad_day: factor} | {bad_day.replace(day=number): share for number, share in around.items()}
    start = bad_day - timedelta(days=10)
    job = Days(database, temporal("n"), country=country, sharing=10)
    job.remember({day: {"n": int(value(day))} for day in days(FIRST, (start - FIRST).days)})
    alarms = {}
    for day in days(start, 25):
        found = job.run(day, {"n": int(value(day) * changed.get(day, 1))})
        if found:
            alarms[day] = found[0]
    assert list(alarms) == [bad_day]
    found = alarms[bad_day]
    assert found.deviation == pytest.approx(factor - 1, abs=0.05)
    assert found.low is not None
    assert found.high is not None
    assert found.low < (found.forecast or 0) < found.high
    row = database.connect().execute(sa.select(ALERTS)).one()
    assert (row.forecast, row.deviation, row.learning) == (found.forecast, found.deviation, False)
    assert row.message == found.message


def test_a_year_keeps_the_budget(database: sa.Engine) -> None:
    """Three rules, 12 warnings a year: at most so many on the ordinary days of a year, and each bad day is found."""
    names = ("calm", "wild", "small")
    values = [
        grown(1e6, 1.0005, 0.01, 1),
        grown(2e4, 0.9995, 0.12, 3),
        grown(60, 1, 0.1, 4),
    ]
    bad = {"calm": 0.8, "wild": 0.1, "small": 0.0}
    bad_days = {FIRST + timedelta(days=90 + 37 * i + 80 * n): name for n, name in enumerate(names) for i in range(2)}
    job = Days(database, *(temporal(name) for name in names), sharing=3)

    def counted(day: date) -> dict[str, int]:
        factors = {name: bad[name] if bad_days.get(day) == name else 1 for name in names}
        return {name: int(value(day) * factors[name]) for name, value in zip(names, values, strict=True)}

    job.remember({day: counted(day) for day in days(FIRST, 60)})
    found = {day: {v.rule.subject for v in job.run(day, counted(day))} for day in days(NEXT, 365)}
    assert [day for day, name in bad_days.items() if name not in found[day]] == []
    false = sum(len(names - {bad_days.get(day)}) for day, names in found.items())
    assert false <= 12


def test_what_is_learnt_from(database: sa.Engine) -> None:
    """An alarmed value is not, until it was accepted or repeated; other rules' alarms on the same name count, too."""
    job = Days(database, temporal("n"))
    job.remember(steady(10_000))
    (found,) = job.run(NEXT, {"n": 5_000})
    assert re.fullmatch(r"n is 5000, 50% below the forecast of 1\d{4}; usual is \d{4} to 1\d{4}", found.message)
    assert job.run(NEXT + timedelta(days=1), {"n": 10_000}) == []
    shifted = [bool(job.run(day, {"n": 14_000})) for day in days(NEXT + timedelta(days=2), 6)]
    assert shifted == [True, True, True, False, False, False]


def test_an_accepted_value_passes_again_and_is_learnt_from(database: sa.Engine) -> None:
    job = Days(database, temporal("n", degree="fatal"))
    job.remember(steady(10_000))
    assert [found.degree for found in job.run(NEXT, {"n": 3_000})] == ["fatal"]
    with database.begin() as connection:
        connection.execute(ALERTS.update().values(state="accepted"))
    assert [found.degree for found in job.run(NEXT, {"n": 1_000}, run=2)] == ["fatal"]
    assert job.run(NEXT, {"n": 3_000}, run=3) == []


def test_a_fatal_rule_warns_of_what_is_small_or_not_certain(database: sa.Engine) -> None:
    job = Days(database, temporal("n", degree="fatal"))
    job.remember(steady(10_000))
    assert [found.degree for found in job.run(NEXT, {"n": 8_500})] == ["warning"]


@pytest.mark.parametrize(("rule", "names"), [(temporal("n"), ["n"]), (nonzero("n", degree="fatal"), ["n"])])
@pytest.mark.parametrize("known", [3, 27])
def test_while_it_learns_only_zeros_are_told(database: sa.Engine, rule: Rule, names: list[str], known: int) -> None:
    job = Days(database, rule)
    job.remember(steady(10_000, known))
    day = FIRST + timedelta(days=known)
    assert job.run(day, {"n": 1}) == []
    (found,) = job.run(day, {"other": 1}, run=2)
    assert (found.degree, found.learning, found.value) == ("warning", True, 0)


@pytest.mark.parametrize("rule", [temporal("n"), nonzero("n")])
def test_zeros_of_what_is_often_zero_or_never_was_are_not_told(database: sa.Engine, rule: Rule) -> None:
    job = Days(database, rule)
    assert job.run(FIRST, {"n": 0}) == []
    job.remember({day: {"n": 100 * (day.weekday() != 5)} for day in days(FIRST, 61)})
    saturday = FIRST + timedelta(days=61)
    while saturday.weekday() != 5:
        job.remember({saturday: {"n": 100}})
        saturday += timedelta(days=1)
    assert job.run(saturday, {"n": 0}) == []
    assert len(job.run(saturday + timedelta(days=1), {"n": 0})) == 1


def test_a_zero_of_a_small_count_is_chance(database: sa.Engine) -> None:
    job = Days(database, nonzero("n"))
    job.remember({day: {"n": 1 + day.day % 4} for day in days(FIRST, 60)})
    assert job.run(NEXT, {"n": 0}) == []


def test_a_fatal_zero_is_not_published(database: sa.Engine) -> None:
    job = Days(database, nonzero("n", degree="fatal"))
    job.remember(steady(10_000))
    assert [found.degree for found in job.run(NEXT, {"n": 0})] == ["fatal"]
    assert database.connect().execute(sa.text("SELECT count(*) FROM v_counts WHERE value = 0")).scalar() == 0


def test_an_old_date_is_judged_by_what_was_before_it(database: sa.Engine) -> None:
    """Later days, at ten times the level, say nothing about it; its own earlier run neither."""
    job = Days(database, temporal("n"))
    job.remember(steady(10_000))
    job.remember({day: {"n": 100_000} for day in days(NEXT, 40)})
    assert job.run(NEXT, {"n": 10_000}, run=2) == []
    assert len(job.run(NEXT, {"n": 100_000}, run=3)) == 1


@pytest.mark.parametrize("step", [7, 30])
def test_weekly_and_monthly_jobs_are_judged_by_the_run(database: sa.Engine, step: int) -> None:
    job = Days(database, temporal("n"))
    dates = [FIRST + timedelta(days=step * number) for number in range(25)]
    job.remember({day: {"n": 10_000 + 10 * number} for number, day in enumerate(dates[:-1])})
    assert job.run(dates[-1], {"n": 10_260}) == []
    assert len(job.run(dates[-1], {"n": 3_000}, run=2)) == 1


def test_gaps_are_no_zeros(database: sa.Engine) -> None:
    job = Days(database, temporal("n"))
    job.remember({day: counts for day, counts in steady(10_000, 70).items() if day.day not in (7, 8, 9)})
    assert job.run(FIRST + timedelta(days=70), {"n": 10_000}) == []
    assert len(job.run(FIRST + timedelta(days=70), {"n": 0}, run=2)) == 1


@pytest.mark.parametrize("expected", [True, False])
def test_an_expected_change_does_not_alarm(database: sa.Engine, expected: bool) -> None:
    job = Days(database, temporal("n"))
    job.remember(steady(10_000))
    if expected:
        last = NEXT + timedelta(days=1)
        expect(database, Expectation("w", "j", "n", NEXT, last, 2.0, "campaign"), _night(NEXT))
    found = [bool(job.run(day, {"n": 20_000})) for day in days(NEXT, 2)]
    found.append(bool(job.run(NEXT + timedelta(days=2), {"n": 10_000})))
    assert found == ([False] * 3 if expected else [True, True, False])


def test_a_drift_is_told_once_and_says_so(database: sa.Engine) -> None:
    value = grown(100_000, 1, 0.02, 5)
    job = Days(database, temporal("n"))
    job.remember({day: {"n": int(value(day))} for day in days(FIRST, 120)})
    start = FIRST + timedelta(days=120)
    slid = {day: int(value(day) * max(0.985**i, 0.6)) for i, day in enumerate(days(start, 45))}
    told = [found for day, number in slid.items() for found in job.run(day, {"n": number})]
    (found,) = [one for one in told if one.text == "drift(n)"]
    assert len(told) <= 3
    assert found.degree == "warning"
    assert "has drifted" in found.message
    assert found.deviation == pytest.approx(-0.2, abs=0.15)


@pytest.mark.parametrize(("side", "least", "alarms"), [("both", 0.0, [1, 1]), ("below", 0.0, [1, 0])])
def test_sides(database: sa.Engine, side, least: float, alarms: Sequence[int]) -> None:
    job = Days(database, temporal("n", side=side))
    job.remember(steady(10_000))
    assert [len(job.run(NEXT, {"n": value}, run=value)) for value in (4_000, 22_000)] == alarms


def test_small_deviations_may_be_left_untold(database: sa.Engine) -> None:
    job = Days(database, temporal("n", least=0.3))
    job.remember(steady(10_000))
    assert [len(job.run(NEXT, {"n": value}, run=value)) for value in (8_000, 6_000)] == [0, 1]


def test_a_share_has_a_history_of_its_own(database: sa.Engine) -> None:
    job = Days(database, temporal("bad", of="all"))
    job.remember({day: {"bad": 100 + day.day, "all": 10_000 + 100 * day.day} for day in days(FIRST, 60)})
    assert job.run(NEXT, {"bad": 300, "all": 30_000}) == []
    (found,) = job.run(NEXT, {"bad": 300, "all": 1_000}, run=2)
    assert (found.rule.subject, found.value) == ("bad / all", 0.3)
    assert job.run(NEXT, {"bad": 0, "all": 0}, run=3) == []


def test_other_jobs_of_the_day(database: sa.Engine) -> None:
    rules = [ratio("n", of="rows", job="before", max=0.5), balance([("before", "rows")], ["n", "lost"])]
    job = Days(database, *rules)
    assert job.run(FIRST, {"n": 1_000}) == []
    Days(database, job="before").remember({FIRST: {"rows": 1_000}, NEXT: {"rows": 5}})
    assert [found.message for found in job.run(FIRST, {"n": 600, "lost": 390}, run=2)] == [
        "n / before.rows is 0.6, above its maximum 0.5",
        "before.rows = n + lost does not balance: 1000 in, 990 out",
    ]
    assert job.run(FIRST, {"n": 500, "lost": 500}, run=3) == []


def test_a_rule_that_needs_no_past_asks_for_none(database: sa.Engine) -> None:
    job = Days(database, nonzero("n"))
    seen: list[str] = []
    sa.event.listen(database, "before_cursor_execute", lambda *args: seen.append(args[2]))
    assert audit(database, job.node, job.key(FIRST), Statistics(counts={"n": 1})) == []
    assert seen == []
    assert STAT_COUNTS.name not in " ".join(seen)
