"""The file of the embedded store: how it is made, and how it is opened."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from glob import escape
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory

from pinflow.hbase_schema import segments
from pinflow.hbase_schema.keys import is_audience
from pinflow.hbase_schema.packing import pack_cells, unpack_cells
from pinflow.hbase_schema.tables import TABLES

# The index over the date that keys end with finds the rows of a period without reading the whole table.
_SCHEMA = """
CREATE TABLE {table} (key BLOB PRIMARY KEY, cells BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX {table}_by_end ON {table} (substr(key, -10));
"""


def connect(path: Path) -> sqlite3.Connection:
    """A connection to a file that is there, in autocommit mode, with the functions that statements use."""
    uri = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, timeout=60, isolation_level=None)
    folder = str(path.absolute().parent).replace("'", "''")
    with suppress(sqlite3.OperationalError):  # those who only read may have no right to write there
        # what is too large for memory: another folder for temporary files may be small, or be memory
        connection.execute(f"PRAGMA temp_store_directory = '{folder}'")
    connection.create_function("is_audience", 1, is_audience, deterministic=True)
    connection.create_function("merge_cells", 2, _merge, deterministic=True)
    return connection


def create_file(path: Path) -> None:
    """Make the file with its tables unless it is there; many processes may do so at once.

    It is made aside and moved into place: switching a file to WAL fails while others open it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = f".{path.name}-"
    with _locked(path.parent):
        if path.exists():
            return
        for left_by_a_kill in path.parent.glob(f"{escape(aside)}*"):
            rmtree(left_by_a_kill)
        with TemporaryDirectory(dir=path.parent, prefix=aside) as folder:
            _make(Path(folder, "new.db")).rename(path)


def _make(file: Path) -> Path:
    file.touch()
    with closing(connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for name in TABLES:
            connection.executescript(_SCHEMA.format(table=name))
        connection.executescript(segments.SCHEMA)
    return file


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which ends with the process at the latest."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _merge(old: bytes, new: bytes) -> bytes:
    return old if old == new else pack_cells(unpack_cells(old) | unpack_cells(new))
