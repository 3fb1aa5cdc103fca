"""Reads JSON lines into columns, in one vectorised pass that a few bad lines slow down only a little.

Polars reads a whole block or refuses it. A refused block is cut again and again, and the lines of its last parts are
judged one by one. A line is good when Polars reads it alone, so the cuts between blocks never change a verdict.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pinflow.mr_jobs.inputs.blocks import MAX_TEXT, BadLine, Block
from pinflow.mr_jobs.inputs.parsed import Places, Rows

_BLANK = b" \t\r"
_PARTS = 8
_FEW_LINES = 2_048
_CACHE_BYTES = 1 << 18
_ESCAPED_SURROGATE_OR_NULL = re.compile(rb"\\u(?:[dD][89abAB]|0000)")

Mask = npt.NDArray[np.bool_]


class Lines:
    """The lines of a block: where each starts, and which are blank (spaces, tabs and carriage returns only)."""

    def __init__(self, block: Block) -> None:
        self.data = block.data
        self.offset = block.offset

    @cached_property
    def count(self) -> int:
        """Number of lines."""
        return _count(self.data, "\n") + (bool(self.data) and not self.data.endswith(b"\n"))

    @cached_property
    def bounds(self) -> Places:
        """Start of each line in the block, and the block's end."""
        ends = np.flatnonzero(np.frombuffer(self.data, np.uint8) == ord("\n")) + 1
        if not len(ends) or ends[-1] != len(self.data):
            ends = np.append(ends, len(self.data))
        return np.concatenate([np.zeros(1, np.int64), ends])[: self.count + 1]

    @cached_property
    def blank(self) -> Mask:
        """Which lines are blank."""
        blank = np.zeros(self.count, np.bool_)
        if self.count:
            first = np.frombuffer(self.data, np.uint8)[self.bounds[:-1]]
            for line in np.flatnonzero(np.isin(first, list(_BLANK + b"\n"))):
                blank[line] = not self.text(int(line)).strip(_BLANK)
        return blank

    def text(self, line: int) -> bytes:
        """One line, without its end."""
        return self.part(line, line + 1).removesuffix(b"\n")

    def part(self, first: int, end: int) -> bytes:
        """The lines from `first` to before `end`, as they stand."""
        return self.data[self.bounds[first] : self.bounds[end]]


def read_json_blocks(blocks: Iterable[Block], fields: Mapping[str, str], numbers: Mapping[str, Any]) -> Iterator[Rows]:
    """Read blocks of one file; a column of `numbers` is tried as such until a block holds something else there."""
    for block in blocks:
        rows = read_json_lines(block, fields, numbers)
        numbers = {name: dtype for name, dtype in numbers.items() if rows.frame.schema[name] == dtype}
        yield rows


def read_json_lines(block: Block, fields: Mapping[str, str], numbers: Mapping[str, Any] | None = None) -> Rows:
    """Read one block of JSON objects, a line each; `fields` is column = the name in the file.

    Numbers come as their decimal text, truth values as `true` and `false`; of a field that stands twice in a line
    the first counts. A wanted field with an object, an array or half of a surrogate pair makes the line bad. Columns
    of `numbers` come as numbers of that type if they are such in the whole block, which takes less time.
    """
    lines = Lines(block)
    schema = dict.fromkeys(fields.values(), pl.String)
    kept: Places | None = None
    bad: dict[int, str] = {}
    frame = _read(block.data, schema | _typed(fields, numbers)) if numbers else None
    if frame is None:
        frame = _read(block.data, schema)
    if frame is None:
        frame, bad = _read_good(lines, schema)
    if frame.height != lines.count:
        kept = np.flatnonzero(~lines.blank & ~_mask(bad, lines.count))
    blank = lines.count - frame.height - len(bad)
    if unusable := _unusable(frame, lines, kept):
        kept = np.arange(lines.count) if kept is None else kept
        bad.update((int(kept[row]), reason) for row, reason in unusable.items())
        use = ~_mask(unusable, frame.height)
        frame, kept = frame.filter(pl.Series(use)), kept[use]
    return _rows(frame, fields, lines, kept, bad, block, blank)


def _rows(
    frame: pl.DataFrame,
    fields: Mapping[str, str],
    lines: Lines,
    kept: Places | None,
    bad: Mapping[int, str],
    block: Block,
    blank: int,
) -> Rows:
    def place(row: int) -> int:
        return row if kept is None else int(kept[row])

    def offsets() -> Places:
        starts = lines.bounds[:-1] + lines.offset
        return starts if kept is None else starts[kept]

    found = [
        BadLine(int(lines.bounds[line]) + lines.offset, reason, lines.text(line)[:MAX_TEXT])
        for line, reason in sorted(bad.items())
    ]
    return Rows(
        frame.select(pl.col(name).alias(column) for column, name in fields.items()),
        offsets,
        lambda row: lines.text(place(row)),
        (*found, *block.bad),
        blank,
        block.truncated,
    )


