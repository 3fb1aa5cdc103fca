"""What every engine is to do: read one canonical day, write the same tables."""

import sys
from dataclasses import dataclass
from pathlib import Path

EVENT_TYPES = ("impression", "clickthrough", "repin", "like", "create")
NETWORKS = ("on", "off")
COUNTS = tuple(f"{event}{suffix}" for event in EVENT_TYPES for suffix in ("", *(f"_{name}" for name in NETWORKS)))
USERS = (*(f"{event}_users" for event in EVENT_TYPES), "users")
DIMENSIONS = ("country", "metro", "gender")
RANKING = "search_rank"
ITEMS = ("pins", "boards")
ALL, UNKNOWN, OTHER = "all", "_unknown", "_other"
TOP = 100

SUBJECTS = {"domain": "d:", "profile": "p:"}
"""The kinds of subjects, and what stands before their names in the tables."""


@dataclass(frozen=True)
class Table:
    """A table's columns: `keys` are texts, of which no two rows have the same; the rest is numbers."""

    keys: tuple[str, ...]
    numbers: tuple[str, ...]


METRICS = Table(("subject", "platform"), (*COUNTS, *USERS, "pins", "boards"))
AUDIENCE = Table(("subject", "platform", "dimension", "value"), ("users",))
TOP_ITEMS = Table(("subject", "platform", "items", "by", "id"), ("rank", "value"))

TABLES = {
    f"{subject}_{name}": table
    for subject in SUBJECTS
    for name, table in (
        ("metrics", METRICS),
        ("audience", AUDIENCE),
        ("top_pins", TOP_ITEMS),
        ("top_boards", TOP_ITEMS),
    )
}


@dataclass(frozen=True)
class Task:
    """One day's input folder, and a folder for everything that the engine writes."""

    input: Path
    day: str
    output: Path

    @classmethod
    def from_arguments(cls) -> "Task":
        """From the arguments of an engine's process: INPUT DATE OUTPUT."""
        given, day, output = sys.argv[1:]
        return cls(Path(given), day, Path(output))

    def folder(self, kind: str) -> Path:
        """The folder of the day's rows of one kind: events, pins or users."""
        return self.input / kind / f"date={self.day}"

    def files(self, kind: str) -> str:
        """The files of JSON lines in that folder, as a pattern."""
        return f"{self.folder(kind)}/*.jsonl"

    def table(self, name: str) -> Path:
        """The folder of a table's Parquet files, made if need be."""
        folder = self.output / "tables" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder
