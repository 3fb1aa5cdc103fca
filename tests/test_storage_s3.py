"""What is S3's own: answers that get lost, rights that are missing, prefixes with very many keys."""

import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError
from botocore.stub import Stubber

from pinflow.errors import ConfigurationError, PinflowError
from pinflow.storage import open_storage
from pinflow.storage_s3 import S3Storage, client, split
from pinflow.workflows.conditions import data_is_there

KEYS = 100_000
PAGE = 1_000
# The keys go into moto's memory: asked for over HTTP, they would take minutes.
SERVER = """
import sys
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer
bucket = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
bucket.create_bucket("big", "us-east-1")
for number in range(int(sys.argv[1])):
    bucket.put_object("big", f"day/part-{number:06}", b"xy")
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """URL of an S3 server with many keys below s3://big/day/."""
    command = [sys.executable, "-c", SERVER, str(KEYS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.kill()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client.cache_clear()
    yield
    client.cache_clear()


@pytest.fixture
def requests(server: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The method of every request that is sent from now on."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server)
    sent: list[str] = []
    client(os.getpid()).meta.events.register("before-send.s3", lambda request, **_: sent.append(request.method))
    return sent


@pytest.mark.parametrize(
    ("wanted", "pages"),
    [
        ({}, 1),
        ({"least_files": PAGE}, 1),
        ({"least_files": PAGE + 1}, 2),
        ({"least_bytes": 2 * PAGE * 3}, 3),
        ({"marker": "part-000007"}, 1),
    ],
)
def test_a_condition_stops_at_the_first_page_that_answers_it(
    requests: list[str], wanted: dict[str, Any], pages: int
) -> None:
    assert data_is_there("s3://big/day", **wanted)
    assert len(requests) == pages


def test_a_condition_that_is_not_met_says_no(requests: list[str]) -> None:
    assert not data_is_there("s3://big/other")
    assert not data_is_there("s3://big/day", marker="_SUCCESS")
    assert len(requests) == 3


@pytest.mark.soak
def test_very_many_keys_are_listed_by_pages_in_little_memory(requests: list[str]) -> None:
    storage = open_storage("s3://big")
    next(storage.walk("s3://big/day"))
    requests.clear()
    tracemalloc.start()
    assert sum(entry.size for entry in storage.walk("s3://big/day")) == 2 * KEYS
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(requests) == KEYS // PAGE
    assert peak < 8_000_000


def test_a_folder_of_many_keys_is_deleted_by_the_thousand(requests: list[str]) -> None:
    storage = open_storage("s3://big")
    for number in range(1_001):
        storage.write_bytes(f"s3://big/gone/{number}", b"")
    requests.clear()
    storage.delete("s3://big/gone", recursive=True)
    assert not storage.exists("s3://big/gone")
    assert len(requests) <= 8


def test_a_conditional_write_whose_answer_was_lost_is_not_made_twice(requests: list[str]) -> None:
    lost = [True]

    def lose(**_: Any) -> None:
        if lost.pop() if lost else False:
            raise ConnectionClosedError(endpoint_url="s3")

    client(os.getpid()).meta.events.register("after-call.s3.PutObject", lose)
    S3Storage().write_if("s3://big/counter", lambda old: str(int(old or b"0") + 1).encode())
    assert not lost
    assert S3Storage().read_bytes("s3://big/counter") == b"1"


def test_a_server_that_goes_away_is_waited_for(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    away = client(os.getpid())
    come_back = partial(away.meta.events.register, "before-send.s3", partial(_come_back, server))
    back = threading.Timer(2.0, come_back)
    back.start()
    S3Storage().write_bytes("s3://big/late", b"1")
    back.join()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server)
    client.cache_clear()
    assert S3Storage().read_bytes("s3://big/late") == b"1"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    client.cache_clear()
    with pytest.raises(PinflowError, match=r"s3://big/late.*pinflow doctor"):
        S3Storage(patience=0.0).read_bytes("s3://big/late")


def _come_back(server: str, request: Any, **_: Any) -> None:
    request.url = request.url.replace("http://127.0.0.1:1", server)


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("AccessDenied", "grant s3:PutObject and s3:GetObject on bucket"),
        ("NoSuchBucket", "there is no bucket 'bucket'"),
        ("SignatureDoesNotMatch", "AWS_ACCESS_KEY_ID"),
    ],
)
def test_what_is_missing_is_told_at_once(code: str, advice: str) -> None:
    with Stubber(client(os.getpid())) as stub:
        stub.add_client_error("put_object", code, http_status_code=403)
        with pytest.raises(PinflowError, match=f"cannot write s3://bucket/a: .*{advice}"):
            S3Storage().write_bytes("s3://bucket/a", b"1")


def test_what_is_no_place_in_s3() -> None:
    with pytest.raises(ConfigurationError, match="s3://bucket/folder"):
        split("s3:///a")


def test_a_large_file_is_sent_in_pieces_that_need_bounded_memory(requests: list[str], tmp_path: Path) -> None:
    file = tmp_path / "large"
    with file.open("wb") as stream:
        stream.truncate(200 << 20)
    tracemalloc.start()
    S3Storage().write_file("s3://big/large", file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 120 << 20  # ten pieces of 8 MB wait at most
    assert requests.count("PUT") > 10
    assert len(S3Storage().read_bytes("s3://big/large")) == 200 << 20
