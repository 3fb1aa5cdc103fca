import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from pinflow import config
from pinflow.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "INPUT", "CONFIG", "WORKFLOWS", "SLOTS", "SOURCE__SITE", "SOURCE"):
        monkeypatch.delenv(f"PINFLOW_{name}", raising=False)


def test_paths_count_from_where_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project/below").mkdir(parents=True)
    (tmp_path / "project/pinflow.toml").write_text('input = "data"\nhome = "state"\n[source]\nsite = "a.example"\n')
    monkeypatch.setenv("PINFLOW_HOME", "elsewhere")
    settings = config.load(working_folder=tmp_path / "project/below")
    assert settings.input == str(tmp_path / "project/data")
    assert settings.home == str(tmp_path / "project/below/elsewhere")
    assert settings.source.site == "a.example"
    assert settings.warehouse_url == str(tmp_path / "project/below/elsewhere/warehouse")


def test_file_urls_are_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"file://{tmp_path}/a%20b"
    country = f'[source]\ncountry_database = "{url}/c.mmdb"\n'
    (tmp_path / "pinflow.toml").write_text(f'input = "{url}/in"\nserving = "file://localhost{tmp_path}/s"\n{country}')
    options = {"home": f"{url}/home", "mail": f"{url}/mail", "warehouse": f"{url}/warehouse"}
    settings = config.load(options, working_folder=tmp_path)
    below = tmp_path / "a b"
    assert settings.home_path == below / "home"
    assert settings.input == str(below / "in")
    assert settings.serving_url == str(tmp_path / "s")
    assert settings.mail_url == str(below / "mail")
    assert settings.warehouse_url == str(below / "warehouse")
    assert settings.source.country_database == str(below / "c.mmdb")


@pytest.mark.parametrize("url", ["s3://bucket/a%20b", "hdfs://name:8020/x", "file://other/x"])
def test_other_urls_stay(tmp_path: Path, url: str) -> None:
    assert config.load({"warehouse": url}, working_folder=tmp_path).warehouse_url == url


def test_the_last_to_name_a_setting_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pinflow.toml").write_text('slots = 3\nkeep = "7d"\n[source]\nsite = "file.example"\nready = "_OK"\n')
    monkeypatch.setenv("PINFLOW_SOURCE__SITE", "variable.example")
    monkeypatch.setenv("PINFLOW_SLOTS", "4")
    settings = config.load({"slots": 5}, working_folder=tmp_path)
    assert (settings.slot_count, settings.source.site, settings.source.ready) == (5, "variable.example", "_OK")
    assert settings.keep_for == timedelta(days=7)


def test_modules_by_comma(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINFLOW_WORKFLOWS", "a.b, c")
    assert config.load(working_folder=tmp_path).workflows == ["a.b", "c"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("slots = [", "cannot read the configuration"),
        ("slost = 3", "unknown setting 'slost'; known: home, .*slots"),
        ("[source]\nsiet = 'x'", r"unknown setting 'source\.siet'; known: source\.format, .*source\.site, "),
        ('runner = "spark"', "'local', 'inline', 'hadoop' or 'emr'"),
        ('keep = "a month"', "35d"),
        ('memory = "0GB"', "256MB"),
        ("[source]\nbad_share = 2", "source.bad_share"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "pinflow.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=told):
        config.load(working_folder=tmp_path)


def test_a_variable_of_a_setting_in_a_section_may_begin_as_json_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PINFLOW_SOURCE__PATHS__EVENTS", "{date}/*.json")
    monkeypatch.setenv("PINFLOW_SOURCE__FIELDS", '{"events": {"user": "visitor"}}')
    source = config.load(working_folder=tmp_path).source
    assert (source.paths, source.fields) == (
        {"events": "{date}/*.json"},
        {"events": {"user": "visitor"}},
    )


def test_variables_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINFLOW_SOURCE", "{")
    with pytest.raises(ConfigurationError, match="PINFLOW"):
        config.load(working_folder=tmp_path)


def test_plugins_of_pydantic_are_left_to_the_models_of_others():
    code = (
        "import os; from pinflow.config import Settings; from pydantic.plugin import _loader; "
        "print(Settings.__pydantic_complete__, _loader._plugins, os.environ.get('PYDANTIC_DISABLE_PLUGINS'))"
    )
    for before, after in (({}, None), ({"PYDANTIC_DISABLE_PLUGINS": "false"}, "false")):
        said = subprocess.check_output([sys.executable, "-c", code], env=os.environ | before, text=True)
        assert said == f"True None {after}\n"
