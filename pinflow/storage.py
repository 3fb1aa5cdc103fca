"""Files in folders, wherever these lie: one small interface, chosen by the scheme of a path or URL.

The interface asks for nothing that object stores lack: no renamed folders, no appends, no partial overwrites.
A file appears whole or not at all; what several writers compete for goes through `write_if`.
"""

import errno
import fcntl
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote

from pinflow.errors import ConfigurationError, PinflowError

PATIENCE_SECONDS = 180.0
OWN_PREFIX = ".pinflow-"
_SYNCS = 16
_FEW = 8
"""So many are synced sooner one after the other than threads are started, on a disk that takes half a millisecond."""
_FULL = {errno.ENOSPC, errno.EDQUOT}
_NO_RIGHTS = {errno.EACCES, errno.EPERM, errno.EROFS}


@dataclass(frozen=True)
class Entry:
    """A file or folder as a listing shows it; `path` can be handed back to the storage, `size` is in bytes."""

    path: str
    name: str
    size: int
    modified: datetime
    is_folder: bool


class Storage(ABC):
    """Files and folders by their full path or URL.

    Folders come into being with the first file in them. Names starting with `.pinflow-` are the storage's own and
    never listed. Every verb raises PinflowError, naming the path and what to do, for a full disk, missing rights
    and other failures of the system.
    """

    @abstractmethod
    def read_bytes(self, path: str) -> bytes:
        """The whole content of a file; PinflowError if there is none."""

    @abstractmethod
    def read_if_exists(self, path: str) -> bytes | None:
        """The whole content of a file, as one write left it; None if there is none."""

    @abstractmethod
    def write_bytes(self, path: str, data: bytes) -> None:
        """Create or replace a file, durably; readers and crashes see the old content or the new, never a part."""

    def write_unsynced(self, path: str, data: bytes) -> None:
        """As `write_bytes`, but a power cut may take the file until its folder is given to `sync`."""
        self.write_bytes(path, data)

    def sync(self, folder: str) -> None:  # noqa: B027 - what others than this machine's disk have written stays
        """See that a power cut takes nothing any more of what was written below a folder, if there is one."""

    def write_file(self, path: str, file: Path) -> None:
        """Create or replace a file by the content of one of this machine, as `write_bytes` does."""
        with explained("read", str(file)):
            data = file.read_bytes()
        self.write_bytes(path, data)

    @abstractmethod
    def write_if(self, path: str, check: Callable[[bytes | None], bytes]) -> None:
        """Replace a file by `check(its content, or None)`, as one step.

        Of several writers at once each sees what the one before it wrote. When `check` raises, nothing changes.
        """

    @abstractmethod
    def open_input(self, path: str) -> BinaryIO:
        """A file opened for reading, seekable; PinflowError if there is none."""

    @abstractmethod
    def exists(self, path: str) -> bool:
        """Whether there is a file or folder."""

    @abstractmethod
    def list(self, folder: str) -> list[Entry]:
        """Files and folders directly in `folder`, by name; empty if there is no such folder."""

    @abstractmethod
    def walk(self, folder: str) -> Iterator[Entry]:
        """All files below `folder`, in a fixed order that keeps those of a folder together."""

    @abstractmethod
    def make_folder(self, path: str) -> None:
        """Have a folder and those above it; no-op where it is there, and on stores that have no folders."""

    @abstractmethod
    def delete(self, path: str, *, recursive: bool = False) -> None:
        """Remove a file or an empty folder, with `recursive` all below it too; no-op if there is nothing."""


def open_storage(url: str, *, patience: float = PATIENCE_SECONDS) -> Storage:
    """The storage that holds `url`: a path, or a URL of file, s3, hdfs or webhdfs; else ConfigurationError.

    A call over the network that fails in passing is made again for `patience` seconds.
    """
    scheme, separator, _ = url.partition("://")
    if url and (not separator or scheme == "file"):
        return LocalStorage()
    # each takes a tenth of a second and more to import
    if scheme == "s3":
        from pinflow.storage_s3 import S3Storage

        return S3Storage(patience=patience)
    if scheme in ("hdfs", "webhdfs", "swebhdfs"):
        from pinflow.storage_hdfs import HdfsStorage

        return HdfsStorage(patience=patience)
    from pinflow.config import hide_secrets

    raise ConfigurationError(
        f"cannot use {hide_secrets(url)!r} as a folder; valid are a path, such as /data/warehouse, "
        "file:///data/warehouse, s3://bucket/warehouse and hdfs://namenode:8020/warehouse; change it in pinflow.toml, "
        "then check with: "
        "pinflow doctor"
    )


def is_remote(url: str) -> bool:
    """Whether `url` names another place than a path of this machine."""
    return "://" in url


def join(folder: str, *names: str) -> str:
    """The path of what lies in `folder` under `names`.

    >>> join("file:///data/", "date=2015-05-18", "current.json")
    'file:///data/date=2015-05-18/current.json'
    """
    return "/".join((folder.rstrip("/"), *names))


