"""The raw canonical files read line by line: the first half of the independent computation in `oracle`."""

import json
import math
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import zstandard

RANKING_COLUMN = "search_score"
EVENT_TEXTS = ("event_type", "user_id", "pin_id", "app", "country", "metro", "network", "domain", "owner_id")
PIN_TEXTS = ("pin_id", "board_id", "owner_id", "domain")
USER_TEXTS = ("user_id", "country", "metro", "gender")
FIRST_SECOND, END_SECOND = -62_135_596_800, 253_402_300_800

Read = Callable[[Mapping[str, Any]], dict[str, Any]]


class UnreadableError(Exception):
    """The line is a bad one."""


def day_files(folder: Path, kind: str, day: date) -> list[Path]:
    """The day's files of a kind, by name, without hidden ones and markers such as `_SUCCESS`."""
    target = folder / kind / f"date={day}"
    if not target.is_dir():
        return []
    return sorted(path for path in target.iterdir() if path.is_file() and path.name[0] not in "_.")


def read_lines(path: Path) -> tuple[list[bytes], bool]:
    """The file's lines, and whether it was cut; the last line of a cut file is its incomplete rest."""
    data, truncated = path.read_bytes(), False
    if path.suffix == ".gz":
        data, truncated = _inflate(data)
    elif path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    lines = data.split(b"\n")
    if not lines[-1] and not truncated:
        lines.pop()
    return lines, truncated


def _inflate(data: bytes) -> tuple[bytes, bool]:
    parts = []
    while data:
        member = zlib.decompressobj(31)
        parts.append(member.decompress(data))
        if not member.eof:
            return b"".join(parts), True
        data = member.unused_data
    return b"".join(parts), False


def _no_constant(name: str) -> None:
    raise UnreadableError(name)


def parse_object(line: bytes) -> dict[str, Any]:
    """The JSON object of a line; `UnreadableError` when it is none, or not UTF-8."""
    try:
        value = json.loads(line.decode("utf-8"), parse_constant=_no_constant)
    except ValueError as error:
        raise UnreadableError(str(error)) from error
    if not isinstance(value, dict):
        raise UnreadableError("not an object")
    return value


def text_of(value: Any) -> str | None:
    """An id or name as text: numbers as their decimal text, '' and null as None."""
    if isinstance(value, dict | list | bool):
        raise UnreadableError("not a text or number")
    return None if value is None or value == "" else str(value)


def microseconds_of(value: Any) -> int:
    """A timestamp as microseconds since 1970: epoch seconds, or ISO 8601, in UTC where it has no offset."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise UnreadableError("no timestamp")
    if not isinstance(value, str):
        if not FIRST_SECOND <= value < END_SECOND:
            raise UnreadableError("not in the years 1 to 9999")
        return math.floor(value * 1_000_000)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise UnreadableError(str(error)) from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@dataclass
class Rows:
    """The readable rows of one kind and day, and what else was in the files."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def read_rows(folder: Path, kind: str, day: date, required: Sequence[str], read: Read) -> Rows:
    """All rows that `read` can make of the lines; other lines count as blank or bad."""
    found = Rows()
    for path in day_files(folder, kind, day):
        lines, truncated = read_lines(path)
        found.counts["truncated_files"] += truncated
        for number, line in enumerate(lines, 1):
            rest = truncated and number == len(lines)
            found.counts["lines_read"] += 1
            if not rest and not line.strip(b" \t\r"):
                found.counts["blank_lines"] += 1
                continue
            try:
                row = read(parse_object(b"" if rest else line))
                if any(row[name] is None for name in required):
                    raise UnreadableError("a required field is missing")
            except UnreadableError:
                found.counts["bad_lines"] += 1
            else:
                found.rows.append(row)
    return found


def read_event(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of an event that count; `UnreadableError` when one cannot be read."""
    texts = {name: text_of(row.get(name)) for name in EVENT_TEXTS}
    if texts["network"] not in ("on", "off", None) or texts["app"] == "all":
        raise UnreadableError("network is on or off, and 'all' is no app")
    return texts | {"timestamp": microseconds_of(row.get("timestamp")), "domain": _lower(texts["domain"])}


def read_pin(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a pin that count; `UnreadableError` when one cannot be read."""
    texts = {name: text_of(row.get(name)) for name in PIN_TEXTS}
    score = row.get(RANKING_COLUMN)
    return texts | {"domain": _lower(texts["domain"]), "score": None if score in (None, "") else float(score)}


def read_user(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a user that count; `UnreadableError` when one cannot be read."""
    return {name: text_of(row.get(name)) for name in USER_TEXTS}


def read_board(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a board that count; `UnreadableError` when one cannot be read."""
    return {"board_id": text_of(row.get("board_id"))}


def _lower(domain: str | None) -> str | None:
    return domain.lower() if domain else None
