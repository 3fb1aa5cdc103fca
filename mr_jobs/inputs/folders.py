"""The folder of the raw input, on this machine or in a storage over the network: which files match a pattern.

A pattern is a path below the folder with `*`, `?` and `[…]` in its parts; `**` as a part is any depth. Files with a
part that starts with `.` or `_` are left out, unless the pattern itself names that part.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from pinflow.errors import ConfigurationError, InputError, InputMissingError
from pinflow.mr_jobs.inputs.splits import InputFile
from pinflow.storage import Entry, is_remote, join, open_storage

EVERYTHING = "**/*"
NO_INPUT = (
    "no input is configured; name the folder of your events or access logs with --input DIR, PINFLOW_INPUT or "
    "`input` in pinflow.toml. Write one with: pinflow init"
)
_WILDCARDS = frozenset("*?[")


class InputFolder(ABC):
    """A folder that is there; its text is its path or URL."""

    def __init__(self, place: str) -> None:
        self.place = place

    def __str__(self) -> str:
        return self.place

    @abstractmethod
    def matching(self, pattern: str) -> Iterator[InputFile]:
        """The files that match, in any order, found as far as they are asked for."""

    @abstractmethod
    def exists(self, path: str) -> bool:
        """Whether there is a file or folder of that path below the folder."""

    def files(self, pattern: str) -> list[InputFile]:
        """The files that match, by path."""
        return sorted(self.matching(pattern), key=lambda file: file.path)

    def below(self, file: InputFile) -> str:
        """The path of a file below the folder."""
        return file.path.removeprefix(self.place).lstrip("/")


def open_folder(name: str) -> InputFolder:
    """The folder of the setting `input`. Raises `ConfigurationError` or `InputMissingError` when there is none."""
    if not name:
        raise ConfigurationError(NO_INPUT)
    if is_remote(name):
        if not open_storage(name).exists(name):
            raise InputMissingError(f"there is nothing in {name}; name another input with --input. See: pinflow doctor")
        return RemoteFolder(name.rstrip("/"))
    folder = Path(name).absolute()
    if not folder.exists():
        raise InputMissingError(
            f"the input folder {folder} does not exist; name another with --input DIR. See: pinflow doctor"
        )
    if not folder.is_dir():
        raise ConfigurationError(
            f"input cannot be {str(folder)!r}: valid is a folder. Use: pinflow --input {folder.parent}"
        )
    return LocalFolder(str(folder))


def is_hidden(path: str, pattern: str) -> bool:
    """Whether a part of the path is hidden, unless the pattern itself names that part."""
    named = set(pattern.split("/"))
    return any(part[0] in "._" and part not in named for part in path.split("/"))


class LocalFolder(InputFolder):
    """A folder of this machine."""

    def matching(self, pattern: str) -> Iterator[InputFile]:
        """See InputFolder."""
        folder = Path(self.place)
        for path in folder.glob(pattern):
            if not is_hidden(path.relative_to(folder).as_posix(), pattern) and path.is_file():
                yield _described(path)

    def exists(self, path: str) -> bool:
        """See InputFolder."""
        return Path(self.place, path).exists()


class RemoteFolder(InputFolder):
    """A folder or prefix of a storage."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self._storage = open_storage(place)

    def matching(self, pattern: str) -> Iterator[InputFile]:
        """See InputFolder."""
        found = self._storage.walk(self.place) if pattern == EVERYTHING else self._find(self.place, pattern.split("/"))
        for entry in found:
            file = InputFile(entry.path, entry.size, int(entry.modified.timestamp() * 1e9))
            if not is_hidden(self.below(file), pattern):
                yield file

    def exists(self, path: str) -> bool:
        """See InputFolder."""
        return self._storage.exists(join(self.place, path))

    def _find(self, folder: str, parts: list[str]) -> Iterator[Entry]:
        """Files whose path below `folder` matches part by part; only folders that match are looked into."""
        part, rest = parts[0], parts[1:]
        if not rest:
            # a walk is read as far as it is asked for, and a listing at once
            for entry in self._storage.walk(folder):
                if entry.path.rpartition("/")[0] == folder and fnmatchcase(entry.name, part):
                    yield entry
        elif not _WILDCARDS.intersection(part):
            yield from self._find(join(folder, part), rest)
        else:
            for entry in self._storage.list(folder):
                if entry.is_folder and fnmatchcase(entry.name, part):
                    yield from self._find(entry.path, rest)


def _described(path: Path) -> InputFile:
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(
            f"cannot look at the input file {path}: {error.strerror}. Run again once it is back"
        ) from error
    return InputFile(str(path), status.st_size, status.st_mtime_ns)
