"""Which statistics a job may count, read from its source, so that a rule with a misspelt name is found early.

Names that the source computes cannot be known; such a job may count any.
"""

import ast
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from pinflow.errors import ConfigurationError
from pinflow.mr_jobs.native import INPUT_ROWS, NAMES
from pinflow.stats_engine.rules import OUTPUT_ROWS

_NUMBERS = frozenset({"incr_count", "add_sum", "add_to_histogram", "add_distinct"})
_LISTS = frozenset({"add_item"})
_NATIVE = NAMES | {INPUT_ROWS, OUTPUT_ROWS}
_FRAMEWORK = re.compile(r"(mrjob|pinflow\.mr_jobs\.(job|batch_job|record_job))(\..*)?")
"""What counts under names of its own making, which are no job's."""


@dataclass
class Counted:
    """Names, patterns of names with a part that is computed, and names of lists; `any_name`: more cannot be told."""

    names: set[str] = field(default_factory=set)
    patterns: list[re.Pattern[str]] = field(default_factory=list)
    lists: set[str] = field(default_factory=set)
    any_name: bool = False

    def take(self, other: "Counted") -> None:
        """Add what another part of the job counts."""
        self.names |= other.names
        self.patterns += other.patterns
        self.lists |= other.lists
        self.any_name |= other.any_name

    def may_count(self, name: str) -> bool:
        """Whether the job may count such a name; `_skipped.NAME` and Hadoop's `GROUP/NAME` any may."""
        return (
            self.any_name
            or name in self.names
            or name in _NATIVE
            or name.startswith("_")
            or "/" in name
            or any(pattern.fullmatch(name) for pattern in self.patterns)
        )

    def is_list(self, name: str) -> bool:
        """Whether the name is one of items, which is no number."""
        return name in self.lists and name not in self.names


@cache
def counted_by(job: str) -> Counted:
    """What the job class `module:Class` and those that it inherits from count; the module is read, not imported."""
    module, _, name = job.partition(":")
    found = Counted()
    _visit(module, name, found)
    return found


def _visit(module: str, name: str, found: Counted) -> None:
    source = _source(module)
    if source is None or name not in source.classes:
        found.any_name = True
        return
    found.take(source.counted)
    for base in source.classes[name].bases:
        if isinstance(base, ast.Name) and base.id in source.imported:
            place, original = source.imported[base.id]
            if not _FRAMEWORK.fullmatch(place):
                _visit(place, original, found)
        elif not (isinstance(base, ast.Name) and base.id in source.classes):
            found.any_name = True


@dataclass(frozen=True)
class _Source:
    """A module: its classes, what it imports by which name (module, name there), and what all of it counts."""

    classes: dict[str, ast.ClassDef]
    imported: dict[str, tuple[str, str]]
    counted: Counted


@cache
def _source(module: str) -> _Source | None:
    try:
        spec = importlib.util.find_spec(module)
    except ImportError as error:
        raise ConfigurationError(f"there is no module {module!r} for a job: {error}") from error
    if spec is None:
        raise ConfigurationError(f"there is no module {module!r} for a job; write it as package.module:Class")
    if not spec.origin or not spec.origin.endswith(".py"):
        return None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    imported = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
        for alias in node.names
    }
    return _Source({node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}, imported, _counted(nodes))


def _counted(nodes: Sequence[ast.AST]) -> Counted:
    """The names of all calls of the engine; where it is handed on, or a name is computed, any name may be."""
    found = Counted()
    methods = _NUMBERS | _LISTS
    attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
    called = [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    calls = [call for call in called if call.func.attr in methods]  # type: ignore[attr-defined]
    engines = {id(node) for node in attributes if node.attr == "stats"}
    handed_on = engines - {id(call.func.value) for call in calls}  # type: ignore[attr-defined]
    made = any(isinstance(node, ast.Name) and node.id in ("engine", "StatsEngine") for node in nodes)
    counters = any(node.attr == "increment_counter" for node in attributes)
    found.any_name = bool(handed_on) or made or counters
    for call in calls:
        _take(call, found)
    return found


def _take(call: ast.Call, found: Counted) -> None:
    method = call.func.attr  # type: ignore[attr-defined]
    given = call.args[0] if call.args else None
    if isinstance(given, ast.Constant) and isinstance(given.value, str):
        (found.lists if method in _LISTS else found.names).add(given.value)
    elif isinstance(given, ast.JoinedStr):
        parts = (re.escape(str(p.value)) if isinstance(p, ast.Constant) else ".+" for p in given.values)
        found.patterns.append(re.compile("".join(parts)))
    else:
        found.any_name = True
