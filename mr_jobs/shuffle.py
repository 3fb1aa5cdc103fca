"""From the map tasks to the reduce tasks: rows of a bucket, statistics and set-aside lines.

Two transports with one meaning. `LineShuffle` writes a line a bucket (number, tab, kind, Arrow batch in base64)
for Hadoop Streaming, which then sorts a few large lines in place of millions (AN-16). `FileShuffle` writes one
file a map task, which the reduce tasks of the same machine map into memory. Both keep codes of texts: each parcel has a
dictionary of its own.

What a map task counted travels with its rows: Hadoop delivers those of exactly one attempt of each map task, so
nothing is lost or counted twice, whichever output committer is configured.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import groupby, starmap
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import polars as pl
import pyarrow as pa

from pinflow.errors import PinflowError
from pinflow.mr_jobs.coded_files import to_table
from pinflow.storage import explained

LINE_BYTES = 6 << 20
"""Bytes of a line at most, before compression: Hadoop takes lines up to an eighth of the heap of a task's JVM."""

PARCELS = "parcels.arrow"
_ALIGNMENT = 64

ROWS, STATISTICS, BAD = "rows", "statistics", "bad"
_LETTERS = {ROWS: "R", STATISTICS: "S", BAD: "B"}
_KINDS = {letter: kind for kind, letter in _LETTERS.items()}


class Parcel(NamedTuple):
    """What goes to one bucket: rows, or bytes of another kind; rows of a lower `part` come first.

    Rows that are sent are a frame or a table; those that came are a table, whose dictionaries nobody has looked at yet.
    """

    bucket: int
    kind: str
    rows: pl.DataFrame | pa.Table | None
    data: bytes = b""
    part: int = 0

    @property
    def frame(self) -> pl.DataFrame | None:
        """The rows as a frame."""
        return _to_frame(self.rows) if isinstance(self.rows, pa.Table) else self.rows


class ShuffleWriter(Protocol):
    """Where a map task leaves its parcels."""

    def write(self, parcel: Parcel) -> None:
        """Send one parcel; those of a bucket keep their order."""

    def close(self) -> None:
        """Everything was sent."""


def frame_of_tables(tables: Sequence[pa.Table]) -> pl.DataFrame:
    """The rows of all parcels; their dictionaries are made one before Polars looks at them."""
    whole = pa.concat_tables(tables, promote_options="default")
    if len(tables) > 1 and any(pa.types.is_dictionary(field.type) for field in whole.schema):
        whole = whole.unify_dictionaries().combine_chunks()
    return _to_frame(whole).rechunk()


def _to_frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    if not isinstance(frame, pl.DataFrame):
        raise TypeError(f"expected a table, got {type(frame).__name__}")
    return frame


class _Entry(NamedTuple):
    """Where a parcel lies in the file of its map task, in bytes."""

    bucket: int
    part: int
    kind: str
    offset: int
    length: int


