"""The timetable of a process that stays: read again when the modules that declare workflows have changed."""

import importlib
import logging
import site
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from pinflow.config import Settings
from pinflow.scheduler.timetable import Timetable
from pinflow.workflows.catalog import catalog, timetable_of

_log = logging.getLogger(__name__)
_PLACES = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
_INSTALLED = [Path(place).resolve() for place in (*_PLACES, *site.getsitepackages(), site.getusersitepackages())]
_PACKAGES = {"site-packages", "dist-packages"}
"""What folders of installed packages are called, also those of another environment on the path."""
_OWN = "pinflow"


class Timetables:
    """Gives the timetable as the modules are now.

    Watched are the modules of the setting `workflows` and all that they import from outside of installed packages.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._before = set(sys.modules)
        self._seen: dict[str, tuple[int, int] | None] = {}
        self._broken: set[str] = set()
        self._table = self._read()

    def now(self) -> Timetable:
        """The timetable, read again if a module has changed, and as long as one is broken.

        When it cannot be read at all, it is as before, and tried again the next time.
        """
        if self._broken or self._seen != _stamps(self._seen):
            try:
                self._forget()
                self._table = self._read()
            except Exception as error:  # a module may put anything into sys.modules
                if str(error) not in self._broken:
                    _log.exception("workflows cannot be read again: %s", error)
                self._broken = {str(error)}
        return self._table

    def _read(self) -> Timetable:
        found = catalog(self._settings)
        for module in found.broken:
            if str(module) not in self._broken:
                _log.error("%s; see: pinflow workflows check", module)
        self._broken = {str(module) for module in found.broken}
        self._seen = _stamps(file for name in self._own() if (file := _file_of(name)))
        return timetable_of(self._settings, found)

    def _own(self) -> list[str]:
        """The modules that are the user's."""
        named = {name for name in self._settings.workflows if name.partition(".")[0] != _OWN}
        fresh = {name for name in set(sys.modules) - self._before if name.partition(".")[0] != _OWN}
        return [name for name in named | fresh if (file := _file_of(name)) and not _is_installed(file)]

    def _forget(self) -> None:
        for name in self._own():
            sys.modules.pop(name, None)
        importlib.invalidate_caches()


def _is_installed(file: str) -> bool:
    path = Path(file)
    return not _PACKAGES.isdisjoint(path.parts) or any(path.is_relative_to(place) for place in _INSTALLED)


def _file_of(module: str) -> str | None:
    file = getattr(sys.modules.get(module), "__file__", None)
    return str(Path(file).resolve()) if file else None


def _stamps(files: Iterable[str]) -> dict[str, tuple[int, int] | None]:
    """When each file was changed, and its size; None of one that is not there."""
    return {file: _stamp(Path(file)) for file in files}


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
