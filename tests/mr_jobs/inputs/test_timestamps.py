from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinflow.mr_jobs.inputs.timestamps import parse_timestamps

MOMENTS = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 28), timezones=st.just(UTC))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse(*texts: str | None) -> list[datetime | None]:
    return parse_timestamps(pl.Series(texts, dtype=pl.String)).to_list()


@given(MOMENTS, st.integers(-23 * 60, 23 * 60), st.sampled_from("T "))
def test_iso_8601_is_read_as_the_standard_library_reads_it(moment, minutes, separator):
    zone = timezone(timedelta(minutes=minutes))
    text = moment.astimezone(zone).isoformat(separator)
    naive = moment.replace(tzinfo=None).isoformat(separator)
    assert parse(text, naive, naive + "Z", naive + "+00:00") == [datetime.fromisoformat(text)] + [moment] * 3


@given(MOMENTS)
def test_epoch_seconds_are_exact_to_the_microsecond(moment):
    micros = (moment - EPOCH) // timedelta(microseconds=1)
    sign, digits = ("-" if micros < 0 else ""), abs(micros)
    text = f"{sign}{digits // 1_000_000}.{digits % 1_000_000:06d}"
    assert parse(text, f"{text}9") == [moment, moment]
    if digits % 1_000_000 == 0:
        assert parse(f"{sign}{digits // 1_000_000}") == [moment]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2015-05-18", datetime(2015, 5, 18, tzinfo=UTC)),
        ("2015-05-18T10:20", datetime(2015, 5, 18, 10, 20, tzinfo=UTC)),
        ("2015-05-18t10:20:30z", datetime(2015, 5, 18, 10, 20, 30, tzinfo=UTC)),
        ("2015-05-18 10:20:30,5 -0130", datetime(2015, 5, 18, 11, 50, 30, 500_000, tzinfo=UTC)),
        ("2015-05-18T10:20:30.9999999Z", datetime(2015, 5, 18, 10, 20, 30, 999_999, tzinfo=UTC)),
        ("1431907200.", datetime(2015, 5, 18, tzinfo=UTC)),
    ],
)
def test_other_shapes(text, expected):
    assert parse(text) == [expected]


UNREADABLE = [
    *("", " ", "soon", "2015-13-01", "2015-02-29", "2015-05-18T24:00:00", "2015-05-18T10:60", "2015-05-18T10:20:60Z"),
    *(
        "1431907200000",
        "-99999999999999",
        "1e9",
        "NaN",
        "inf",
        " 5",
        "5 ",
        "1_000",
        "٣",
        "0x10",
        "2015-5-1",
        "20x5-05-18",
    ),
    *(
        "0000-01-01",
        "9999-12-31T23:59:59-01:00",
        "0001-01-01T00:00:00+01:00",
        "2015-05-18T10:20:30+24:00",
        "2015-05-18Z",
    ),
    *("99999999999999999999999", "99999999999999999999999.5", "2015-05-18T", "May 18 2015"),
]


@pytest.mark.parametrize("text", UNREADABLE)
def test_what_is_neither_is_null(text):
    assert parse(text) == [None]


def test_the_neighbours_of_a_text_do_not_matter():
    texts = [*UNREADABLE, "5", "5.25", "2015-05-18T10:20:30Z", "2015-05-18", None, "2015-05-18T10:20:30.5+01:00"]
    assert parse(*texts) == [parse(text)[0] for text in texts]


def test_whole_seconds_may_come_as_numbers():
    seconds = [0, 1431907200, -1, None, 10**12, -(10**12)]
    texts = [None if second is None else str(second) for second in seconds]
    assert parse_timestamps(pl.Series(seconds, dtype=pl.Int64)).to_list() == parse(*texts)


def test_the_name_of_the_column_stays():
    assert parse_timestamps(pl.Series("timestamp", ["5", "5.5", "2015-05-18"])).name == "timestamp"
    assert parse_timestamps(pl.Series("timestamp", [], dtype=pl.String)).dtype == pl.Datetime("us", "UTC")
