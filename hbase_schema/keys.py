"""Row keys: `hh_userparam_platform_aggregation_date` (AN-20, AN-25).

`hh` is the first two hex digits of md5(userparam), so that regions fill evenly while the rows of one graph stay
consecutive. In userparam and platform `%` is written `%25` and `_` is written `%5F`, so that the parts can be
told apart whatever text they hold, and no prefix reaches into the rows of another userparam.
"""

import hashlib
from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from pinflow.errors import ConfigurationError, DamagedFileError, InputError
from pinflow.hbase_schema.periods import check_aggregation

BUCKETS = tuple(f"{number:02x}".encode() for number in range(256))
AUDIENCE = "a:"
SUBJECT_KINDS = ("d:", "p:")

# HBase takes 32,767 bytes for a whole key; what is left over is for platform, aggregation and date.
MAX_USERPARAM_BYTES = 32_000

_SUBJECTS = 1 << 16
"""So many prefixes are kept: the rows of several periods and kinds are written for the same subjects."""


class RowKey(NamedTuple):
    """The logical key of one row; `date` is the first day of the period."""

    userparam: str
    platform: str
    aggregation: str
    date: date


def escape(text: str) -> bytes:
    """A part of a key, as stored.

    >>> escape("50%_off")
    b'50%25%5Foff'
    """
    return encode_text(text.replace("%", "%25").replace("_", "%5F"))


def unescape(part: bytes) -> str:
    """The text that `escape` was given."""
    return part.decode().replace("%5F", "_").replace("%25", "%")


def encode_text(text: str) -> bytes:
    """UTF-8 of `text`; raises `ConfigurationError` on text that has none (half of a surrogate pair)."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(f"{text!r} is not valid Unicode text; give it in UTF-8") from None


@lru_cache(_SUBJECTS)
def subject_prefix(userparam: str) -> bytes:
    """What all rows of `userparam`, and no others, start with.

    >>> subject_prefix("d:my_shop.com")
    b'03_d:my%5Fshop.com_'
    """
    bucket = hashlib.md5(encode_text(userparam), usedforsecurity=False).hexdigest()[:2]
    escaped = escape(userparam)
    if len(escaped) > MAX_USERPARAM_BYTES:
        raise InputError(
            f"{userparam[:40]!r}… is too long for a row key: {len(escaped)} bytes; "
            f"at most {MAX_USERPARAM_BYTES} can be served"
        )
    return b"%s_%s_" % (bucket.encode(), escaped)


def series_prefix(userparam: str, platform: str, aggregation: str) -> bytes:
    """What the rows of one graph start with; only the date follows."""
    return b"%s%s_%s_" % (subject_prefix(userparam), escape(platform), check_aggregation(aggregation).encode())


def period_suffix(aggregation: str, start: date) -> bytes:
    """What all rows of one period end with.

    >>> period_suffix("daily", date(2015, 5, 18))
    b'_daily_2015-05-18'
    """
    return f"_{check_aggregation(aggregation)}_{start.isoformat()}".encode()


def row_key(userparam: str, platform: str, aggregation: str, start: date) -> bytes:
    """The key of one row.

    >>> row_key("d:example.com", "all", "daily", date(2015, 5, 18))
    b'bd_d:example.com_all_daily_2015-05-18'
    """
    return series_prefix(userparam, platform, aggregation) + start.isoformat().encode()


def row_keys(userparams: Sequence[str], platforms: Sequence[str], aggregation: str, start: date) -> list[bytes]:
    """Keys of many rows of one period, in the order given; each distinct userparam is hashed and escaped once."""
    suffix = period_suffix(aggregation, start)
    heads = {userparam: subject_prefix(userparam) for userparam in set(userparams)}
    tails = {platform: escape(platform) + suffix for platform in set(platforms)}
    pairs = zip(userparams, platforms, strict=True)
    return [heads[userparam] + tails[platform] for userparam, platform in pairs]


def parse_key(key: bytes) -> RowKey:
    """The parts of a key that `row_key` made; raises `DamagedFileError` on anything else.

    >>> parse_key(b'03_d:my%5Fshop.com_all_weekly_2015-05-18').userparam
    'd:my_shop.com'
    """
    try:
        bucket, userparam, platform, aggregation, day = key.split(b"_")
        parsed = RowKey(unescape(userparam), unescape(platform), aggregation.decode(), date.fromisoformat(day.decode()))
        if bucket in BUCKETS and row_key(*parsed) == key:
            return parsed
    except (ValueError, ConfigurationError):
        pass
    raise DamagedFileError(f"{key!r} is not a row key of pinflow; valid: hh_userparam_platform_aggregation_date")


def is_audience(key: bytes) -> bool:
    """Whether a row holds an audience (`a:…`), not the metrics of a subject."""
    return key[3:5] == b"a:"
