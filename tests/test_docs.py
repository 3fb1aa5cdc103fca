"""The documentation names everything that a user can type, set or query."""

import configparser
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pinflow.api import Pinflow
from pinflow.cli import cli
from pinflow.config import Settings, SourceSettings
from pinflow.errors import ExitCode
from pinflow.scheduler.schedule_tables import metadata
from pinflow.stats_engine import rules, tables

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def section(text: str, title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"there is no section '## {title}'"
    return found[1]


def in_table(text: str, name: str) -> bool:
    """Whether a table has a row about `name`."""
    return re.search(rf"^\| `{re.escape(name)}` \|", text, re.MULTILINE) is not None


def commands() -> list[str]:
    return cli.list_commands(click.Context(cli))


def long_options(command: click.Command) -> Iterator[str]:
    """Those of the command, and those of the commands below it."""
    if isinstance(command, click.Group) and command is not cli:
        for below in command.commands.values():
            yield from long_options(below)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield from (name for name in parameter.opts if name.startswith("--"))


@pytest.mark.parametrize("name", commands())
def test_command_is_documented_with_its_options(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    about = section(page("reference/commands.md"), name)
    missing = [o for o in long_options(command) if not re.search(rf"{re.escape(o)}(?![\w-])", about)]
    assert not missing, f"pinflow {name}: {missing}"


@pytest.mark.parametrize(
    "name", [n for n in commands() if isinstance(cli.get_command(click.Context(cli), n), click.Group)]
)
def test_commands_below_a_command_are_documented(name: str) -> None:
    group = cli.get_command(click.Context(cli), name)
    assert isinstance(group, click.Group)
    about = section(page("reference/commands.md"), name)
    assert [below for below in group.commands if not re.search(rf"pinflow {name} \[?{below}\b", about)] == []


def test_documented_commands_exist() -> None:
    titles = re.findall(r"^## (.+)$", page("reference/commands.md"), re.MULTILINE)
    assert set(titles) - {"Global options"} == set(commands())


@pytest.mark.parametrize("option", list(long_options(cli)))
def test_global_option_is_documented(option: str) -> None:
    assert f"`{option}" in section(page("reference/commands.md"), "Global options")


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_setting_is_documented(name: str) -> None:
    assert in_table(page("reference/configuration.md").partition("## Section source")[0], name)


@pytest.mark.parametrize("name", list(SourceSettings.model_fields))
def test_setting_of_source_is_documented(name: str) -> None:
    assert in_table(section(page("reference/configuration.md"), "Section source"), name)


@pytest.mark.parametrize("kind", list(rules.KINDS))
def test_kind_of_rule_is_documented(kind: str) -> None:
    assert in_table(page("concepts/statistics.md"), kind)


@pytest.mark.parametrize("name", [*metadata.tables, *tables.METADATA.tables])
def test_table_is_documented_with_its_columns(name: str) -> None:
    text = page("reference/database.md")
    assert f"`{name}`" in text
    table = metadata.tables.get(name)
    columns = (tables.METADATA.tables[name] if table is None else table).columns.keys()
    assert [column for column in columns if f"`{column}`" not in text] == []


@pytest.mark.parametrize("name", list(tables.VIEWS))
def test_view_is_documented(name: str) -> None:
    assert f"`{name}`" in section(page("reference/database.md"), "Views")


@pytest.mark.parametrize("code", list(ExitCode))
def test_exit_code_is_documented(code: ExitCode) -> None:
    assert f"| {code.value} | `{code.name}` |" in page("reference/exit-codes.md")


@pytest.mark.parametrize("name", [name for name in vars(Pinflow) if not name.startswith("_")])
def test_method_of_the_api_is_documented(name: str) -> None:
    assert f"`{name}(" in page("reference/python.md")


def engines() -> list[str]:
    """The names that bin/engines tells when it is called without a verb."""
    told = subprocess.run([ROOT / "bin" / "engines"], check=False, capture_output=True, text=True).stderr
    return told.partition("\nengines: ")[2].split()


@pytest.mark.parametrize("name", engines())
def test_engine_is_documented_with_how_to_try_it(name: str) -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in (DOCS / "how-to").glob("*.md"))
    assert f"    bin/engines start --install {name}\n" in pages
    assert f'    eval "$(bin/engines env {name})"\n' in pages


def test_the_tutorial_ends_on_real_engines() -> None:
    about = section(page("tutorial.md"), "9. The same on real engines")
    started = re.search(r"^    bin/engines start --install (.+)$", about, re.MULTILINE)
    assert started
    assert len(started[1].split()) > 1
    assert set(started[1].split()) <= set(engines())


def runtime_dependencies() -> list[str]:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = setup["options"]["install_requires"].split("\n")
    return [re.split(r"[\[<>=!~; ]", line.strip())[0] for line in lines if line.strip()]


def test_dependencies_are_documented() -> None:
    reasons = dict(re.findall(r"^\| ([a-z][a-z0-9-]*) \| (.+) \|$", page("dependencies.md"), re.MULTILINE))
    reasons.pop("distribution")
    assert sorted(reasons) == sorted(runtime_dependencies())
    assert [name for name, reason in reasons.items() if not reason.endswith(".")] == []


def test_nav_and_files_are_the_same() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    named = re.findall(r": (\S+\.md)$", nav, re.MULTILINE)
    assert sorted(named) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))], ids=lambda path: path.name)
def test_links_lead_to_files(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", text) if "://" not in target]
    assert [target for target in targets if target and not (path.parent / target).exists()] == []


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))], ids=lambda path: path.name)
def test_commands_that_are_printed_exist(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    printed = [match[1] for line in lines if (match := re.match(r" {4}(?:bin/)?pinflow ([a-z]+)\b", line))]
    assert set(printed) <= set(commands())
