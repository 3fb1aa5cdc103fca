"""Reads timestamps, a column at a time: epoch seconds or ISO 8601."""

import polars as pl

MICROSECOND = 1_000_000
UTC = pl.Datetime("us", "UTC")
_FIRST, _LAST = -62_135_596_800, 253_402_300_799  # the years 1 to 9999
_DECIMAL = r"^[+-]?[0-9]+\.[0-9]*$"
_ISO = (
    r"^([0-9]{4}-[0-9][0-9]-[0-9][0-9])(?:[Tt ]((?:[01][0-9]|2[0-3]):[0-5][0-9])(?::([0-5][0-9])(?:[.,]([0-9]+))?)?"
    r" ?(?:([Zz])|([+-])([01][0-9]|2[0-3])(?::?([0-5][0-9]))?)?)?$"
)
_PLAIN_ISO = (
    r"^[0-9]{4}-[0-9][0-9]-[0-9][0-9][T ](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?(?:Z|\+00:00)?$"
)


def parse_timestamps(texts: pl.Series) -> pl.Series:
    """Read timestamps: epoch seconds (whole, as text or as numbers, or decimal) or ISO 8601; null for any other text.

    ISO 8601: `T` or a space, fractions of a second, `Z` or an offset; without offset UTC; a date alone is its
    midnight. Digits past the microsecond are cut off. The years go from 1 to 9999.

    >>> parse_timestamps(pl.Series(["0", "1.5", "2015-05-18 02:00+02:00", "soon"])).dt.to_string("iso").to_list()
    ['1970-01-01 00:00:00.000000+00:00', '1970-01-01 00:00:01.500000+00:00', '2015-05-18 00:00:00.000000+00:00', None]
    """
    parsed = _whole_seconds(texts)
    if parsed.null_count() == texts.null_count() or texts.dtype == pl.Int64:
        return parsed
    for shape, parse in ((_DECIMAL, _decimal_seconds), (_PLAIN_ISO, _plain_iso), (_ISO, _iso)):
        rows = (parsed.is_null() & texts.is_not_null()).arg_true()
        rows = rows.filter(texts.gather(rows).str.contains(shape))
        if len(rows):
            parsed = parsed.scatter(rows, parse(texts.gather(rows)))
    return parsed


def _run(texts: pl.Series, expression: pl.Expr) -> pl.Series:
    return texts.alias("text").to_frame().select(expression.alias(texts.name)).to_series()


def _in_range(seconds: pl.Expr) -> pl.Expr:
    return pl.when(seconds.is_between(_FIRST, _LAST)).then(seconds)


def _whole_seconds(texts: pl.Series) -> pl.Series:
    seconds = pl.col("text").cast(pl.Int64, strict=False)
    return _run(texts, (_in_range(seconds) * MICROSECOND).cast(UTC))


def _plain_iso(texts: pl.Series) -> pl.Series:
    """The usual shapes, read without the slower groups of an expression."""
    text = pl.col("text")
    time = _date_time(text.str.slice(0, 19).str.replace("T", " ", literal=True)).to_physical()
    rest = text.str.slice(19).str.strip_suffix("Z").str.strip_suffix("+00:00")
    return _run(texts, (time + _micros(rest.str.strip_prefix("."))).cast(UTC))


def _date_time(text: pl.Expr) -> pl.Expr:
    time = text.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
    return pl.when(time.dt.year() >= 1).then(time)


def _decimal_seconds(texts: pl.Series) -> pl.Series:
    text = pl.col("text")
    parts = text.str.splitn(".", 2)
    sign = pl.when(text.str.starts_with("-")).then(-1).otherwise(1)
    seconds = _in_range(parts.struct.field("field_0").cast(pl.Int64, strict=False))
    micros = _micros(parts.struct.field("field_1"))
    return _run(texts, _checked(seconds * MICROSECOND + sign * micros).cast(UTC))


def _micros(digits: pl.Expr) -> pl.Expr:
    return digits.fill_null("").str.slice(0, 6).str.pad_end(6, "0").cast(pl.Int64, strict=False)


def _checked(micros: pl.Expr) -> pl.Expr:
    return pl.when((micros >= _FIRST * MICROSECOND) & (micros < (_LAST + 1) * MICROSECOND)).then(micros)


def _iso(texts: pl.Series) -> pl.Series:
    names = ("date", "minute", "second", "fraction", "z", "sign", "hours", "minutes")
    parts = texts.alias("text").to_frame().select(pl.col("text").str.extract_groups(_ISO).alias("parts"))
    parts = parts.select(pl.col("parts").struct.field(str(i + 1)).alias(name) for i, name in enumerate(names))
    minute, second = pl.col("minute").fill_null("00:00"), pl.col("second").fill_null("00")
    time = _date_time(pl.format("{} {}:{}", pl.col("date"), minute, second)).to_physical()
    offset = pl.col("hours").fill_null("0").cast(pl.Int64) * 60 + pl.col("minutes").fill_null("0").cast(pl.Int64)
    sign = pl.when(pl.col("sign") == "-").then(-1).otherwise(1)
    micros = time + _micros(pl.col("fraction")) - sign * offset * 60 * MICROSECOND
    return parts.select(_checked(micros).cast(UTC).alias(texts.name)).to_series()
