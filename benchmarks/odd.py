"""Small generated days that hold everything odd that real input has been seen to hold.

Unicode and IDN domains; ids with `_`, `%`, tabs, quotes, line ends and spaces; ties in top lists; one domain
with half of all events; events without domain or owner, or naming their own; numbers as ids; repeated rows;
broken, cut and binary lines; other event types; events out of the day; ISO and epoch times; a cut .gz; an
empty day.
"""

import gzip
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import zstandard

from benchmarks.odd_events import BAD_EVENTS, EventWriter, encode
from benchmarks.odd_world import World

APPS = ("web", "iphone", "ipad", "android")
FORMATS = ("jsonl", "ndjson.gz", "json.zst")
LEAST_EVENTS = 800
TRUNCATED_EVENTS = 40
BAD_OBJECTS = (b"{", b"\xff\xfe\x00", b'{"name": "no id"}')
GZIP = 31


@dataclass(frozen=True)
class OddDay:
    """What was put into a day; every number counts lines or rows of that day's own folders."""

    date: date
    apps: tuple[str, ...]
    lines_read: int = 0
    """Lines of events, blank ones too; a cut file's rest is one line."""
    events_kept: int = 0
    bad_lines: int = 0
    other_event_types: int = 0
    out_of_day_events: int = 0
    unknown_pins: int = 0
    """Left out: events of an unknown pin that name neither domain nor owner."""
    unknown_pins_kept: int = 0
    """Kept: events of an unknown pin that name their domain or owner."""
    blank_lines: int = 0
    truncated_files: int = 0
    repeated_pins: int = 0
    """Rows of pins that a later row replaced."""
    repeated_boards: int = 0
    repeated_users: int = 0
    bad_objects: Mapping[str, int] = field(default_factory=dict)
    """Bad lines of pins, boards and users, by kind."""


def generate_odd_day(
    folder: Path,
    day: date,
    seed: int = 0,
    *,
    events: int = 2_000,
    apps: Sequence[str] = APPS,
    bad_kinds: Sequence[str] = tuple(BAD_EVENTS),
    bad_lines: int | None = None,
    truncated: bool = False,
    empty: bool = False,
    formats: Sequence[str] = FORMATS,
) -> OddDay:
    """Write the day below `folder` as canonical input and say what was put in.

    Args:
        folder: The input folder; files that an earlier call left for the date are removed.
        day: The day; another day with the same seed has the same objects, some of them changed.
        seed: Same seed and day, same bytes.
        events: Events that are to be kept, at least `LEAST_EVENTS`.
        apps: The apps of the events; one for a day with one app only.
        bad_kinds: Kinds of bad lines of events, names of `odd_events.ALL_BAD_EVENTS`.
        bad_lines: How many; default one of each kind, within 0.6 % of the events.
        truncated: Add a .gz file of events that was cut in the middle of a line.
        empty: No rows at all: empty files.
        formats: Endings of the files of events, one file each: json, jsonl or ndjson, also with .gz or .zst.
    """
    if empty:
        return _write_empty(folder, day, apps)
    if events < LEAST_EVENTS:
        raise ValueError(f"an odd day needs at least {LEAST_EVENTS} events to hold everything, not {events}")
    world = World.of(seed, day, events)
    writer = EventWriter(Random(f"{seed} events {day}"), day, tuple(apps), world)
    writer.add_kept(events)
    cut = [writer.lines.pop() for _ in range(TRUNCATED_EVENTS)] if truncated else []
    writer.add_losses(events, bad_kinds, bad_lines)
    target = _emptied(folder, "events", day)
    _write_events(target, writer.shuffled(), formats)
    if truncated:
        _write_truncated(target / "part-9-cut.jsonl.gz", cut, writer)
    bad, repeated = {}, {}
    for kind, rows in world.kinds().items():
        written = _ObjectWriter(Random(f"{seed} {kind} {day}"), rows)
        written.write(_emptied(folder, kind, day))
        bad[kind], repeated[f"repeated_{kind}"] = written.bad, written.repeated
    return OddDay(day, tuple(apps), **writer.tally, **repeated, bad_objects=bad)


class _ObjectWriter:
    """Rows of pins, boards or users in two files; one row in eight has earlier, wrong rows of the same id."""

    def __init__(self, random: Random, rows: Sequence[Mapping[str, Any]]) -> None:
        self.random = random
        self.rows = random.sample(rows, len(rows))
        self.repeated = 0
        self.bad = min(len(BAD_OBJECTS), len(rows) // 200)

    def write(self, target: Path) -> None:
        middle = len(self.rows) // 2
        first = [*self._stale(self.rows), *self._encoded(self.rows[:middle])]
        second = [
            *self._stale(self.rows[middle:]),
            *self._encoded(self.rows[middle:]),
            *BAD_OBJECTS[: self.bad],
        ]
        (target / "part-0.jsonl").write_bytes(b"\n".join(first) + b"\n")
        (target / "part-1.jsonl.gz").write_bytes(gzip.compress(b"\n".join(second) + b"\n", mtime=0))

    def _stale(self, rows: Sequence[Mapping[str, Any]]) -> list[bytes]:
        chosen = self.random.sample(rows, len(rows) // 16)
        self.repeated += len(chosen)
        return self._encoded([self._spoiled(row) for row in chosen])

    def _spoiled(self, row: Mapping[str, Any]) -> dict[str, Any]:
        key, *others = row
        wrong = {name: 99.5 if name == "search_score" else f"stale {name}" for name in others}
        return {key: row[key]} | wrong

    def _encoded(self, rows: Sequence[Mapping[str, Any]]) -> list[bytes]:
        return [encode(row, self.random) for row in rows]


def _write_empty(folder: Path, day: date, apps: Sequence[str]) -> OddDay:
    for kind in ("events", "pins", "boards", "users"):
        (_emptied(folder, kind, day) / "part-0.jsonl").write_bytes(b"")
    return OddDay(day, tuple(apps), bad_objects=dict.fromkeys(("pins", "boards", "users"), 0))


def _emptied(folder: Path, kind: str, day: date) -> Path:
    target = folder / kind / f"date={day}"
    target.mkdir(parents=True, exist_ok=True)
    for path in target.iterdir():
        path.unlink()
    return target


def _write_events(target: Path, lines: Sequence[bytes], formats: Sequence[str]) -> None:
    """Deal the lines out to one file for each format; the first file's last line has no line end."""
    for number, ending in enumerate(formats):
        data = b"\n".join(lines[number :: len(formats)]) + (b"\n" if number else b"")
        if ending.endswith(".gz"):
            data = gzip.compress(data, mtime=0)
        elif ending.endswith(".zst"):
            data = zstandard.ZstdCompressor().compress(data)
        (target / f"part-{number}.{ending}").write_bytes(data)


def _write_truncated(path: Path, lines: Sequence[bytes], writer: EventWriter) -> None:
    """A .gz file with whole lines, then the middle of a long one at which it was cut.

    The compressor is flushed after the whole lines, so that every reader can get at all of them.
    """
    long_event = writer.event("pin1", note="".join(writer.random.choices("0123456789abcdef", k=20_000)))
    compressor = zlib.compressobj(6, zlib.DEFLATED, GZIP)
    whole = compressor.compress(b"\n".join(lines) + b"\n") + compressor.flush(zlib.Z_FULL_FLUSH)
    rest = compressor.compress(encode(long_event, writer.random)) + compressor.flush(zlib.Z_FINISH)
    path.write_bytes(whole + rest[: len(rest) // 2])
    writer.tally.update(truncated_files=1, bad_lines=1, lines_read=1)
