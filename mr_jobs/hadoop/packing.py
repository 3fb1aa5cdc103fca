"""Packs the code of a job for the nodes of a cluster: two zip archives, each named by a hash of its content.

One holds installed distributions, the other what is edited in place: pinflow itself, when it runs from a checkout, and
the user's modules. So a change of the code sends a few hundred kilobytes. No package index is asked: what is
installed here is what runs there, which needs the same minor version of Python and the same kind of machine.
"""

import ast
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import sys
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import (
    Distribution,
    PackageNotFoundError,
    distribution,
    distributions,
    entry_points,
    packages_distributions,
)
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

from pinflow.errors import ConfigurationError

LIBRARIES, CODE = "pinflow-libraries", "pinflow-code"
_ENTRY_POINTS = "pinflow.udfs"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_OWN = "pinflow"
_NOT_RUN = frozenset((".pyc", ".pyi", ".pyx", ".pxd", ".pxi", ".h", ".hpp", ".c", ".cpp", ".cc", ".cu", ".a", ".lib"))
_TESTS = frozenset(("tests", "__pycache__"))


class _Member(NamedTuple):
    name: str
    path: Path
    digest: str


@dataclass(frozen=True)
class Archive:
    """A zip file of this machine: of libraries or of code."""

    kind: str
    path: Path


def pack(modules: Iterable[str], cache: Path) -> list[Archive]:
    """The archives of libraries and of code for jobs of these modules, made where `cache` does not have them yet.

    Those of other code are removed there: it is called while the folder is `locked`, until they are sent. Raises
    `ConfigurationError` when a module is not there.
    """
    distributions, packages = _needed(modules)
    libraries = [member for found in distributions for member in _distribution_files(found)]
    code = [member for found in packages for member in _package_files(*found)]
    return [_archive(LIBRARIES, libraries, cache), _archive(CODE, code, cache)]


class locked:  # noqa: N801 - reads as a verb
    """Holds the lock of a folder, which is made, so that archives are made and sent by one job after the other."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".lock"

    def __enter__(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _archive(kind: str, members: list[_Member], cache: Path) -> Archive:
    unique = sorted({member.name: member for member in members}.values())
    digest = hashlib.sha256(f"{sys.version_info[:2]} {platform.machine()}".encode())
    for member in unique:
        digest.update(f"{member.name}\0{member.digest}\n".encode())
    path = cache / f"{kind}-{digest.hexdigest()[:20]}.zip"
    if not path.exists():
        temporary = path.with_suffix(".part")
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
            for member in unique:
                header = zipfile.ZipInfo(member.name, _EPOCH)
                header.compress_type, header.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                file.writestr(header, member.path.read_bytes(), compresslevel=1)
        temporary.replace(path)
        for old in cache.glob(f"{kind}-*.zip"):
            if old != path:
                old.unlink(missing_ok=True)
    return Archive(kind, path)


def _needed(modules: Iterable[str]) -> tuple[list[Distribution], list[tuple[str, Path]]]:
    """The distributions to take as they are installed, and the packages to take from where they are edited."""
    owners = packages_distributions()
    waiting = [_OWN, *(name.partition(".")[0] for name in modules)]
    wanted = {name for entry in entry_points(group=_ENTRY_POINTS) if entry.dist for name in (entry.dist.name,)}
    packages: dict[str, Path] = {}
    while waiting:
        top = waiting.pop()
        if top in packages or top in sys.stdlib_module_names:
            continue
        if top in owners:
            wanted.update(owners[top])
        if top not in owners or any(map(_is_edited, owners[top])):
            packages[top] = _place(top)
            if top != _OWN:  # what pinflow needs, its distribution says
                waiting += [name for name in _imports(packages[top]) if name in owners or _is_beside(name)]
    found = _with_requirements(wanted)
    edited = set(filter(_is_edited, found))
    tops = [top for top, names in owners.items() if edited.intersection(names) and not top.startswith("__editable__")]
    return list(found.values()), sorted((packages | {top: _place(top) for top in tops}).items())


def _with_requirements(names: Iterable[str]) -> dict[str, Distribution]:
    """These distributions and all that they need here, by name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(name, frozenset[str]()) for name in names]
    while waiting:
        name, extras = waiting.pop()
        if (name.lower(), extras) in seen:
            continue
        seen.add((name.lower(), extras))
        try:
            one = distribution(name)
        except PackageNotFoundError:
            continue  # not needed on this machine either
        found[one.name] = one
        for text in one.requires or ():
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                waiting.append((needed.name, frozenset(needed.extras)))
    return found


def _is_edited(name: str) -> bool:
    """Whether a distribution is installed as it is edited; what its build left beside the code says nothing of that."""
    texts = (found.read_text("direct_url.json") for found in distributions(name=name))
    return any(json.loads(text).get("dir_info", {}).get("editable") for text in texts if text)


def _place(top: str) -> Path:
    spec = importlib.util.find_spec(top)
    if spec is None or not (spec.submodule_search_locations or spec.origin):
        raise ConfigurationError(
            f"cannot pack the module {top!r} for the nodes: it is not found; install it, or put its folder on "
            "PYTHONPATH. See: pinflow doctor"
        )
    folders = list(spec.submodule_search_locations or ())
    return Path(folders[0] if folders else str(spec.origin))


def _is_beside(name: str) -> bool:
    """Whether a module can be imported that belongs to no distribution."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    return spec is not None and (spec.has_location or bool(spec.submodule_search_locations))


def _imports(place: Path) -> set[str]:
    found = set()
    for file in _sources(place):
        if file.suffix == ".py":
            for node in ast.walk(ast.parse(file.read_bytes())):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found.add(node.module.partition(".")[0])
    return found


def _sources(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    for folder, folders, names in os.walk(place, followlinks=True):
        folders[:] = sorted(name for name in folders if name != "__pycache__" and not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(names) if not name.endswith(".pyc"))


def _package_files(top: str, place: Path) -> Iterator[_Member]:
    for file in _sources(place):
        name = place.name if file == place else f"{top}/{file.relative_to(place).as_posix()}"
        yield _Member(name, file, _digest(file))


def _distribution_files(found: Distribution) -> Iterator[_Member]:
    edited = _is_edited(found.name)
    for file in found.files or ():
        is_record = file.parts[0].endswith((".dist-info", ".egg-info"))
        if ".." in file.parts or (edited and not is_record):
            continue
        if file.suffix in _NOT_RUN or _TESTS.intersection(file.parts):
            continue
        path = Path(str(file.locate()))
        if path.is_file():
            yield _Member(file.as_posix(), path, file.hash.value if file.hash else _digest(path))


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