class LocalStorage(Storage):
    """Files of this machine, or of a file system mounted here."""

    def read_bytes(self, path: str) -> bytes:
        """See Storage."""
        with self.open_input(path) as file:
            return file.read()

    def read_if_exists(self, path: str) -> bytes | None:
        """See Storage."""
        with explained("read", path):
            try:
                return _local(path).read_bytes()
            except FileNotFoundError:
                return None

    def write_bytes(self, path: str, data: bytes) -> None:
        """See Storage."""
        with explained("write", path):
            target = _local(path)
            _replace(target, data, is_synced=True)
            _sync(target.parent)

    def write_unsynced(self, path: str, data: bytes) -> None:
        """See Storage."""
        with explained("write", path):
            _replace(_local(path), data, is_synced=False)

    def sync(self, folder: str) -> None:
        """See Storage. Many files at once: what a disk does for one it does for those that wait with it."""
        target = _local(folder)
        if not target.exists():
            return
        with explained("write", folder):
            below = (path for path in target.rglob("*") if path.is_file() or path.is_dir())
            paths = [*below, target, target.parent]
            if len(paths) <= _FEW:
                for path in paths:
                    _sync(path)
                return
            with ThreadPoolExecutor(_SYNCS) as pool:
                for _ in pool.map(_sync, paths):
                    pass

    def write_if(self, path: str, check: Callable[[bytes | None], bytes]) -> None:
        """See Storage. Writers wait for a lock on a file beside it, which stays."""
        with self._locked(path):
            self.write_bytes(path, check(self.read_if_exists(path)))

    @contextmanager
    def _locked(self, path: str) -> Iterator[None]:
        with explained("lock", path):
            descriptor = _lock(_local(path))
        try:
            yield
        finally:
            os.close(descriptor)

    def open_input(self, path: str) -> BinaryIO:
        """See Storage."""
        with explained("read", path):
            return _local(path).open("rb")

    def exists(self, path: str) -> bool:
        """See Storage."""
        with explained("look for", path):
            try:
                _local(path).stat()
            except (FileNotFoundError, NotADirectoryError):
                return False
            return True

    def list(self, folder: str) -> "list[Entry]":
        """See Storage. What vanishes meanwhile, and links to nothing, are left out."""
        with explained("list", folder):
            try:
                with os.scandir(_local(folder)) as found:
                    entries = [entry for item in found if (entry := _entry(folder, item))]
            except FileNotFoundError:
                return []
        return sorted(entries, key=lambda entry: entry.name)

    def walk(self, folder: str) -> Iterator[Entry]:
        """See Storage. Links are followed, but never back into a folder that they are in."""
        yield from self._walk(folder, frozenset())

    def _walk(self, folder: str, above: frozenset[Path]) -> Iterator[Entry]:
        real = _local(folder).resolve()
        if real in above:
            return
        for entry in self.list(folder):
            if entry.is_folder:
                yield from self._walk(entry.path, above | {real})
            else:
                yield entry

    def make_folder(self, path: str) -> None:
        """See Storage."""
        with explained("make folder", path):
            _local(path).mkdir(parents=True, exist_ok=True)

    def delete(self, path: str, *, recursive: bool = False) -> None:
        """See Storage. A link is removed, not what it points to."""
        target = _local(path)
        with explained("delete", path), suppress(FileNotFoundError):
            if target.is_symlink() or not target.is_dir():
                target.unlink()
            elif recursive:
                _remove_folder(target)
            else:
                target.rmdir()


def _local(path: str) -> Path:
    scheme, separator, rest = path.partition("://")
    if not separator:
        return Path(path).absolute()
    host, _, below = rest.partition("/")
    if scheme != "file" or host not in ("", "localhost"):
        raise ConfigurationError(f"{path!r} is not a local path; valid are /folder/name and file:///folder/name")
    return Path("/" + unquote(below))


def _entry(folder: str, item: "os.DirEntry[str]") -> Entry | None:
    if item.name.startswith(OWN_PREFIX):
        return None
    try:
        status = item.stat()
        modified = datetime.fromtimestamp(status.st_mtime, UTC)
        path = join(folder, quote(item.name) if "://" in folder else item.name)
        return Entry(path, item.name, status.st_size, modified, item.is_dir())
    except FileNotFoundError:
        return None


def _replace(target: Path, data: bytes, *, is_synced: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{OWN_PREFIX}{os.urandom(8).hex()}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            if is_synced:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock(target: Path) -> int:
    """An open descriptor that holds the lock of `target`; closing it, or dying, lets go."""
    lock = target.with_name(f"{OWN_PREFIX}{target.name}.lock")
    while True:
        lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # The folder may have been deleted meanwhile: then others lock a newer file of this name.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), lock.stat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _remove_folder(folder: Path) -> None:
    for item in list(folder.iterdir()):
        with suppress(FileNotFoundError):
            if item.is_dir() and not item.is_symlink():
                _remove_folder(item)
            else:
                item.unlink()
    folder.rmdir()


@contextmanager
def explained(action: str, path: str) -> Iterator[None]:
    """Turn failures of the system into PinflowError, which names the path and what to do."""
    try:
        yield
    except OSError as error:
        raise PinflowError(f"cannot {action} {path}: {_advice(error)}") from error


def explanation(error: Exception, place: str) -> PinflowError | None:
    """What pinflow can say of an error: a PinflowError itself, or of a full disk and missing rights; else None.

    `place` is named where the error names no file.
    """
    if isinstance(error, PinflowError):
        return error
    if isinstance(error, OSError) and error.errno in _FULL | _NO_RIGHTS:
        return PinflowError(f"cannot use {error.filename or place}: {_advice(error)}")
    return None


def free_bytes(url: str) -> int | None:
    """Bytes left on the disk of a path, or of the nearest folder above it that is there; None of other places."""
    if is_remote(url) and not url.startswith("file://"):
        return None
    path = _local(url)
    with explained("look for", url):
        return shutil.disk_usage(next(place for place in (path, *path.parents) if place.exists())).free


def _advice(error: OSError) -> str:
    if error.errno in _FULL:
        return "the disk is full; free space there, see: pinflow clean --dry-run; then run the same command again"
    if error.errno in _NO_RIGHTS:
        return f"{error.strerror}; give the user {os.geteuid()} rights to it, or set another folder in pinflow.toml"
    if error.errno == errno.ENOENT:
        return "there is no such file; see what is there with: pinflow datasets"
    return f"{error.strerror or error}; check the path with: pinflow doctor"
