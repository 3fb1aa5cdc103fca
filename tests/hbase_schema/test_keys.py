from datetime import date
from hashlib import md5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinflow.errors import ConfigurationError, DamagedFileError, InputError
from pinflow.hbase_schema.keys import (
    escape,
    is_audience,
    parse_key,
    row_key,
    row_keys,
    series_prefix,
    subject_prefix,
    unescape,
)
from pinflow.hbase_schema.periods import AGGREGATIONS

TEXT = st.one_of(st.text(), st.text(alphabet="_%25Faé\t/:\0"))
DAYS = st.dates(date(1000, 1, 1))
AGGREGATION = st.sampled_from(AGGREGATIONS)


def test_a_key_as_written_down_in_the_docs() -> None:
    bucket = md5(b"d:example.com").hexdigest()[:2]
    key = row_key("d:example.com", "all", "daily", date(2015, 5, 18))
    assert key == f"{bucket}_d:example.com_all_daily_2015-05-18".encode()
    assert row_key("p:a_b%", "i_os", "weekly", date(2015, 5, 18)).endswith(b"_p:a%5Fb%25_i%5Fos_weekly_2015-05-18")


@given(TEXT, TEXT, AGGREGATION, DAYS)
def test_keys_can_be_read_back(userparam: str, platform: str, aggregation: str, day: date) -> None:
    assert parse_key(row_key(userparam, platform, aggregation, day)) == (userparam, platform, aggregation, day)
    assert unescape(escape(userparam)) == userparam


@given(TEXT, TEXT, TEXT, TEXT, AGGREGATION, AGGREGATION, DAYS)
def test_prefixes_never_reach_into_other_rows(
    one: str, other: str, platform: str, other_platform: str, first: str, second: str, day: date
) -> None:
    key = row_key(other, other_platform, second, day)
    assert key.startswith(subject_prefix(one)) == (one == other)
    same = (one, platform, first) == (other, other_platform, second)
    assert key.startswith(series_prefix(one, platform, first)) == same


def test_the_naive_key_that_would_capture() -> None:
    assert not row_key("foo_web", "all", "daily", date(2015, 5, 18))[3:].startswith(
        series_prefix("foo", "web", "daily")[3:]
    )


@given(TEXT, TEXT, AGGREGATION, st.lists(DAYS, unique=True, max_size=8))
def test_rows_of_a_graph_sort_by_date(userparam: str, platform: str, aggregation: str, days: list[date]) -> None:
    keys = [row_key(userparam, platform, aggregation, day) for day in sorted(days)]
    assert keys == sorted(keys)


@given(st.lists(st.tuples(TEXT, TEXT), max_size=10), AGGREGATION, DAYS)
def test_many_keys_are_those_of_one(pairs: list[tuple[str, str]], aggregation: str, day: date) -> None:
    made = row_keys([one for one, _ in pairs], [two for _, two in pairs], aggregation, day)
    assert made == [row_key(*pair, aggregation, day) for pair in pairs]


@pytest.mark.parametrize(
    "key", [b"", b"zz_a_b_daily_2015-05-18", b"00_d:example.com_all_daily_2015-05-18", b"a_b", b"\xff_\xff"]
)
def test_other_keys_are_refused(key: bytes) -> None:
    with pytest.raises(DamagedFileError, match="row key"):
        parse_key(key)


def test_what_cannot_be_a_key() -> None:
    with pytest.raises(ConfigurationError, match="UTF-8"):
        subject_prefix("d:\udcff")
    with pytest.raises(InputError, match="too long"):
        subject_prefix("p:" + "_" * 20_000)


def test_audience_rows_are_told_apart() -> None:
    day = date(2015, 5, 18)
    assert is_audience(row_key("a:d:x", "all", "daily", day))
    assert not is_audience(row_key("d:a:x", "all", "daily", day))


def test_buckets_fill_evenly() -> None:
    counts: dict[bytes, int] = {}
    for number in range(16_000):
        region = subject_prefix(f"d:www.site{number}.com")[:1]
        counts[region] = counts.get(region, 0) + 1
    assert len(counts) == 16
    assert max(counts.values()) < 1.25 * 1000
