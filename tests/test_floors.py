"""Imports go down the floors of the house, never up; modules stay small and have names of their own."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("workflows", "scheduler", "mr_jobs", "stats_engine", "hbase_schema")
GROUND = {
    "config",
    "database",
    "prepared",
    "storage",
    "storage_remote",
    "storage_s3",
    "storage_hdfs",
    "webhdfs",
    "zygote",
    "zygote_child",
    "zygote_memory",
    "zygote_server",
    "errors",
}
MIDDLE = {"stats_engine", "hbase_schema"}
MAY_IMPORT = {
    "cli": {"cli", "commands", "workflows", "scheduler", "mr_jobs", *MIDDLE, *GROUND},
    "api": {"api", "workflows", "scheduler", "mr_jobs", *MIDDLE, *GROUND},
    "commands": {"commands", "workflows", "scheduler", "mr_jobs", *MIDDLE, *GROUND},
    "workflows": {"workflows", "scheduler", "mr_jobs", *MIDDLE, *GROUND},
    "scheduler": {"scheduler", *MIDDLE, *GROUND},
    "mr_jobs": {"mr_jobs", *MIDDLE, *GROUND},
    "stats_engine": {"stats_engine", *GROUND},
    "hbase_schema": {"hbase_schema", *GROUND},
    **dict.fromkeys(GROUND, GROUND),
}
VAGUE = {"utils", "util", "helpers", "helper", "common", "base", "misc"}
LARGEST_MODULE = 400


def modules() -> dict[str, Path]:
    """Every product module by its import name; the links below pinflow/ are not followed twice."""
    files = [*(ROOT / "pinflow").glob("*.py"), *(ROOT / "pinflow" / "commands").rglob("*.py")]
    found = {"pinflow." + ".".join(f.relative_to(ROOT / "pinflow").with_suffix("").parts): f for f in files}
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            found["pinflow." + ".".join(file.relative_to(ROOT).with_suffix("").parts)] = file
    return found


MODULES = modules()


def imports(name: str, source: str) -> Iterator[str]:
    """Full names of all that a module imports, wherever in it the import stands."""
    package = name.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{start}.{alias.name}" for alias in node.names)


def floor(name: str) -> str:
    """The floor of a pinflow module; empty for another library and for pinflow itself."""
    parts = name.split(".")
    return parts[1] if parts[0] == "pinflow" and len(parts) > 1 and parts[1] in MAY_IMPORT else ""


def upward(name: str, source: str) -> list[str]:
    allowed = MAY_IMPORT.get(floor(name), set())
    return sorted({i for i in imports(name, source) if floor(i) and floor(name) and floor(i) not in allowed})


def test_every_module_stands_on_a_floor() -> None:
    assert {name for name in MODULES if not floor(name)} == {"pinflow.__init__"}
    assert len(MODULES) > 100


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_only_go_down(name: str) -> None:
    assert upward(name, MODULES[name].read_text()) == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("pinflow.scheduler.worker", "from pinflow.mr_jobs.job import DatasetJob"),
        ("pinflow.mr_jobs.job", "def f():\n    import pinflow.scheduler.store"),
        ("pinflow.stats_engine.engine", "from pinflow import hbase_schema"),
        ("pinflow.mr_jobs.analytics.pins", "from ...workflows import node"),
        ("pinflow.storage", "if True:\n    from pinflow.stats_engine import engine"),
    ],
)
def test_an_import_that_goes_up_is_found(name: str, source: str) -> None:
    assert len(upward(name, source)) == 1


@pytest.mark.parametrize("name", sorted(MODULES))
def test_modules_are_small_and_named_for_their_job(name: str) -> None:
    assert len(MODULES[name].read_text().splitlines()) <= LARGEST_MODULE
    assert VAGUE.isdisjoint(name.split("."))
