"""Canonical input: events, pins, boards and users, as JSON lines, CSV or Parquet, into checked frames."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from pinflow.errors import ConfigurationError, UnknownNameError
from pinflow.mr_jobs.inputs.blocks import BLOCK_BYTES, MAX_TEXT, BadLine, Block, read_blocks
from pinflow.mr_jobs.inputs.json_lines import read_json_blocks, read_json_lines
from pinflow.mr_jobs.inputs.parsed import EVENT_COLUMNS, Parsed, Rows, line_counts
from pinflow.mr_jobs.inputs.splits import Split
from pinflow.mr_jobs.inputs.timestamps import UTC, parse_timestamps

EVENT_FIELDS = EVENT_COLUMNS[:-1]
"""Fields of a canonical event; its `board_id` is the pin's, so that column is null."""

OBJECT_FIELDS = {
    "pins": ("pin_id", "board_id", "owner_id", "domain"),
    "boards": ("board_id", "owner_id", "name"),
    "users": ("user_id", "country", "gender", "metro"),
}
"""Text columns of each kind of object; the first is its id and must be there."""

FILE, OFFSET = "_file", "_offset"
"""Columns of objects that order their lines, so that the last row of an id can win."""

_REQUIRED = ("event_type", "timestamp", "user_id", "pin_id", "app")
_RESERVED_APP = "all"
_SECONDS = {"timestamp": pl.Int64}

MAX_TEXT_BYTES = 10_000
"""Of any text of an event or object: escaped three times as long, it still fits a row key (32,767 bytes)."""

MAX_APP_BYTES = 200


def parse_events(lines: Block | Rows, mapping: Mapping[str, str] | None = None) -> Parsed:
    """Check events: a frame with `EVENT_COLUMNS`, the bad lines, and `lines_read`, `blank_lines`, `bad_lines`.

    `mapping` is pinflow's field name = the name in the file, for fields that differ. Null, absent and '' are the
    same. Domains are lower-cased. Bad: without a required field, an unreadable timestamp, a network other than on
    and off, the reserved app `all`, or a text too long for a row key.
    """
    rows = lines if isinstance(lines, Rows) else read_json_lines(lines, event_fields(mapping), _SECONDS)
    frame = _tidy(rows.frame)
    if frame.schema["timestamp"] != UTC:
        frame = frame.with_columns(parse_timestamps(frame["timestamp"]))
    long = _too_long(frame)
    good = pl.all_horizontal(
        pl.col(*_REQUIRED).is_not_null(), *(~wrong for wrong in (*_wrong_values(), *long.values()))
    )
    events, bad = _keep(rows, frame, good, pl.coalesce(_event_reason(), *_long_reasons(long)))
    events = events.with_columns(board_id=pl.lit(None, pl.String)).select(EVENT_COLUMNS)
    return Parsed(events, bad, line_counts(rows, len(bad)))


def parse_objects(
    kind: str,
    lines: Block | Rows,
    mapping: Mapping[str, str] | None = None,
    columns: Sequence[str] = (),
    *,
    file: int = 0,
) -> Parsed:
    """Check pins, boards or users: their `OBJECT_FIELDS`, `columns` as Float64, `_file` (UInt32), `_offset` (Int64).

    Bad is a row without its id, or with a text too long for a row key. `columns` are the numeric columns of pins,
    from `numeric_columns`, so that all splits agree; a value in them that is no finite number is null. `file` is the
    split's index. Rows keep the order of their lines, so the last of the rows of an id is the one with the highest
    (`_file`, `_offset`).
    """
    fields = object_fields(kind, mapping, columns)
    rows = lines if isinstance(lines, Rows) else read_json_lines(lines, fields, _doubles(columns))
    frame = _tidy(rows.frame).with_columns(
        pl.lit(file, pl.UInt32).alias(FILE), pl.Series(OFFSET, rows.offsets(), pl.Int64)
    )
    numbers = pl.col(*columns).cast(pl.Float64, strict=False) if columns else pl.lit(None, pl.Float64)
    if columns:
        frame = frame.with_columns(pl.when(numbers.is_finite()).then(numbers))
    required = object_names(kind)[0]
    long = _too_long(frame)
    good = pl.all_horizontal(pl.col(required).is_not_null(), *(~wrong for wrong in long.values()))
    objects, bad = _keep(rows, frame, good, pl.coalesce(*_long_reasons(long), pl.lit(f"{required} is missing")))
    return Parsed(objects, bad, line_counts(rows, len(bad)))


def event_fields(mapping: Mapping[str, str] | None = None) -> dict[str, str]:
    """Column = name in the file, for events."""
    return _fields("events", EVENT_FIELDS, mapping)


def object_fields(kind: str, mapping: Mapping[str, str] | None = None, columns: Sequence[str] = ()) -> dict[str, str]:
    """Column = name in the file, for pins, boards or users; numeric columns keep their names."""
    return _fields(kind, (*object_names(kind), *columns), mapping)


def check_mapping(kind: str, mapping: Mapping[str, str]) -> None:
    """Raise `ConfigurationError` when a mapping is of something else than the fields of events or a kind of object."""
    _fields(kind, EVENT_FIELDS if kind == "events" else object_names(kind), mapping)


