"""Finds the numeric columns of pins once for all files of a day, so that all tasks make the same columns."""

import csv
import json
import math
from collections.abc import Iterable, Mapping

from pinflow.mr_jobs.inputs.blocks import Block, read_blocks
from pinflow.mr_jobs.inputs.canonical import FILE, OFFSET, object_fields
from pinflow.mr_jobs.inputs.splits import InputFile, Split, file_kind

_SAMPLE_BYTES = 1024 * 1024
_SAMPLE_LINES = 2_000


def numeric_columns(
    files: Iterable[InputFile], mapping: Mapping[str, str] | None = None, *, kind: str = "pins"
) -> list[str]:
    """Names, sorted, of the columns beyond pinflow's own that hold numbers, from the first lines of each file.

    A column counts when it has a number in some file, and nothing but numbers and nulls in all of them. Parquet
    files say it in their schema; in CSV every value that is there must be a number.
    """
    numbers: set[str] = set()
    others = set(object_fields(kind, mapping)) | set(object_fields(kind, mapping).values()) | {FILE, OFFSET}
    for file in files:
        found, refused = _look(file)
        numbers |= found
        others |= refused
    return sorted(numbers - others)


def _look(file: InputFile) -> tuple[set[str], set[str]]:
    """Names with numbers, and names with anything else, in the first lines of a file."""
    how = file_kind(file.path)
    if how.kind == "parquet":
        from pinflow.mr_jobs.inputs.parquet import number_columns  # pyarrow is heavy, and few inputs need it

        numeric, names = number_columns(file.path)
        return numeric, names - numeric
    split = Split(file.path, 0, file.size, how.kind, how.compression, 0)
    block = next((block for block in read_blocks(split, _SAMPLE_BYTES) if block.data), Block(b""))
    lines = block.data.decode("utf-8", "replace").split("\n")[: _SAMPLE_LINES + 1]
    rows = _csv_rows(lines) if how.kind == "csv" else _json_rows(lines)
    numbers: set[str] = set()
    others: set[str] = set()
    for row in rows:
        for name, value in row.items():
            if value is not None and value != "":
                (numbers if _is_number(value, how.kind) else others).add(name)
    return numbers, others


def _csv_rows(lines: list[str]) -> Iterable[Mapping[str, object]]:
    reader = csv.reader(lines)
    names = next(reader, [])
    return (dict(zip(names, row, strict=True)) for row in reader if len(row) == len(names))


def _json_rows(lines: list[str]) -> Iterable[Mapping[str, object]]:
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            yield row


def _is_number(value: object, kind: str) -> bool:
    if kind == "csv":
        try:
            return math.isfinite(float(str(value)))
        except ValueError:
            return False
    return isinstance(value, int | float) and not isinstance(value, bool)
