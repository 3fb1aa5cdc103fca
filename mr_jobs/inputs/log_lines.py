"""Takes lines in Combined Log Format apart into columns, a block at a time.

The format is Apache's: `host ident user [time] "request" status bytes "referrer" "agent"`; what follows is let be.
"""

import polars as pl

from pinflow.mr_jobs.inputs.blocks import MAX_TEXT, BadLine, Block
from pinflow.mr_jobs.inputs.json_lines import Lines
from pinflow.mr_jobs.inputs.parsed import Rows
from pinflow.mr_jobs.inputs.timestamps import UTC

LOG_COLUMNS = ("address", "time", "method", "target", "status", "referrer", "agent")
"""Columns of `read_log_lines`: all String but `time`, which is Datetime('us', 'UTC')."""

_TIME = r"([0-9]{2}/[A-Za-z]{3}/[0-9]{4}:[0-2][0-9]:[0-5][0-9]:[0-5][0-9] [+-][0-2][0-9][0-5][0-9])"
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_LINE = rf"^(\S+) \S+ .*?\[{_TIME}\] {_QUOTED} ([0-9]{{3}}) (?:[0-9]+|-) {_QUOTED} {_QUOTED}(?:\s.*)?$"
_PREFIX = rf'^\S+ \S+ .*?\[{_TIME}\] "'
_HEAD = rf"^\S+ \S+ .*\[{_TIME.replace('(', '(?:', 1)}\] $"
_NUMBERS = r"^ [0-9]{3} (?:[0-9]+|-) $"
_PARTS = ("address", "time", "request", "status", "referrer", "agent")
_PROTOCOLS = (" HTTP/1.0", " HTTP/1.1", " HTTP/2", " HTTP/2.0", " HTTP/3", " HTTP/3.0")
_BLANK = " \t\r"


def read_log_lines(block: Block) -> Rows:
    """The lines of a block as `LOG_COLUMNS`; a field that is `-` is null; escaped quotes are unescaped.

    Bad is a line that is not UTF-8, does not have the format's fields, or whose time is no date.
    """
    lines = Lines(block)
    column, undecoded = _decoded(block, lines)
    blank = column.str.strip_chars(_BLANK) == ""
    parts = _taken_apart(column)
    frame = parts.with_columns(_times(parts["time"]))
    good = frame["time"].is_not_null()
    kept = good.arg_true().to_numpy()
    bad = [
        BadLine(
            int(lines.bounds[line]) + block.offset,
            "not UTF-8" if line in undecoded else "not in Combined Log Format",
            lines.text(line)[:MAX_TEXT],
        )
        for line in (~good & ~blank).arg_true().to_list()
    ]
    return Rows(
        _tidy(frame.filter(good)),
        lambda: lines.bounds[:-1][kept] + block.offset,
        lambda row: lines.text(int(kept[row])),
        (*bad, *block.bad),
        int(blank.sum()),
        block.truncated,
    )


def _taken_apart(column: pl.Series) -> pl.DataFrame:
    """`_PARTS` of each line, null where it does not have the format.

    Nearly every line is cut at its six quotes, several times as fast as by the expression, which takes the others (an
    escape, a quote before the time). Where the cut applies, both give the same.
    """
    pieces = column.str.splitn('"', 7).struct.rename_fields([*"abcdefg"]).struct.unnest()
    head, tail = pl.col("a"), pl.col("g").str.replace(r"^\s(?s:.*)$", "")
    regular = pieces.select(
        head.str.contains(_HEAD) & pl.col("c").str.contains(_NUMBERS) & (pl.col("e") == " ") & (tail == "")
    ).to_series().fill_null(False) & ~column.str.contains("\\", literal=True)
    parts = pieces.select(
        head.str.split_exact(" ", 1).struct.field("field_0").alias("address"),
        head.str.slice(-28, 26).alias("time"),
        pl.col("b").alias("request"),
        pl.col("c").str.slice(1, 3).alias("status"),
        pl.col("d").alias("referrer"),
        pl.col("f").alias("agent"),
    )
    if regular.all():
        return parts
    rest = (~regular).arg_true()
    matched = column.gather(rest).str.extract_groups(_LINE).struct.rename_fields(list(_PARTS)).struct.unnest()
    return parts.with_columns(parts[name].scatter(rest, matched[name]) for name in _PARTS)


def line_times(block: Block) -> pl.Series:
    """The time of each line that has one in its place, in epoch seconds (not null, in no order)."""
    column, _ = _decoded(block, Lines(block))
    times = column.str.extract(_PREFIX).drop_nulls().unique()
    return _times(times).drop_nulls().dt.epoch("s")


def _decoded(block: Block, lines: Lines) -> tuple[pl.Series, set[int]]:
    """The lines as text without line ends, and the numbers of those that are not UTF-8 (as "?" here)."""
    if not block.data:
        return pl.Series("line", [], dtype=pl.String), set()
    try:
        text = block.data.decode().removesuffix("\n")
    except UnicodeDecodeError:
        texts = [lines.text(line).decode("utf-8", "surrogateescape") for line in range(lines.count)]
        undecoded = {line for line, text in enumerate(texts) if not _encodable(text)}
        shown = ["?" if line in undecoded else text for line, text in enumerate(texts)]
        return pl.Series("line", shown, dtype=pl.String), undecoded
    return pl.Series("line", [text]).str.split("\n").explode(), set()


def _encodable(text: str) -> bool:
    return text.isascii() or not any("\udc80" <= character <= "\udcff" for character in text)


def _times(texts: pl.Series) -> pl.Series:
    """Read times such as `17/May/2015:10:05:03 +0200`, each different one once."""
    different = texts.drop_nulls().unique()
    if different.is_empty():
        return pl.Series(texts.name, [None] * texts.len(), dtype=UTC)
    times = different.str.to_datetime("%d/%b/%Y:%H:%M:%S %z", time_unit="us", time_zone="UTC", strict=False)
    return texts.replace_strict(different, times, default=None, return_dtype=UTC)


def _tidy(frame: pl.DataFrame) -> pl.DataFrame:
    quoted = ("request", "referrer", "agent")
    changes = []
    for name in quoted:
        if frame[name].str.contains("\\", literal=True).any():
            changes.append(pl.col(name).str.replace_all(r'\\(["\\])', "$1"))
    frame = frame.with_columns(changes)
    texts = pl.col("referrer", "agent")
    request = pl.col("request").str.splitn(" ", 2)
    target = request.struct.field("field_1")
    for protocol in _PROTOCOLS:
        target = target.str.strip_suffix(protocol)
    return frame.with_columns(
        pl.when((texts != "-") & (texts != "")).then(texts),
        method=request.struct.field("field_0"),
        target=target,
    ).select(LOG_COLUMNS)