def object_names(kind: str) -> tuple[str, ...]:
    """Text columns of a kind of object."""
    if kind not in OBJECT_FIELDS:
        raise UnknownNameError("kind of object", kind, OBJECT_FIELDS, "pinflow datasets")
    return OBJECT_FIELDS[kind]


def read_events(
    split: Split, mapping: Mapping[str, str] | None = None, *, block_bytes: int = BLOCK_BYTES
) -> Iterator[Parsed]:
    """Read and check the events of a split of any kind of file, a block at a time."""
    for rows in read_rows(split, event_fields(mapping), _SECONDS, block_bytes=block_bytes):
        yield parse_events(rows)


def read_objects(
    kind: str,
    split: Split,
    mapping: Mapping[str, str] | None = None,
    columns: Sequence[str] = (),
    *,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[Parsed]:
    """Read and check the pins, boards or users of a split of any kind of file, a block at a time."""
    fields = object_fields(kind, mapping, columns)
    for rows in read_rows(split, fields, _doubles(columns), block_bytes=block_bytes):
        yield parse_objects(kind, rows, columns=columns, file=split.index)


def read_rows(
    split: Split, fields: Mapping[str, str], numbers: Mapping[str, Any], *, block_bytes: int = BLOCK_BYTES
) -> Iterator[Rows]:
    """Read a split as rows of text; `fields` is column = the name in the file.

    A column of `numbers` may come in that type.
    """
    if split.kind_of_file == "parquet":
        from pinflow.mr_jobs.inputs.parquet import read_row_groups  # pyarrow is heavy, and few inputs need it

        return read_row_groups(split, fields, block_bytes)
    if split.kind_of_file == "csv":
        from pinflow.mr_jobs.inputs.csv_lines import read_csv

        return read_csv(read_blocks(split, block_bytes), fields)
    return read_json_blocks(read_blocks(split, block_bytes), fields, numbers)


def _doubles(columns: Sequence[str]) -> dict[str, Any]:
    return dict.fromkeys(columns, pl.Float64)


def _fields(kind: str, names: Iterable[str], mapping: Mapping[str, str] | None) -> dict[str, str]:
    names = list(names)
    mapping = mapping or {}
    if unknown := set(mapping).difference(names):
        raise ConfigurationError(
            f"source.fields.{kind} maps {sorted(unknown)[0]!r}, which is no field of {kind}; "
            f"valid: {', '.join(names)}. Correct it in pinflow.toml, then: pinflow doctor"
        )
    return {name: mapping.get(name) or name for name in names}


def _tidy(frame: pl.DataFrame) -> pl.DataFrame:
    """Make '' null and domains lower case."""
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    if not frame.height or not texts:
        return frame
    empty = frame.select((pl.col(*texts) == "").any()).row(0)
    changes = [
        pl.when(pl.col(name) != "").then(pl.col(name)).alias(name)
        for name, has_empty in zip(texts, empty, strict=True)
        if has_empty
    ]
    frame = frame.with_columns(changes)
    if "domain" in texts and frame["domain"].null_count() < frame.height:
        frame = frame.with_columns(pl.col("domain").str.to_lowercase())
    return frame


def _wrong_values() -> tuple[pl.Expr, pl.Expr]:
    app, network = pl.col("app"), pl.col("network")
    return (
        (app == _RESERVED_APP).fill_null(False),
        ((network != "on") & (network != "off")).fill_null(False),
    )


def _too_long(frame: pl.DataFrame) -> dict[str, pl.Expr]:
    """For the columns that have texts too long for a row key: which those are."""
    if not frame.height:
        return {}
    longest = frame.select(pl.col(pl.String).str.len_bytes().max()).row(0, named=True)
    beyond = [name for name, size in longest.items() if size and size > _limit(name)]
    return {name: (pl.col(name).str.len_bytes() > _limit(name)).fill_null(False) for name in beyond}


def _limit(name: str) -> int:
    return MAX_APP_BYTES if name == "app" else MAX_TEXT_BYTES


def _long_reasons(long: Mapping[str, pl.Expr]) -> list[pl.Expr]:
    return [pl.when(which).then(pl.lit(f"{name} has more than {_limit(name)} bytes")) for name, which in long.items()]


def _event_reason() -> pl.Expr:
    reserved, network = _wrong_values()
    missing = (
        pl.when(pl.col(name).is_null()).then(pl.lit(f"{name} is missing or cannot be read")) for name in _REQUIRED
    )
    return pl.coalesce(
        *missing,
        pl.when(reserved).then(pl.lit(f"app {_RESERVED_APP!r} is reserved")),
        pl.when(network).then(pl.lit("network is neither on nor off")),
    )


def _keep(rows: Rows, frame: pl.DataFrame, good: pl.Expr, reason: pl.Expr) -> tuple[pl.DataFrame, list[BadLine]]:
    """The good rows, and all bad lines in the order of their place."""
    mask = frame.select(good.alias("good")).to_series()
    if mask.all():
        return frame, list(rows.bad)
    refused = (~mask).arg_true()
    offsets = rows.offsets()
    reasons = frame.filter(~mask).with_columns(reason.alias("_reason"))["_reason"]
    bad = [
        BadLine(int(offsets[row]), why, rows.text(row)[:MAX_TEXT])
        for row, why in zip(refused.to_list(), reasons.to_list(), strict=True)
    ]
    return frame.filter(mask), sorted((*rows.bad, *bad))
