"""What is HDFS's own, against the real one: locks of dead writers, rights, and a NameNode that stands by."""

import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinflow.errors import PinflowError
from pinflow.storage_hdfs import HdfsStorage
from pinflow.webhdfs import WebHdfs
from tests.engines import variables

pytestmark = pytest.mark.hdfs


@pytest.fixture
def environment() -> dict[str, str]:
    return variables("hadoop")


@pytest.fixture
def folder(environment: dict[str, str], tmp_path: Path) -> str:
    return f"{environment['PINFLOW_WAREHOUSE']}{tmp_path}"


def test_the_lock_of_a_dead_writer_is_broken_by_one_only(environment: dict[str, str], folder: str) -> None:
    storage = HdfsStorage(environment=environment, lock_seconds=5.0)
    WebHdfs(environment, patience=10).create(f"{folder}/.pinflow-count.lock", b"of the dead", overwrite=False)
    started = time.monotonic()
    threads = [threading.Thread(target=_add, args=(storage, f"{folder}/count")) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert storage.read_bytes(f"{folder}/count") == b"3"
    assert time.monotonic() - started >= 4.0


def _add(storage: HdfsStorage, path: str) -> None:
    storage.write_if(path, lambda old: str(int(old or b"0") + 1).encode())


def test_a_turn_that_took_too_long_is_taken_again(environment: dict[str, str], folder: str) -> None:
    seen = []

    def slow(old: bytes | None) -> bytes:
        seen.append(old)
        if len(seen) == 1:  # long enough for another to break the lock and to write
            HdfsStorage(environment=environment, lock_seconds=2.0).write_if(f"{folder}/a", lambda _: b"other")
        return (old or b"") + b" and mine"

    storage = HdfsStorage(environment=environment, lock_seconds=4.0)
    storage.write_if(f"{folder}/a", slow)
    assert seen == [None, b"other"]
    assert storage.read_bytes(f"{folder}/a") == b"other and mine"
    assert [entry.name for entry in storage.list(folder)] == ["a"]


def test_a_writer_whose_turns_are_all_too_long_says_so(environment: dict[str, str], folder: str) -> None:
    def slow(_: bytes | None) -> bytes:
        time.sleep(0.2)
        return b"late"

    storage = HdfsStorage(environment=environment, lock_seconds=0.2, patience=0.5)
    with pytest.raises(PinflowError, match=r"cannot write .*/a: each time HDFS took more than 0.1 s"):
        storage.write_if(f"{folder}/a", slow)
    assert storage.read_if_exists(f"{folder}/a") is None


def test_missing_rights_are_told(environment: dict[str, str], folder: str) -> None:
    HdfsStorage(environment=environment).write_bytes(f"{folder}/a", b"1")
    stranger = HdfsStorage(environment=environment | {"HADOOP_USER_NAME": "stranger"})
    for action in (lambda: stranger.write_bytes(f"{folder}/b", b"1"), lambda: _add(stranger, f"{folder}/a")):
        with pytest.raises(PinflowError, match=r"Permission denied: user=stranger.*HADOOP_USER_NAME"):
            action()


class Standby(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"RemoteException": {"exception": "StandbyException", "message": "Operation READ is not supported"}}'
        self.send_response(403)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def standby() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Standby) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_of_several_namenodes_the_active_one_is_found(environment: dict[str, str], folder: str, standby: str) -> None:
    HdfsStorage(environment=environment).write_bytes(f"{folder}/a", b"1")
    both = environment | {"WEBHDFS_URL": f"{standby},{environment['WEBHDFS_URL']}"}
    assert HdfsStorage(environment=both).read_bytes(f"{folder}/a") == b"1"


def test_patience_ends_with_what_to_do(folder: str) -> None:
    nobody = HdfsStorage(environment={"WEBHDFS_URL": "http://127.0.0.1:1"}, patience=0.0)
    with pytest.raises(PinflowError, match=r"WEBHDFS_URL.*pinflow doctor"):
        nobody.exists(folder)
