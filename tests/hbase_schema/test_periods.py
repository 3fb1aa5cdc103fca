from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinflow.errors import ConfigurationError, UnknownNameError
from pinflow.hbase_schema.periods import AGGREGATIONS, days, period_end, period_start

DAYS = st.dates(date(1969, 1, 1), date(2100, 1, 1))


@pytest.mark.parametrize(
    ("aggregation", "day", "start", "end"),
    [
        ("daily", "2015-05-20", "2015-05-20", "2015-05-20"),
        ("weekly", "2015-05-24", "2015-05-18", "2015-05-24"),
        ("weekly", "2016-01-03", "2015-12-28", "2016-01-03"),
        ("biweekly", "1970-01-05", "1970-01-05", "1970-01-18"),
        ("biweekly", "1970-01-18", "1970-01-05", "1970-01-18"),
        ("biweekly", "1970-01-19", "1970-01-19", "1970-02-01"),
        ("biweekly", "1970-01-04", "1969-12-22", "1970-01-04"),
        # 16,562 days, 1,183 times 14, after 1970-01-05
        ("biweekly", "2015-05-18", "2015-05-11", "2015-05-24"),
        ("monthly", "2016-02-29", "2016-02-01", "2016-02-29"),
        ("monthly", "2015-12-31", "2015-12-01", "2015-12-31"),
    ],
)
def test_periods_by_the_calendar(aggregation: str, day: str, start: str, end: str) -> None:
    first = period_start(aggregation, date.fromisoformat(day))
    assert first.isoformat() == start
    assert period_end(aggregation, first).isoformat() == end


@given(st.sampled_from(AGGREGATIONS), DAYS)
def test_periods_cut_time_without_gaps(aggregation: str, day: date) -> None:
    start = period_start(aggregation, day)
    held = days(aggregation, start)
    assert day in held
    assert held[0] == start
    assert {period_start(aggregation, each) for each in held} == {start}
    following = held[-1] + timedelta(days=1)
    assert period_start(aggregation, following) == following


def test_a_day_inside_a_period_does_not_start_it() -> None:
    with pytest.raises(ConfigurationError, match="2015-05-18"):
        days("weekly", date(2015, 5, 19))


def test_unknown_and_out_of_range() -> None:
    with pytest.raises(UnknownNameError, match="weekly"):
        period_start("weekli", date(2015, 5, 19))
    assert period_start("biweekly", date.min) == date.min
    with pytest.raises(ConfigurationError, match="9999"):
        period_end("weekly", period_start("weekly", date.max))
