"""HDFS as a storage, over WebHDFS: `hdfs://namenode:port/path`, paths as they are, without quoting."""

import math
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from pinflow.errors import PinflowError
from pinflow.storage import OWN_PREFIX, PATIENCE_SECONDS, Entry, Storage, explained, join
from pinflow.storage_remote import open_ranges
from pinflow.webhdfs import WebHdfs, WebHdfsError, path_of

LOCK_SECONDS = 60.0

_MISSING = ("FileNotFoundException", "ParentNotDirectoryException")
_TAKEN = ("FileAlreadyExistsException", "AlreadyBeingCreatedException", "RecoveryInProgressException")
_NO_RIGHTS = ("AccessControlException", "SecurityException", "AuthorizationException")
_FULL = ("DSQuotaExceededException", "NSQuotaExceededException", "QuotaExceededException")


class HdfsStorage(Storage):
    """Files of HDFS; the contract is that of `Storage`. A call is tried again for `patience` seconds.

    A writer's lock that another sees for longer than `lock_seconds` is broken: its holder died. One who held it half as
    long without having written gives it up, and takes it again.
    """

    def __init__(
        self,
        *,
        environment: Mapping[str, str] | None = None,
        patience: float = PATIENCE_SECONDS,
        lock_seconds: float = LOCK_SECONDS,
    ) -> None:
        self._hdfs = WebHdfs(os.environ if environment is None else environment, patience=patience)
        self._patience = patience
        self._lock_seconds = lock_seconds

    def read_bytes(self, path: str) -> bytes:
        """See Storage."""
        with _explained("read", path):
            return self._hdfs.read(path)

    def read_if_exists(self, path: str) -> bytes | None:
        """See Storage."""
        with _explained("read", path):
            try:
                return self._hdfs.read(path)
            except WebHdfsError as error:
                if error.kind in _MISSING:
                    return None
                raise

    def write_bytes(self, path: str, data: bytes) -> None:
        """See Storage. A file is written aside, and moved into place in one step of the NameNode."""
        with _explained("write", path):
            self._replace(path, data)

    def write_file(self, path: str, file: Path) -> None:
        """See Storage. Sent in pieces, whatever its size."""
        with _explained("write", path), explained("read", str(file)):
            self._replace(path, file)

    def write_if(self, path: str, check: Callable[[bytes | None], bytes]) -> None:
        """See Storage. Writers take turns by a lock file beside it; `check` is called in each turn."""
        give_up = time.monotonic() + self._patience
        while not self._write_in_turn(path, check):
            if time.monotonic() > give_up:
                raise PinflowError(
                    f"cannot write {path}: each time HDFS took more than {self._lock_seconds / 2:g} s, and another "
                    "writer may go on then; see how it answers with: pinflow doctor"
                )

    def _write_in_turn(self, path: str, check: Callable[[bytes | None], bytes]) -> bool:
        """Whether the file was written, as it is unless HDFS was away for a part of the turn."""
        with _explained("lock", path):
            lock, started = self._lock(join(_folder(path), f"{OWN_PREFIX}{path.rpartition('/')[2]}.lock"))
        try:
            data = check(self.read_if_exists(path))
            with _explained("write", path):
                return self._replace(path, data, until=started + self._lock_seconds / 2)
        finally:
            with _explained("unlock", path):
                self._delete_if_exists(lock)

    def open_input(self, path: str) -> BinaryIO:
        """See Storage. Read by ranges of 8 MiB."""
        with _explained("read", path):
            status = self._status(path)
            if status["type"] == "DIRECTORY":
                raise PinflowError(f"cannot read {path}: it is a folder; see what is there with: pinflow datasets")

        def read_range(start: int, into: memoryview) -> None:
            with _explained("read", path):
                self._hdfs.read_into(path, start, into)

        return open_ranges(status["length"], read_range)

    def exists(self, path: str) -> bool:
        """See Storage."""
        with _explained("look for", path):
            return self._status_if_exists(path) is not None

    def list(self, folder: str) -> "list[Entry]":
        """See Storage."""
        return list(self._entries(folder))

    def walk(self, folder: str) -> Iterator[Entry]:
        """See Storage."""
        for entry in self._entries(folder):
            if entry.is_folder:
                yield from self.walk(entry.path)
            else:
                yield entry

    def make_folder(self, path: str) -> None:
        """See Storage."""
        with _explained("make folder", path):
            self._hdfs.put(path, "MKDIRS")

    def delete(self, path: str, *, recursive: bool = False) -> None:
        """See Storage."""
        with _explained("delete", path):
            if not recursive:
                # the storage's own files do not count
                for name in self._own(path):
                    self._hdfs.delete(join(path, name))
            self._hdfs.delete(path, recursive=str(recursive).lower())

    def _own(self, folder: str) -> Sequence[str]:
        with suppress(WebHdfsError):
            found = [item["pathSuffix"] for page in self._pages(folder) for item in page]
            if all(name.startswith(OWN_PREFIX) for name in found):
                return found
        return []

    def _entries(self, folder: str) -> Iterator[Entry]:
        with _explained("list", folder):
            for page in self._pages(folder):
                for item in page:
                    name = item["pathSuffix"]
                    if name and not name.startswith(OWN_PREFIX):
                        changed = datetime.fromtimestamp(item["modificationTime"] / 1000, UTC)
                        yield Entry(join(folder, name), name, item["length"], changed, item["type"] == "DIRECTORY")

    def _pages(self, folder: str) -> Iterator[Sequence[dict[str, Any]]]:
        """Pages of a listing, by name; none when there is no such folder."""
        after: dict[str, str] = {}
        while True:
            try:
                found = self._hdfs.get(folder, "LISTSTATUS_BATCH", **after)["DirectoryListing"]
            except WebHdfsError as error:
                if error.kind in _MISSING:
                    return
                raise
            page = found["partialListing"]["FileStatuses"]["FileStatus"]
            yield page
            if not page or not found["remainingEntries"]:
                return
            after = {"startAfter": page[-1]["pathSuffix"]}

    def _replace(self, path: str, data: bytes | Path, *, until: float = math.inf) -> bool:
        """Write a file, unless it cannot be moved into place until then, by the monotonic clock."""
        temporary = join(_folder(path), f"{OWN_PREFIX}{secrets.token_hex(8)}.tmp")
        self._hdfs.create(temporary, data, overwrite=True)
        left = until - time.monotonic()
        try:
            if left > 0:
                self._hdfs.put(temporary, "RENAME", left, destination=path_of(path), renameoptions="OVERWRITE")
                return True
        except WebHdfsError as error:
            is_late = error.can_pass and until < math.inf
            was_there = self._hdfs.delete(temporary)
            # the answer to a move that was made may have been lost
            if not was_there and (is_late or error.kind in _MISSING) and self._holds(path, data):
                return True
            if not is_late:
                raise
            return False
        self._hdfs.delete(temporary)
        return False

    def _holds(self, path: str, data: bytes | Path) -> bool:
        if isinstance(data, bytes):
            return self.read_if_exists(path) == data
        status = self._status_if_exists(path)
        return status is not None and status["length"] == data.stat().st_size

    def _lock(self, lock: str) -> tuple[str, float]:
        """Create the file `lock`, waiting while another has; gives its inode and when it was asked for.

        A lock is removed by its inode, so that nobody removes that of the next writer.
        """
        token = secrets.token_hex(16).encode()
        seen = ("", 0.0)
        while True:
            started = time.monotonic()
            try:
                self._hdfs.create(lock, token, overwrite=False)
            except WebHdfsError as error:
                if error.kind not in _TAKEN:
                    raise
                # unless it is this very lock, of which the answer was lost
                if self.read_if_exists(lock) != token:
                    seen = self._break_if_old(lock, *seen)
                    time.sleep(0.02 + secrets.randbelow(50) / 1000)
                    continue
            status = self._status_if_exists(lock)
            if status is not None:
                return _inode(lock, status), started

    def _break_if_old(self, lock: str, known: str, since: float) -> tuple[str, float]:
        """Remove another's lock that is seen for too long; gives its inode, and since when that is seen.

        The time is that of this process alone: clocks of two machines differ.
        """
        status = self._status_if_exists(lock)
        if status is None:
            return "", 0.0
        if (inode := _inode(lock, status)) != known:
            return inode, time.monotonic()
        if time.monotonic() - since > self._lock_seconds:
            self._delete_if_exists(inode)
        return known, since

    def _delete_if_exists(self, path: str) -> None:
        try:
            self._hdfs.delete(path)
        except WebHdfsError as error:
            if error.kind not in _MISSING:
                raise

    def _status(self, path: str) -> dict[str, Any]:
        status: dict[str, Any] = self._hdfs.get(path, "GETFILESTATUS")["FileStatus"]
        return status

    def _status_if_exists(self, path: str) -> dict[str, Any] | None:
        try:
            return self._status(path)
        except WebHdfsError as error:
            if error.kind in _MISSING:
                return None
            raise


def _inode(path: str, status: Mapping[str, Any]) -> str:
    return f"{path.removesuffix(path_of(path))}/.reserved/.inodes/{status['fileId']}"


def _folder(path: str) -> str:
    return path.rstrip("/").rpartition("/")[0]


@contextmanager
def _explained(action: str, path: str) -> Iterator[None]:
    try:
        yield
    except WebHdfsError as error:
        raise PinflowError(f"cannot {action} {path}: {_advice(error)}") from error


def _advice(error: WebHdfsError) -> str:
    if error.kind == "FileNotFoundException":
        return "there is no such file; see what is there with: pinflow datasets"
    if error.kind in _NO_RIGHTS:
        return f"{error}; give the user rights to it, or set HADOOP_USER_NAME to one that has them"
    if error.kind in _FULL:
        return f"{error}; raise the quota or free space, see: pinflow clean --dry-run"
    if "is non empty" in str(error):
        return "the folder is not empty; delete what is in it first"
    return f"{error.kind} {error}; check WEBHDFS_URL and that HDFS runs, with: pinflow doctor"
