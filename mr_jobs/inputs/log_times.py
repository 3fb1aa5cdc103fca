"""The first and last time in each access log, found once per file and cached, so that a day reads only its files."""

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

from pinflow.mr_jobs.inputs.blocks import read_blocks
from pinflow.mr_jobs.inputs.splits import InputFile, plan_splits

CACHE_NAME = "access_log_times.json"
_VERSION = 1


class TimeRange(NamedTuple):
    """The first and last time of a file's lines, whatever their order."""

    first: datetime
    last: datetime

    def meets(self, day: date) -> bool:
        """Whether a line of `day` (UTC) can be in the file.

        >>> noon = datetime(2015, 5, 18, 12, tzinfo=UTC)
        >>> TimeRange(noon, noon).meets(date(2015, 5, 18)), TimeRange(noon, noon).meets(date(2015, 5, 19))
        (True, False)
        """
        return self.first.date() <= day <= self.last.date()

    def reaches(self, day: date) -> bool:
        """Whether the file has lines of `day` or of a later one."""
        return day <= self.last.date()


class LogTimes:
    """Time ranges of files, kept in a JSON file below `folder` under each file's path, size and modification."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / CACHE_NAME

    def ranges(self, files: Iterable[InputFile]) -> list[TimeRange | None]:
        """The range of each file; None for one without a single readable time."""
        known = self._load()
        found = {file.path: _entry(file, known) for file in files}
        if any(known.get(path) != entry for path, entry in found.items()):
            self._save({path: entry for path, entry in known.items() if Path(path).exists()} | found)
        return [_range(entry) for entry in found.values()]

    def _load(self) -> dict[str, Any]:
        try:
            cached = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        usable = isinstance(cached, dict) and cached.get("version") == _VERSION
        files = cached.get("files") if usable else None
        return files if isinstance(files, dict) else {}

    def _save(self, entries: dict[str, Any]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{CACHE_NAME}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({"version": _VERSION, "files": entries}, file)
            Path(name).replace(self._path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _entry(file: InputFile, known: dict[str, Any]) -> list[int | None]:
    """Size, modification, first and last second of a file, from the cache when it still holds."""
    entry = known.get(file.path)
    if isinstance(entry, list) and entry[:2] == [file.size, file.modified] and len(entry) == 4:
        return entry
    times = list(_scan(file))
    first = min((low for low, _ in times), default=None)
    return [file.size, file.modified, first, max((high for _, high in times), default=None)]


def _scan(file: InputFile) -> Iterator[tuple[int, int]]:
    from pinflow.mr_jobs.inputs.log_lines import line_times  # Polars is heavy, and a cached range needs none of it

    for split in plan_splits([file], max(1, file.size), logs=True):
        for block in read_blocks(split):
            seconds = line_times(block)
            if seconds.len():
                yield int(seconds.min()), int(seconds.max())  # type: ignore[arg-type]


def _range(entry: list[int | None]) -> TimeRange | None:
    first, last = entry[2:]
    if first is None or last is None:
        return None
    return TimeRange(datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC))
