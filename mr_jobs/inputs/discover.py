"""Finds the files of a day below `input`, and tells when the day is there."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from pinflow.config import Settings
from pinflow.errors import ConfigurationError, InputMissingError, UnknownNameError
from pinflow.mr_jobs.inputs.folders import EVERYTHING, InputFolder, open_folder
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

    folder: InputFolder
    format: Format
    paths: dict[str, str]
    ready: str
    cache: Path

    @classmethod
    def from_settings(cls, settings: Settings, cache: Path | None = None) -> "Source":
        """The source that the configuration describes; `cache` is `HOME/cache` by default.

        Raises `ConfigurationError` when no usable folder, template or field is named, and `InputMissingError` when
        the folder is not there.
        """
        folder = open_folder(settings.input)
        given = settings.source
        paths: dict[str, str] = {kind: template for kind, template in given.paths.items() if template}
        for kind, template in paths.items():
            _check_template(kind, template)
        if given.fields:
            from pinflow.mr_jobs.inputs.canonical import check_mapping  # Polars is heavy, and few inputs need it

            for kind, mapping in given.fields.items():
                check_mapping(kind, mapping)
        source_format: Format = "canonical"
        if given.format != "auto":
            source_format = given.format
        elif not folder.exists("events") and "events" not in paths:
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
        return self.folder.files(self._pattern(kind, day))

    def is_ready(self, day: date) -> bool:
        """Whether the events of `day` are there.

        Canonical: the day's folder holds files and the `ready` file where one is configured (an empty day has only
        that). Access logs: some file reaches the day or a later one.
        """
        if self.format == "access_log":
            return any(times is not None and times.reaches(day) for _, times in self._logs())
        if self.ready:
            return self.folder.exists(self._ready_file(day))
        return next(self.folder.matching(self._pattern("events", day)), None) is not None

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
        pattern = self._ready_file(day) if self.ready else self._pattern("events", day)
        return f"no events of {day}: there is no file {self.folder}/{pattern}"

    def identity(self, files: Iterable[InputFile]) -> str:
        """A hash of files that `files` listed: relative paths, sizes and times of modification."""
        digest = hashlib.sha256(self.format.encode())
        for file in files:
            digest.update(
                f"{self.folder.below(file)}\0{file.size}\0{file.modified}\n".encode("utf-8", "surrogateescape")
            )
        return digest.hexdigest()

    def _pattern(self, kind: str, day: date) -> str:
        template = self.paths.get(kind, DEFAULT_PATH)
        return template.replace("{kind}", kind).replace("{date}", day.isoformat())

    def _ready_file(self, day: date) -> str:
        folders = Path(self._pattern("events", day)).parts[:-1]
        fixed = next((i for i, name in enumerate(folders) if _WILDCARDS.intersection(name)), len(folders))
        return "/".join((*folders[:fixed], self.ready))

    def _logs(self) -> list[tuple[InputFile, TimeRange | None]]:
        files = self.folder.files(EVERYTHING)
        return list(zip(files, LogTimes(self.cache).ranges(files), strict=True))


def _check_template(kind: str, template: str) -> None:
    parts = Path(template).parts
    if Path(template).is_absolute() or ".." in parts or (kind == "events" and "{date}" not in template):
        raise ConfigurationError(
            f"source.paths.{kind} cannot be {template!r}; valid is a path below the input folder with {{date}} in it, "
            f"such as {DEFAULT_PATH.replace('{kind}', kind)!r}. Correct it in pinflow.toml, then: pinflow doctor"
        )
