"""Cuts the files of an input into splits: what one map task reads. Nothing is copied."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from pinflow.errors import InputError
from pinflow.storage import is_remote, open_storage

FILE_KINDS = {".jsonl": "jsonl", ".json": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
_NOT_READ = {".bz2", ".xz", ".zip", ".lz4", ".7z", ".br", ".Z"}


@dataclass(frozen=True)
class InputFile:
    """A file of the input: `modified` is its time of modification in nanoseconds."""

    path: str
    size: int
    modified: int


class FileKind(NamedTuple):
    """How a file is read: kind `jsonl`, `csv`, `parquet` or `log`; compression '', `gzip` or `zstd`."""

    kind: str
    compression: str


@dataclass(frozen=True)
class Split:
    """A part of one file.

    Plain text: the lines that start in the bytes from `start` to `start + length`. Compressed files and CSV: the
    whole file. Parquet: `length` row groups from number `start`. `index` orders the splits of one input.
    """

    path: str
    start: int
    length: int
    kind_of_file: str
    compression: str
    index: int

    def to_json(self) -> dict[str, Any]:
        """The split as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Split":
        """The split that `to_json` wrote."""
        return cls(**data)


def file_kind(path: str, *, logs: bool = False) -> FileKind:
    """Tell from a file's name how it is read; `InputError` when it cannot be.

    >>> file_kind("events/part-1.jsonl.gz")
    FileKind(kind='jsonl', compression='gzip')
    >>> file_kind("access.log.1", logs=True)
    FileKind(kind='log', compression='')
    """
    name = Path(path)
    compression = COMPRESSIONS.get(name.suffix, "")
    if name.suffix in _NOT_READ:
        raise InputError(f"{path} is compressed in a way that is not read; valid: .gz, .zst. Repack it, then run again")
    if logs:
        return FileKind("log", compression)
    kind = FILE_KINDS.get((name.with_suffix("") if compression else name).suffix)
    if kind is None or (kind == "parquet" and compression):
        raise InputError(
            f"the name of {path} does not say how to read it; valid: {', '.join(FILE_KINDS)}, each but Parquet also "
            "with .gz or .zst; a name that starts with _ or . is skipped. See: pinflow doctor"
        )
    return FileKind(kind, compression)


def open_input(path: str) -> BinaryIO:
    """A file of the input, of this machine or a storage, seekable; raises `OSError` or `PinflowError`."""
    return open_storage(path).open_input(path) if is_remote(path) else Path(path).open("rb")


def plan_splits(files: Iterable[InputFile], target_bytes: int, *, logs: bool = False) -> list[Split]:
    """Cut `files` into splits of about `target_bytes`, in the order of the files."""
    splits: list[Split] = []
    for file in files:
        kind, compression = file_kind(file.path, logs=logs)
        for start, length in _parts(file, FileKind(kind, compression), target_bytes):
            splits.append(Split(file.path, start, length, kind, compression, len(splits)))
    return splits


def _parts(file: InputFile, kind: FileKind, target: int) -> Iterator[tuple[int, int]]:
    if kind.kind == "parquet":
        yield from _row_groups(file.path, target)
    elif kind.compression or kind.kind == "csv":
        yield 0, file.size
    elif file.size:
        parts = max(1, -(-file.size // target))
        edges = [file.size * i // parts for i in range(parts + 1)]
        yield from ((start, end - start) for start, end in pairwise(edges))


def _row_groups(path: str, target: int) -> Iterator[tuple[int, int]]:
    from pinflow.mr_jobs.inputs.parquet import row_group_sizes  # pyarrow is heavy, and few inputs need it

    first = held = 0
    sizes = row_group_sizes(path)
    for number, size in enumerate(sizes):
        if held and held + size > target:
            yield first, number - first
            first, held = number, 0
        held += size
    if sizes:
        yield first, len(sizes) - first
