"""`pinflow doctor` tries what is configured, and says what to do where it fails."""

import socket
from pathlib import Path
from typing import Any

import pytest

from pinflow.hbase_schema.store import open_store
from pinflow.storage import open_storage
from tests.engines import variables
from tests.workflows.command import Command


def findings(folder: Path, settings: dict[str, str]) -> dict[str, Any]:
    (folder / "input" / "events").mkdir(parents=True, exist_ok=True)
    found = Command(folder / "home", folder / "input", settings)("doctor", "--json")
    by_name = {finding["what"]: finding for finding in found.json}
    assert found.code == (0 if all(finding["ok"] for finding in by_name.values()) else 2)
    return by_name


def unused_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_what_does_not_answer_is_named_with_what_to_do(tmp_path: Path) -> None:
    port = unused_port()
    nobody = f"127.0.0.1:{port}"
    places = {
        "PINFLOW_MAIL": (f"smtp://{nobody}", "mail", "host, port, user and password"),
        "PINFLOW_SERVING": (f"hbase://{nobody}", "serving", f"HBase at {nobody} fails"),
        "PINFLOW_WAREHOUSE": (f"webhdfs://{nobody}/x", "warehouse", "that HDFS runs"),
    }
    found = findings(tmp_path, {name: url for name, (url, _, _) in places.items()})
    for _, what, advice in places.values():
        assert not found[what]["ok"]
        assert advice in found[what]["detail"]
    assert found["database"]["ok"]


def test_a_wrong_mapping_stops_a_run_before_its_jobs_and_is_found(tmp_path: Path) -> None:
    wrong = {"PINFLOW_SOURCE__FIELDS": '{"events": {"foo": "bar"}}'}
    assert "maps 'foo'" in findings(tmp_path, wrong)["input"]["detail"]
    ran = Command(tmp_path / "home", tmp_path / "input", wrong)("run", "analytics", "--date", "2015-05-18")
    assert ran.code == 2
    assert "source.fields.events maps 'foo', which is no field of events; valid: event_type, " in ran.err


@pytest.mark.s3
@pytest.mark.hbase
@pytest.mark.smtp
def test_every_engine_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    settings = variables("hbase") | variables("s3") | variables("smtp")
    settings["PINFLOW_WAREHOUSE"] += f"/{tmp_path.name}"
    settings["PINFLOW_SERVING"] += "&prefix=doctor_"
    found = findings(tmp_path, settings)
    assert [finding for finding in found.values() if not finding["ok"]] == []
    with open_store(settings["PINFLOW_SERVING"]) as store:
        assert list(store.table("analytics_metrics").scan()) == []
    assert not (tmp_path / "home" / "warehouse").exists()


@pytest.mark.hdfs
def test_a_warehouse_in_hdfs_is_tried_and_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = variables("hadoop")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    settings["PINFLOW_WAREHOUSE"] += f"/{tmp_path.parent.name}/{tmp_path.name}"
    # the archives that a job on Hadoop needs stay for the next one
    settings["PINFLOW_RUNNER"] = "local"
    assert findings(tmp_path, settings)["warehouse"]["ok"]
    assert open_storage(settings["PINFLOW_WAREHOUSE"]).list(settings["PINFLOW_WAREHOUSE"]) == []
