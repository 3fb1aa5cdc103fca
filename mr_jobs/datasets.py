"""Datasets: Parquet below `{warehouse}/{dataset}/date=YYYY-MM-DD/`, written, audited, then published.

An attempt writes a folder of its own (`_attempt-…`, which Spark and Hive skip). Publishing is one atomic write of
`current.json`, which names that folder: readers see the whole of one attempt or the whole of another (AD-02).
"""

import builtins
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path

from pinflow.errors import DamagedFileError, InputMissingError, PinflowError, StaleFenceError
from pinflow.storage import Entry, Storage, open_storage

CURRENT = "current.json"
ATTEMPT_PREFIX = "_attempt-"
_UPLOADS = 4


@dataclass(frozen=True)
class Part:
    """One Parquet file of a dataset: `name` is relative to the attempt's folder."""

    name: str
    rows: int
    bytes: int
    bucket: int = 0


@dataclass(frozen=True)
class Published:
    """What `current.json` says: which attempt of a dataset's day readers are to read.

    `inputs` are the datasets that it was made from: name, day and attempt. `served`, of a node that writes to the
    serving store, says of how many days each aggregation's period is there made.
    """

    dataset: str
    date: str
    attempt: str
    fence: int
    identity: str
    rows: int
    bytes: int
    parts: tuple[Part, ...]
    clustered_by: tuple[str, ...] = ()
    buckets: int = 1
    published_at: str = ""
    run_id: str = ""
    number: int = 1
    inputs: tuple[tuple[str, str, str], ...] = ()
    served: tuple[tuple[str, int], ...] = ()

    def to_json(self) -> builtins.bytes:
        """The content of current.json."""
        return json.dumps(asdict(self), indent=1).encode()

    @classmethod
    def from_json(cls, data: builtins.bytes, path: str) -> "Published":
        """Read current.json; unknown keys of later versions are skipped. Raises `DamagedFileError`."""
        try:
            values = json.loads(data)
            known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
            parts = tuple(Part(**part) for part in values["parts"])
            known |= {
                "parts": parts,
                "clustered_by": tuple(values.get("clustered_by", ())),
                "inputs": tuple((name, day, attempt) for name, day, attempt in values.get("inputs", ())),
                "served": tuple((aggregation, days) for aggregation, days in values.get("served", ())),
            }
            return cls(**known)
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedFileError(
                f"cannot read {path}: {error}; rebuild the day with: pinflow run … --rebuild"
            ) from error


