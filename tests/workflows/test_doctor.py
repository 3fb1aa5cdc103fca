"""`pinflow doctor` tries what is configured, and says what to do where it fails."""

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import sqlalchemy as sa
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from pinflow.config import Settings
from pinflow.hbase_schema.store import open_store
from pinflow.storage import open_storage
from pinflow.workflows.doctor import examine
from tests.engines import variables
from tests.mariadb import MariaDb
from tests.workflows.command import Command, finish

ACCOUNT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
CONDITIONS = ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH")


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


@contextmanager
def s3_server(
    ignored: frozenset[str] = frozenset(), before: Callable[[dict[str, Any]], None] | None = None
) -> Iterator[str]:
    """The address of a server with the bucket `doctor`; it ignores some headers, and hears of a request `before` it."""
    moto = DomainDispatcherApplication(create_backend_app)

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        if before:
            before(environ)
        return moto({name: value for name, value in environ.items() if name not in ignored}, start_response)

    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        requests.post(f"{address}/moto-api/reset", timeout=60)
        requests.put(f"{address}/doctor", timeout=60)
        yield address
    finally:
        server.shutdown()
        thread.join()


def in_s3(address: str) -> dict[str, str]:
    return ACCOUNT | {"AWS_ENDPOINT_URL_S3": address, "PINFLOW_WAREHOUSE": "s3://doctor/warehouse"}


def objects(address: str) -> str:
    return requests.get(f"{address}/doctor", timeout=60).text


def test_a_service_that_heeds_conditions_will_do_and_nothing_stays(tmp_path: Path) -> None:
    with s3_server() as address:
        found = findings(tmp_path, in_s3(address))["warehouse"]
        assert found == {"what": "warehouse", "ok": True, "detail": "s3://doctor/warehouse"}
        assert "<Key>" not in objects(address)


@pytest.mark.parametrize("ignored", [CONDITIONS, CONDITIONS[:1], CONDITIONS[1:]], ids="-".join)
def test_a_service_that_ignores_conditions_is_refused(tmp_path: Path, ignored: tuple[str, ...]) -> None:
    with s3_server(frozenset(ignored)) as address:
        found = findings(tmp_path, in_s3(address))["warehouse"]
        assert not found["ok"]
        assert "s3://doctor/warehouse loses one of two writes at once" in found["detail"]
        assert "use a service that heeds If-None-Match and If-Match of PutObject" in found["detail"]
        assert "<Key>" not in objects(address)


def test_a_doctor_is_not_disturbed_by_another_one_in_the_same_warehouse(tmp_path: Path) -> None:
    others: list[dict[str, Any]] = []
    have_written = threading.Event()

    def begin_another(environ: dict[str, Any]) -> None:
        if environ["REQUEST_METHOD"] == "PUT" and "/warehouse/" in environ["PATH_INFO"]:
            have_written.set()
        elif have_written.is_set() and not others:
            others.append({})
            others[0] = findings(tmp_path / "other", in_s3(environ["wsgi.url_scheme"] + "://" + environ["HTTP_HOST"]))

    with s3_server(before=begin_another) as address:
        assert findings(tmp_path, in_s3(address))["warehouse"]["ok"]
        assert others[0]["warehouse"]["ok"]
        assert "<Key>" not in objects(address)


def test_a_folder_is_left_as_it_was(tmp_path: Path) -> None:
    found = findings(tmp_path, {"PINFLOW_WAREHOUSE": str(tmp_path / "warehouse")})
    assert found["warehouse"]["ok"]
    # files of the storage's own, too, which its listing does not show
    assert list((tmp_path / "warehouse").iterdir()) == []


def test_the_runner_does_not_wait_for_a_warehouse_that_did_not_answer(tmp_path: Path) -> None:
    command = Command(
        tmp_path / "home",
        tmp_path,
        {"PINFLOW_RUNNER": "hadoop", "PINFLOW_WAREHOUSE": f"webhdfs://127.0.0.1:{unused_port()}/x"},
    )
    with command.start("doctor") as process:
        said = finish(process, timeout=300).out
    assert "FAIL warehouse: cannot write webhdfs://127.0.0.1:" in said
    assert "FAIL runner: hadoop was not tried: its job works in the warehouse, which failed; mend that first" in said


def test_each_finding_is_told_before_the_next_place_is_tried(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        command = Command(tmp_path / "home", tmp_path, {"PINFLOW_MAIL": f"smtp://127.0.0.1:{port}"})
        with command.start("doctor") as process:
            silent.settimeout(60)
            connection, _ = silent.accept()
            try:
                assert process.stdout is not None
                assert select.select([process.stdout], [], [], 0)[0], "nothing was told before mail was tried"
                assert process.stdout.readline().startswith("ok   python: ")
            finally:
                connection.close()
                process.kill()


@pytest.mark.mariadb
def test_the_probe_of_another_doctor_or_of_a_killed_one_is_no_hindrance(tmp_path: Path, mariadb: MariaDb) -> None:
    url = mariadb.create()
    others: list[dict[str, Any]] = []

    def begin_another(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "CREATE TABLE" in statement and not others:
            others.append(findings(tmp_path / "other", {"PINFLOW_DATABASE": url}))

    sa.event.listen(sa.Engine, "after_cursor_execute", begin_another)
    try:
        settings = Settings(home=str(tmp_path / "home"), input=str(tmp_path), database=url)
        found = {finding.what: finding for finding in examine(settings)}
    finally:
        sa.event.remove(sa.Engine, "after_cursor_execute", begin_another)
    assert found["database"].ok
    assert others[0]["database"]["ok"]
    assert tables(mariadb, url) == []


@pytest.mark.mariadb
@pytest.mark.parametrize("missing", ["INSERT", "SELECT", "DELETE"])
def test_a_right_that_is_missing_is_found_and_the_probe_removed(tmp_path: Path, mariadb: MariaDb, missing: str) -> None:
    url = mariadb.create()
    name, user = url.rpartition("/")[2], f"no_{missing.lower()}"
    rights = ", ".join({"CREATE", "DROP", "INSERT", "SELECT", "DELETE"} - {missing})
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE USER {user} IDENTIFIED BY 'secret'")
        cursor.execute(f"GRANT {rights} ON {name}.* TO {user}")
    found = findings(tmp_path, {"PINFLOW_DATABASE": url.replace("root@", f"{user}:secret@")})["database"]
    assert not found["ok"]
    assert f"{missing} command denied" in found["detail"]
    assert f"GRANT ALL ON `{name}`.* TO '{user}'@'%'; then" in found["detail"]
    assert tables(mariadb, url) == []


def tables(mariadb: MariaDb, url: str) -> list[Any]:
    with mariadb.connect(url.rpartition("/")[2]) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW TABLES")
        return list(cursor.fetchall())


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
