"""Reads CSV (RFC 4180, comma, header row) into columns of text; a field in quotes may hold line ends.

A block whose commas all separate values is split in one vectorised pass; for others the csv module finds the records.
Both ways give the same rows. A record that the end of a block cuts is read again with the next block.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from io import BytesIO
from itertools import accumulate, islice
from typing import NamedTuple

import numpy as np
import polars as pl

from pinflow.errors import InputError
from pinflow.mr_jobs.inputs.blocks import MAX_TEXT, BadLine, Block
from pinflow.mr_jobs.inputs.json_lines import Lines
from pinflow.mr_jobs.inputs.parsed import Rows

_UNDECODED = re.compile("[\udc80-\udcff]")
_REGULAR = r'^(?:"[^",\r]*"|[^",\r]*)(?:,(?:"[^",\r]*"|[^",\r]*))*\r*$'
_BLANK = " \t\r\n"
_LONGEST_FIELD = 131_072  # of the csv module
_CARRIAGE_RETURN = "a carriage return inside a line"
_WRONG_COUNT = "not as many values as the header row"


class _Header(NamedTuple):
    names: list[str]
    fields: Mapping[str, str]


class _Record(NamedTuple):
    offset: int
    text: bytes
    values: list[str] | None  # None: blank, or bad when there is a reason
    reason: str = ""


def read_csv(blocks: Iterator[Block], fields: Mapping[str, str]) -> Iterator[Rows]:
    """Read the blocks of one CSV file from its start; `fields` is column = the name in the header row.

    A bad line is a record with more or fewer values than the header row, or a line whose quotes do not add up (what
    follows it is read on its own). Raises `InputError` when the header row names none of the columns.
    """
    header: _Header | None = None
    held = Block(b"")
    for block in blocks:
        if held.data and block.bad:
            yield from _rows(held, header, final=True)[1]
            held = Block(b"")
        block = Block(held.data + block.data, held.offset if held.data else block.offset, block.bad, block.truncated)
        if header is None and block.data:
            header, block = _take_header(block, fields)
        held, rows = _rows(block, header, final=False)
        yield from rows
    if held.data:
        yield from _rows(held, header, final=True)[1]


def _take_header(block: Block, fields: Mapping[str, str]) -> tuple[_Header | None, Block]:
    record = next(_records(block, final=True))
    names = [name.strip() for name in record.values or []]
    wanted = set(fields.values())
    if not wanted.intersection(names) or any(names.count(name) > 1 for name in wanted):
        raise InputError(
            f"the header row of a CSV file is {record.text[:200]!r}; it must name each column once, such as "
            f"{', '.join(list(fields.values())[:5])}. Map other names with source.fields in pinflow.toml"
        )
    taken = len(record.text)
    return _Header(names, fields), Block(block.data[taken:], block.offset + taken, block.bad, block.truncated)


def _rows(block: Block, header: _Header | None, *, final: bool) -> tuple[Block, list[Rows]]:
    """The record that is still open, as a block, and the rows of the complete ones."""
    if header is None:
        return Block(b""), [_recorded([], _Header([], {}), block)] if block.bad else []
    if plain := _split_plain(block, header):
        return Block(b""), [plain]
    records = list(_records(block, final=final))
    taken = sum(len(record.text) for record in records)
    rest = Block(block.data[taken:], block.offset + taken)
    return rest, [_recorded(records, header, block)]


def _records(block: Block, *, final: bool) -> Iterator[_Record]:
    """Records with their text as it stands; one that is open at the end of a block which is not `final` is left out."""
    texts = BytesIO(block.data).readlines()
    starts = list(accumulate(map(len, texts), initial=block.offset))
    lines = [text.decode("utf-8", "surrogateescape") for text in texts]
    undecoded = any(_UNDECODED.search(line) for line in lines)
    at = 0
    while at < len(lines):
        base = at
        reader = csv.reader(islice(lines, base, None), strict=True)
        try:
            for values in reader:
                end = base + reader.line_num
                text = texts[at] if end == at + 1 else b"".join(texts[at:end])
                yield _record(starts[at], text, values, undecoded)
                at = end
        except csv.Error as error:
            if "unexpected end" in str(error) and not final:
                return
            blank = not texts[at].strip(_BLANK.encode())
            yield _Record(starts[at], texts[at], None, "" if blank else _reason(error))
            at += 1


def _reason(error: csv.Error) -> str:
    return _CARRIAGE_RETURN if "new-line" in str(error) else str(error)


def _record(offset: int, text: bytes, values: list[str], undecoded: bool) -> _Record:
    if len(values) < 2 and not text.strip(_BLANK.encode()):
        return _Record(offset, text, None)
    if undecoded and any(_UNDECODED.search(value) for value in values):
        return _Record(offset, text, None, "not UTF-8")
    return _Record(offset, text, values)


def _recorded(records: list[_Record], header: _Header, block: Block) -> Rows:
    width = len(header.names)
    good = [record for record in records if record.values is not None and len(record.values) == width]
    bad = [
        BadLine(record.offset, record.reason or _WRONG_COUNT, record.text.rstrip(b"\r\n")[:MAX_TEXT])
        for record in records
        if record.reason or (record.values is not None and len(record.values) != width)
    ]
    columns = list(zip(*(record.values or [] for record in good), strict=True)) if good else [()] * width
    frame = pl.DataFrame(
        {
            column: pl.Series(
                columns[header.names.index(name)] if name in header.names else [None] * len(good), dtype=pl.String
            )
            for column, name in header.fields.items()
        }
    )
    return Rows(
        frame,
        lambda: np.fromiter((record.offset for record in good), np.int64, len(good)),
        lambda row: good[row].text.rstrip(b"\r\n"),
        (*bad, *block.bad),
        len(records) - len(good) - len(bad),
        block.truncated,
    )


def _plain_column(block: Block, lines: Lines) -> pl.Series | None:
    """The lines of a block; None when it needs the csv module: a comma, line end or quote in a quoted value."""
    if not block.data or int(np.diff(lines.bounds).max()) > _LONGEST_FIELD:
        return None
    try:
        text = block.data.decode()
    except UnicodeDecodeError:
        return None
    column = pl.Series("line", [text.removesuffix("\n")]).str.split("\n").explode().str.strip_chars_end("\r")
    if b'"' in block.data and not ((column.str.strip_chars(_BLANK) == "") | column.str.contains(_REGULAR)).all():
        return None
    return column


def _split_plain(block: Block, header: _Header) -> Rows | None:
    """Split a block at its commas; None when that is not all there is to do."""
    lines = Lines(block)
    column = _plain_column(block, lines)
    if column is None:
        return None
    blank = column.str.strip_chars(_BLANK) == ""
    good = (column.str.count_matches(",", literal=True) == len(header.names) - 1) & ~blank
    returns = column.str.contains("\r", literal=True)
    good &= ~returns
    parts = column.filter(good).str.split_exact(",", len(header.names) - 1)
    values = parts.struct.rename_fields([str(i) for i in range(len(header.names))]).struct.unnest()
    if b'"' in block.data:
        values = values.with_columns(pl.all().str.strip_prefix('"').str.strip_suffix('"'))
    kept = good.arg_true().to_numpy()
    bad = [
        BadLine(
            int(lines.bounds[line]) + block.offset,
            _CARRIAGE_RETURN if returns[line] else _WRONG_COUNT,
            lines.text(line).rstrip(b"\r")[:MAX_TEXT],
        )
        for line in (~good & ~blank).arg_true().to_list()
    ]
    frame = values.select(
        (pl.col(str(header.names.index(name))) if name in header.names else pl.lit(None, pl.String)).alias(field)
        for field, name in header.fields.items()
    )
    return Rows(
        frame,
        lambda: lines.bounds[:-1][kept] + block.offset,
        lambda row: lines.text(int(kept[row])).rstrip(b"\r"),
        (*bad, *block.bad),
        int(blank.sum()),
        block.truncated,
    )