class Warehouse:
    """All datasets below one folder or URL."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._storage = open_storage(url)

    def folder(self, dataset: str, day: date | str) -> str:
        """The folder of one day of a dataset."""
        return f"{self.url}/{dataset}/date={day}"

    def attempt_folder(self, dataset: str, day: date | str, attempt: str) -> str:
        """The folder that one attempt writes to; readers never look into it before it is published."""
        return f"{self.folder(dataset, day)}/{ATTEMPT_PREFIX}{attempt}"

    def path(self, published: Published) -> str:
        """The folder that holds the published files."""
        return f"{self.folder(published.dataset, published.date)}/{published.attempt}"

    def current(self, dataset: str, day: date | str) -> Published | None:
        """What is published of a day, None when nothing is."""
        path = f"{self.folder(dataset, day)}/{CURRENT}"
        content = self._storage.read_if_exists(path)
        return None if content is None else Published.from_json(content, path)

    def is_whole(self, published: Published) -> bool:
        """Whether all files are there that were published."""
        folder = self.path(published)
        if not self._storage.exists(folder):
            return not published.parts
        below = f"/{published.attempt}/"
        sizes = {entry.path.rpartition(below)[2]: entry.size for entry in self._storage.walk(folder)}
        return all(sizes.get(part.name) == part.bytes for part in published.parts)

    def require(self, dataset: str, day: date | str) -> Published:
        """What is published of a day. Raises `InputMissingError` when nothing is."""
        published = self.current(dataset, day)
        if published is None:
            raise InputMissingError(
                f"dataset {dataset!r} has no published data of {day}; "
                f"see what there is with: pinflow datasets {dataset}"
            )
        return published

    def upload(self, local: Path, folder: str) -> None:
        """Copy all files below a folder of this machine to a folder of this warehouse, a few at a time."""
        files = [path for path in sorted(local.rglob("*")) if path.is_file()]

        def copy(path: Path) -> None:
            self._storage.write_file(f"{folder}/{path.relative_to(local).as_posix()}", path)

        with ThreadPoolExecutor(_UPLOADS) as uploads:
            for _ in uploads.map(copy, files):
                pass

    def publish(self, published: Published, *, rebuild: bool = False) -> None:
        """Make an attempt the one that readers see, in one atomic write, once a power cut takes none of its files.

        Raises `StaleFenceError` when a later attempt (a higher fence) was published before, and `DamagedFileError`
        when that cannot be read; `rebuild` replaces a damaged file.
        """
        path = f"{self.folder(published.dataset, published.date)}/{CURRENT}"

        def check(old: bytes | None) -> bytes:
            try:
                before = Published.from_json(old, path) if old is not None else None
            except DamagedFileError:
                if not rebuild:
                    raise
                before = None
            if before is not None and before.fence > published.fence:
                raise StaleFenceError(
                    f"{published.dataset} of {published.date}: attempt {published.attempt} (fence {published.fence}) "
                    f"comes after {before.attempt} (fence {before.fence}) was published; it is left out"
                )
            return published.to_json()

        self._storage.sync(self.path(published))
        self._storage.write_if(path, check)

    def datasets(self) -> list[str]:
        """The names of all datasets that have a folder."""
        if not self._storage.exists(self.url):
            return []
        names = (entry.name for entry in self._storage.list(self.url) if entry.is_folder)
        return sorted(name for name in names if not name.startswith(("_", ".")))

    def days(self, dataset: str) -> list[date]:
        """The days of a dataset that have a folder, published or not, in order."""
        return sorted(day for day, _ in self._day_folders(dataset))

    def published_days(
        self, dataset: str, on_damaged: Callable[[DamagedFileError], None], day: date | None = None
    ) -> Iterator[Published]:
        """Every published day of a dataset in order, or only `day`; `on_damaged` is told of what cannot be read."""
        for wanted in self.days(dataset) if day is None else [day]:
            try:
                published = self.current(dataset, wanted)
            except DamagedFileError as error:
                on_damaged(error)
            else:
                if published is not None:
                    yield published

    def attempts(self, dataset: str, day: date) -> Iterator[tuple[str, datetime]]:
        """The attempt folders of a day with the time of their last change (for `clean`)."""
        for entry in self._storage.list(self.folder(dataset, day)):
            if entry.is_folder and entry.name.startswith(ATTEMPT_PREFIX):
                yield entry.name, last_change(self._storage, entry)

    def delete_day(self, dataset: str, day: date) -> None:
        """Delete a day, `current.json` first: when this is cut short, what is left is not published."""
        folder = self.folder(dataset, day)
        self._storage.delete(f"{folder}/{CURRENT}")
        self.delete(folder)

    def delete(self, path: str) -> None:
        """Delete a folder of this warehouse."""
        if not path.startswith(f"{self.url}/"):
            raise PinflowError(f"{path} is not below the warehouse {self.url}; it is left alone")
        self._storage.delete(path, recursive=True)

    def _day_folders(self, dataset: str) -> Iterator[tuple[date, str]]:
        folder = f"{self.url}/{dataset}"
        if not self._storage.exists(folder):
            return
        for entry in self._storage.list(folder):
            name, _, text = entry.name.partition("=")
            if entry.is_folder and name == "date":
                try:
                    yield date.fromisoformat(text), entry.name
                except ValueError:
                    continue


def last_change(storage: Storage, folder: Entry) -> datetime:
    """The time of the last change of a folder or of any file below it."""
    # a folder's own time tells nothing of what lies deeper, and object stores give none
    return max((folder.modified, *(file.modified for file in storage.walk(folder.path))))