class LineShuffle:
    """A line a parcel, for Hadoop Streaming: bucket, tab, kind, part, colon, data."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output

    def write(self, parcel: Parcel) -> None:
        """Write the parcel's lines."""
        head = f"{parcel.bucket}\t{_LETTERS[parcel.kind]}{parcel.part}:".encode()
        for data in self._encoded(frame) if (frame := parcel.frame) is not None else [parcel.data]:
            self._output.write(head + base64.b64encode(data) + b"\n")

    @staticmethod
    def _encoded(frame: pl.DataFrame) -> Iterator[bytes]:
        texts = frame.with_columns(pl.col(pl.Categorical).cast(pl.String))  # a line has the texts of its codes, too
        rows = max(1, frame.height * LINE_BYTES // max(1, int(texts.estimated_size())))
        for part in frame.iter_slices(rows):
            sink = pa.BufferOutputStream()
            table = to_table(part)
            with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as stream:
                stream.write_table(table)
            yield sink.getvalue().to_pybytes()

    def close(self) -> None:
        """Nothing is held back."""
        self._output.flush()


def read_lines(lines: Iterable[bytes]) -> Iterator[Parcel]:
    """The parcels of a reduce task's input lines, as `LineShuffle` wrote them and Hadoop sorted them."""
    for line in lines:
        bucket, _, text = line.rstrip(b"\r\n").partition(b"\t")
        head, _, encoded = text.partition(b":")
        kind, data = _KINDS[head[:1].decode()], base64.b64decode(encoded)
        if kind == ROWS:
            yield Parcel(int(bucket), kind, pa.ipc.open_stream(data).read_all(), part=int(head[1:]))
        else:
            yield Parcel(int(bucket), kind, None, data)


class FileShuffle:
    """One file of a map task's parcels, rows as Arrow streams, and an index of them, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index: list[_Entry] = []
        with self._writing():
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = pa.OSFile(str(folder / PARCELS), "wb")

    def write(self, parcel: Parcel) -> None:
        """Append the parcel."""
        with self._writing():
            self._file.write(bytes(-self._file.tell() % _ALIGNMENT))
            offset = self._file.tell()
            if parcel.rows is None:
                self._file.write(parcel.data)
            else:
                table = to_table(parcel.rows) if isinstance(parcel.rows, pl.DataFrame) else parcel.rows
                with pa.ipc.new_stream(self._file, table.schema) as stream:
                    stream.write_table(table)
            length = self._file.tell() - offset
        self._index.append(_Entry(parcel.bucket, parcel.part, parcel.kind, offset, length))

    def close(self) -> None:
        """Finish the file and write the index, which makes it visible."""
        with self._writing():
            self._file.close()
            (self._folder / "index.json").write_text(json.dumps(self._index))

    def _writing(self) -> AbstractContextManager[None]:
        return explained("write", str(self._folder))


class FileShuffleReader:
    """The parcels of all map tasks, by bucket."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._parcels: dict[int, list[tuple[Path, _Entry]]] = {}
        for folder in folders:
            with _reading(folder):
                index = json.loads((folder / "index.json").read_text())
            for entry in starmap(_Entry, index):
                self._parcels.setdefault(entry.bucket, []).append((folder, entry))
        for parcels in self._parcels.values():
            parcels.sort(key=_part)

    def buckets(self) -> list[int]:
        """The buckets that have parcels, in order."""
        return sorted(self._parcels)

    def read(self, bucket: int, kinds: Sequence[str] = (ROWS, STATISTICS, BAD)) -> Iterator[Parcel]:
        """The parcels of one bucket, part by part, in the order of the map tasks.

        What is mapped into memory stays there as long as the rows of a part do.
        """
        chosen = (found for found in self._parcels.get(bucket, ()) if found[1].kind in kinds)
        for _, parcels in groupby(chosen, key=_part):
            files: dict[Path, pa.MemoryMappedFile] = {}
            for folder, entry in parcels:
                with _reading(folder):
                    if folder not in files:
                        files[folder] = pa.memory_map(str(folder / PARCELS))
                    parcel = _parcel(files[folder], entry)
                yield parcel


def _parcel(file: pa.MemoryMappedFile, entry: _Entry) -> Parcel:
    file.seek(entry.offset)
    data = file.read_buffer(entry.length)
    if data.size < entry.length:
        raise EOFError("it ends too early")
    if entry.kind != ROWS:
        return Parcel(entry.bucket, entry.kind, None, data.to_pybytes())
    return Parcel(entry.bucket, entry.kind, pa.ipc.open_stream(data).read_all(), part=entry.part)


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """A file that is gone or broken is the shuffle's, whoever asks for its rows."""
    try:
        yield
    except (OSError, EOFError, ValueError) as error:
        raise PinflowError(
            f"cannot read what a map task left in {folder}: {error}. Run again: the map tasks will, too"
        ) from error


def _part(parcel: tuple[Path, _Entry]) -> int:
    return parcel[1].part