def _typed(fields: Mapping[str, str], numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The types of the names in the file that stand for one column alone."""
    names = list(fields.values())
    return {fields[column]: dtype for column, dtype in numbers.items() if names.count(fields[column]) == 1}


def _count(data: bytes, character: str) -> int:
    """How often a character stands in the data, counted a cache at a time."""
    array = np.frombuffer(data, np.uint8)
    parts = (array[start : start + _CACHE_BYTES] for start in range(0, len(array), _CACHE_BYTES))
    return sum(int(np.count_nonzero(part == ord(character))) for part in parts)


def _mask(places: Mapping[int, str], size: int) -> Mask:
    mask = np.zeros(size, np.bool_)
    mask[list(places)] = True
    return mask


def _read(data: bytes, schema: Mapping[str, Any]) -> pl.DataFrame | None:
    if not data:
        return pl.DataFrame(schema=schema)
    try:
        return pl.read_ndjson(data, schema=schema).rechunk()  # dozens of chunks make each later step slower
    except pl.exceptions.PolarsError:
        return None


def _read_good(lines: Lines, schema: Mapping[str, Any]) -> tuple[pl.DataFrame, dict[int, str]]:
    """Read lines of which some are bad: the frame of the good ones, and the bad with their reasons."""
    bad = {int(line): reason for line in _misshapen(lines) if (reason := _refusal(lines.text(int(line))))}
    numbers = np.flatnonzero(~_mask(bad, lines.count))
    edges = [-1, *sorted(bad), lines.count]
    rest = Lines(Block(b"".join(lines.part(low + 1, high) for low, high in pairwise(edges))))
    frame = _read(rest.data, schema)
    if frame is not None:
        return frame, bad
    frames = []
    for part, refused in _salvage(rest, 0, rest.count, schema):
        frames.append(part)
        bad.update((int(numbers[line]), reason) for line, reason in refused.items())
    return pl.concat(frames, rechunk=True), bad


def _misshapen(lines: Lines) -> Places:
    """Lines that do not go from { to } or are not UTF-8: most bad lines, found without parsing."""
    data = np.frombuffer(lines.data, np.uint8)
    starts, ends = lines.bounds[:-1], lines.bounds[1:] - 1
    ends = np.where(data[ends] == ord("\n"), np.maximum(ends - 1, starts), ends)
    doubtful = (data[starts] != ord("{")) | (data[ends] != ord("}"))
    try:
        lines.data.decode()
    except UnicodeDecodeError:
        doubtful |= np.logical_or.reduceat(data >= 0x80, starts)
    return np.flatnonzero(doubtful & ~lines.blank)


def _salvage(
    lines: Lines, first: int, end: int, schema: Mapping[str, Any]
) -> Iterator[tuple[pl.DataFrame, dict[int, str]]]:
    """Frames of good lines in order, and the bad with their reasons."""
    if end - first <= _FEW_LINES:
        yield from _judge(lines, first, end, schema)
        return
    edges = [first + (end - first) * part // _PARTS for part in range(_PARTS + 1)]
    for low, high in pairwise(edges):
        frame = _read(lines.part(low, high), schema)
        if frame is None:
            yield from _salvage(lines, low, high, schema)
        else:
            yield frame, {}


def _judge(
    lines: Lines, first: int, end: int, schema: Mapping[str, Any]
) -> Iterator[tuple[pl.DataFrame, dict[int, str]]]:
    """Judge line by line: what the json module refuses, Polars refuses too; of the rest, Polars has the last word."""
    refused: dict[int, str] = {}
    likely: list[int] = []
    for line in range(first, end):
        text = lines.text(line)
        reason = _refusal(text) if text.strip(_BLANK) else None
        if reason is None:
            likely.append(line)
        else:
            refused[line] = reason
    yield pl.DataFrame(schema=schema), refused
    yield from _sift(lines, likely, schema)


def _sift(lines: Lines, numbers: list[int], schema: Mapping[str, Any]) -> Iterator[tuple[pl.DataFrame, dict[int, str]]]:
    """Halve lines until Polars reads each part or has refused a single line."""
    frame = _read(b"\n".join(lines.text(line) for line in numbers), schema)
    if frame is not None:
        yield frame, {}
    elif len(numbers) == 1:
        yield pl.DataFrame(schema=schema), {numbers[0]: "a number or an escape cannot be read"}
    else:
        middle = len(numbers) // 2
        yield from _sift(lines, numbers[:middle], schema)
        yield from _sift(lines, numbers[middle:], schema)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_number)


def _refusal(text: bytes) -> str | None:
    """Why a line is no JSON object to the json module; None when it is one, or is nested too deep to tell."""
    try:
        value = _DECODER.decode(text.decode())
    except UnicodeDecodeError:
        return "not UTF-8"
    except ValueError:
        return "not valid JSON"
    except RecursionError:
        return None
    return None if isinstance(value, dict) else "not a JSON object"


def _unusable(frame: pl.DataFrame, lines: Lines, kept: Places | None) -> dict[int, str]:
    """Rows with a value that is no text or number: Polars gives those as JSON text, and half pairs as NUL."""
    texts = pl.col(pl.String)
    checks = []
    if b"[" in lines.data or _count(lines.data, "{") > frame.height:
        checks += [texts.str.starts_with("{"), texts.str.starts_with("[")]
    if b"\\" in lines.data and _ESCAPED_SURROGATE_OR_NULL.search(lines.data):
        checks.append(texts.str.contains("\0", literal=True))
    if not frame.height or not any(frame.select(check.any()).row(0).count(True) for check in checks):
        return {}
    doubtful = frame.select(pl.any_horizontal(*checks).fill_null(False)).to_series().arg_true()
    unusable: dict[int, str] = {}
    for row in doubtful:
        text = lines.text(row if kept is None else int(kept[row]))
        if reason := _bad_value(text, frame.columns):
            unusable[row] = reason
    return unusable


def _bad_value(text: bytes, names: list[str]) -> str | None:
    def first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return dict(reversed(pairs))

    values = json.loads(text, object_pairs_hook=first_of_each)
    for name in names:
        value = values.get(name)
        if isinstance(value, dict | list):
            return f"{name} is not a text or number"
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            return f"{name} has half a surrogate pair"
    return None
