"""Finds the files of a day below `input`, and tells when the day is there."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from pinflow.config import Settings
from pinflow.errors import ConfigurationError, InputError, InputMissingError, UnknownNameError
from pinflow.mr_jobs.inputs.log_times import LogTimes, TimeRange
from pinflow.mr_jobs.inputs.splits import InputFile

KINDS = ("events", "pins", "boards", "users")
DEFAULT_PATH = "{kind}/date={date}/*"
_WILDCARDS = frozenset("*?[")

Format = Literal["canonical", "access_log"]


@dataclass(frozen=True)
class Source:
    """The input: a folder and how its files are laid out.

    `paths` is kind = template; `cache` a folder where the first and last times of access logs are kept.
    """

    folder: Path
    format: Format
    paths: dict[str, str]
    ready: str
    cache: Path

    @classmethod
    def from_settings(cls, settings: Settings, cache: Path | None = None) -> "Source":
        """The source that the configuration describes; `cache` is `HOME/cache` by default.

        Raises `ConfigurationError` when no usable folder is named, and `InputMissingError` when it is not there.
        """
        folder = _input_folder(settings.input)
        given = settings.source
        paths: dict[str, str] = {kind: template for kind, template in given.paths.items() if template}
        for kind, template in paths.items():
            _check_template(kind, template)
        source_format: Format = "canonical"
        if given.format != "auto":
            source_format = given.format
        elif not (folder / "events").is_dir() and "events" not in paths:
            source_format = "access_log"
        return cls(folder, source_format, paths, given.ready, cache or settings.home_path / "cache")

    def files(self, kind: str, day: date) -> list[InputFile]:
        """The files of a kind that can hold rows of `day`, by path; hidden ones (`.` or `_` first) are left out.

        Of access logs, events and objects come from the same files: those whose times reach into the day.
        """
        if kind not in KINDS:
            raise UnknownNameError("kind of input", kind, KINDS, "pinflow datasets")
        if self.format == "access_log":
            return [file for file, times in self._logs() if times is not None and times.meets(day)]
        paths = self.folder.glob(self._pattern(kind, day))
        found = (path for path in paths if not _is_hidden(path.relative_to(self.folder), self._pattern(kind, day)))
        return _described(path for path in found if path.is_file())

    def is_ready(self, day: date) -> bool:
        """Whether the events of `day` are there.

        Canonical: the day's folder holds files and the `ready` file where one is configured (an empty day has only
        that). Access logs: some file reaches the day or a later one.
        """
        if self.format == "access_log":
            return any(times is not None and times.reaches(day) for _, times in self._logs())
        if self.ready:
            return (self._day_folder("events", day) / self.ready).is_file()
        return bool(self.files("events", day))

    def require(self, day: date) -> None:
        """Raise `InputMissingError` saying what was looked for, unless `day` is ready."""
        if not self.is_ready(day):
            raise InputMissingError(
                f"{self.expectation(day)}. Wait for it with: pinflow run analytics --date {day} --wait 6h"
            )

    def expectation(self, day: date) -> str:
        """What is missing when `day` is not ready, for messages."""
        if self.format == "access_log":
            lasts = [times.last for _, times in self._logs() if times is not None]
            reached = f"they reach {max(lasts):%Y-%m-%d %H:%M:%S} UTC" if lasts else "there are none"
            return f"the access logs in {self.folder} do not reach {day}: {reached}"
        pattern = str(self.folder / self._pattern("events", day))
        if self.ready:
            pattern = str(self._day_folder("events", day) / self.ready)
        return f"no events of {day}: there is no file {pattern}"

    def identity(self, kind: str, day: date) -> str:
        """A hash of the files of a kind and day: relative paths, sizes and times of modification."""
        digest = hashlib.sha256(self.format.encode())
        for file in self.files(kind, day):
            name = Path(file.path).relative_to(self.folder).as_posix()
            digest.update(f"{name}\0{file.size}\0{file.modified}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def _pattern(self, kind: str, day: date) -> str:
        template = self.paths.get(kind, DEFAULT_PATH)
        return template.replace("{kind}", kind).replace("{date}", day.isoformat())

    def _day_folder(self, kind: str, day: date) -> Path:
        folders = Path(self._pattern(kind, day)).parts[:-1]
        fixed = next((i for i, name in enumerate(folders) if _WILDCARDS.intersection(name)), len(folders))
        return self.folder.joinpath(*folders[:fixed])

    def _logs(self) -> list[tuple[InputFile, TimeRange | None]]:
        paths = (path for path in self.folder.rglob("*") if not _is_hidden(path.relative_to(self.folder)))
        files = _described(path for path in paths if path.is_file())
        return list(zip(files, LogTimes(self.cache).ranges(files), strict=True))


def _input_folder(name: str) -> Path:
    if not name:
        raise ConfigurationError(
            "no input is configured; name the folder of your events or access logs with --input DIR, PINFLOW_INPUT or "
            "`input` in pinflow.toml. Write one with: pinflow init"
        )
    if "://" in name:
        raise ConfigurationError(f"input cannot be {name!r}: valid is a folder of this machine. See: pinflow doctor")
    folder = Path(name).absolute()
    if not folder.exists():
        raise InputMissingError(
            f"the input folder {folder} does not exist; name another with --input DIR. See: pinflow doctor"
        )
    if not folder.is_dir():
        raise ConfigurationError(
            f"input cannot be {str(folder)!r}: valid is a folder. Use: pinflow --input {folder.parent}"
        )
    return folder


def _check_template(kind: str, template: str) -> None:
    parts = Path(template).parts
    if Path(template).is_absolute() or ".." in parts or (kind == "events" and "{date}" not in template):
        raise ConfigurationError(
            f"source.paths.{kind} cannot be {template!r}; valid is a path below the input folder with {{date}} in it, "
            f"such as {DEFAULT_PATH.replace('{kind}', kind)!r}. Correct it in pinflow.toml, then: pinflow doctor"
        )


def _is_hidden(path: Path, pattern: str = "") -> bool:
    """Whether a part of the path is hidden, unless the template itself names that part."""
    named = set(Path(pattern).parts)
    return any(part[0] in "._" and part not in named for part in path.parts)


def _described(paths: Iterator[Path]) -> list[InputFile]:
    files = []
    for path in paths:
        try:
            status = path.stat()
        except OSError as error:
            raise InputError(
                f"cannot look at the input file {path}: {error.strerror}. Run again once it is back"
            ) from error
        files.append(InputFile(str(path), status.st_size, status.st_mtime_ns))
    return sorted(files, key=lambda file: file.path)
