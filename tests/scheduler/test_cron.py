"""Cron over all time zones and both changes of the clocks, against what the time zone database itself says."""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import islice, pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pinflow.errors import ConfigurationError
from pinflow.scheduler.cron import check_cron, last_ticks, next_tick, ticks_after, zone_of

ZONES = sorted(name for name in available_timezones() if name not in ("localtime", "Factory"))
FIRST, LAST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2037, 1, 1, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


@cache
def transitions(name: str) -> list[datetime]:
    """When a zone's offset changes, found by halving the steps in which it does."""
    zone, found, moment = ZoneInfo(name), [], FIRST
    while moment < LAST:
        later = moment + timedelta(days=7)
        if moment.astimezone(zone).utcoffset() != later.astimezone(zone).utcoffset():
            low, high = moment, later
            while high - low > MINUTE:
                middle = low + (high - low) // 2 // MINUTE * MINUTE
                same = middle.astimezone(zone).utcoffset() == low.astimezone(zone).utcoffset()
                low, high = (middle, high) if same else (low, middle)
            found.append(high)
        moment = later
    return found


def expected(zone: ZoneInfo, day: date, at: time) -> datetime | None:
    """The moment of a wall-clock time: the first of two; of none the next minute that exists, if the day does."""
    wall = datetime.combine(day, at)
    moment = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    shown = moment.astimezone(zone).replace(tzinfo=None)
    if shown == wall:
        return moment
    # The offset before a gap shows a time after it: go back until just after the gap.
    while (earlier := (moment - MINUTE).astimezone(zone).replace(tzinfo=None)) > wall:
        moment -= MINUTE
        shown = earlier
    return moment if shown.date() == day else None


def check_daily(name: str, around: datetime, at: time) -> None:
    zone = ZoneInfo(name)
    start = around - 3 * DAY
    ticks = list(islice(ticks_after(f"{at.minute} {at.hour} * * *", name, start), 6))
    days = [(around.astimezone(zone).date() + n * DAY) for n in range(-5, 6)]
    wanted = [moment for day in days if (moment := expected(zone, day, at)) is not None and moment > start]
    assert ticks[:5] == wanted[:5], (name, around, at)


@st.composite
def changes(draw: st.DrawFn) -> tuple[str, datetime, time]:
    name = draw(st.sampled_from(ZONES))
    assume(transitions(name))
    around = draw(st.sampled_from(transitions(name)))
    wall = (around + draw(st.integers(-180, 180)) * MINUTE).astimezone(ZoneInfo(name))
    return name, around, wall.time().replace(tzinfo=None, second=0, fold=0)


@given(changes())
def test_a_daily_schedule_fires_once_a_day_at_its_wall_clock_time_or_the_substitute(change):
    check_daily(*change)


@pytest.mark.soak
def test_the_same_at_every_change_of_every_zone():
    changing = [name for name in ZONES if transitions(name)]
    assert len(changing) > 200
    for name in changing:
        for around in transitions(name):
            for minutes in (-90, -61, -60, -30, -1, 0, 1, 29, 30, 60, 61, 90):
                wall = (around + minutes * MINUTE).astimezone(ZoneInfo(name))
                check_daily(name, around, time(wall.hour, wall.minute))


def test_all_zones_of_the_database_are_known():
    assert len(ZONES) > 400
    assert all(zone_of(name).key == name for name in ZONES)


@given(changes(), st.integers(-36 * 60, 36 * 60))
def test_wherever_it_begins_the_next_tick_is_later_and_none_is_left_out(change, minutes):
    name, around, at = change
    cron = f"{at.minute} {at.hour} * * *"
    start = around + minutes * MINUTE
    tick = next_tick(cron, name, start)
    assert tick > start
    assert tick in list(islice(ticks_after(cron, name, around - 4 * DAY), 12))


@given(changes())
def test_an_hourly_schedule_goes_on_each_hour_through_any_change(change):
    name, around, _ = change
    zone = ZoneInfo(name)
    ticks = list(islice(ticks_after("0 * * * *", name, around - timedelta(hours=5)), 9))
    assert all(tick.astimezone(zone).minute == 0 for tick in ticks)
    shift = abs(around.astimezone(zone).utcoffset() - (around - MINUTE).astimezone(zone).utcoffset())
    gaps = [b - a for a, b in pairwise(ticks)]
    assert all(gap == timedelta(hours=1) for gap in gaps) or shift % timedelta(hours=1)


@given(
    st.sampled_from(["*/7 * * * *", "30 2 * * *", "0 0 1 * *", "15 */6 * * 1-5"]),
    st.sampled_from(ZONES),
    st.integers(0, 2_000_000),
    st.integers(1, 9),
)
def test_the_last_ticks_are_the_end_of_all_ticks(cron, zone, minutes, most):
    until = datetime(2020, 1, 1, tzinfo=UTC) + minutes * MINUTE
    after = until - timedelta(days=40)
    every = []
    for tick in ticks_after(cron, zone, after):
        if tick > until:
            break
        every.append(tick)
    assert last_ticks(cron, zone, after, until, most) == every[-most:]


@pytest.mark.parametrize(
    ("cron", "zone", "after", "wanted"),
    [
        # Berlin, 2026-03-29: 02:00 becomes 03:00; 2026-10-25: 03:00 becomes 02:00.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:30"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:00", ["2026-10-26T01:30"]),
        ("30 * * * *", "Europe/Berlin", "2026-10-25T00:00", ["2026-10-25T00:30", "2026-10-25T01:30"]),
        # New York, the same; São Paulo lost midnight; Lord Howe shifts by half an hour.
        ("0 2 * * *", "America/New_York", "2026-03-07T12:00", ["2026-03-08T07:00", "2026-03-09T06:00"]),
        ("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00", ["2018-11-04T03:00", "2018-11-05T02:00"]),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00", ["2026-10-03T15:30", "2026-10-04T15:15"]),
        # Samoa had no 2011-12-30.
        ("0 10 * * *", "Pacific/Apia", "2011-12-29T00:00", ["2011-12-29T20:00", "2011-12-30T20:00"]),
        ("0 0 * * *", "Pacific/Apia", "2011-12-29T00:00", ["2011-12-29T10:00", "2011-12-30T10:00"]),
        ("@monthly", "Asia/Tokyo", "2026-01-02T00:00", ["2026-01-31T15:00"]),
        ("0 9 * * MON-FRI", "UTC", "2026-01-02T10:00", ["2026-01-05T09:00"]),
    ],
)
def test_ticks_worked_out_by_hand(cron, zone, after, wanted):
    start = datetime.fromisoformat(after).replace(tzinfo=UTC)
    assert [f"{tick:%Y-%m-%dT%H:%M}" for tick in islice(ticks_after(cron, zone, start), len(wanted))] == wanted


@pytest.mark.parametrize(
    ("cron", "says"),
    [
        ("60 * * * *", "Bad minute"),
        ("* * * *", "it has not five fields"),
        ("0 0 * * * *", "it has not five fields"),
        ("@fortnightly", "it has not five fields; write five fields such as '30 2"),
        ("0 0 31 2 *", "'0 0 31 2 \\*'"),
    ],
)
def test_what_is_no_cron_expression_is_refused(cron, says):
    with pytest.raises(ConfigurationError, match=says):
        check_cron(cron)


@pytest.mark.parametrize("name", ["Europe/Berlim", "", "../../etc/passwd", "/etc/localtime", "MEZ"])
def test_an_unknown_zone_is_refused(name):
    with pytest.raises(ConfigurationError, match="write a name such as UTC, Europe/Berlin"):
        zone_of(name)
