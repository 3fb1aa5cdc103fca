"""A move in HDFS whose answer is lost: told apart from one that was not made, without a real HDFS."""

import time
from typing import Any

import pytest

from pinflow.storage_hdfs import HdfsStorage
from pinflow.webhdfs import WebHdfsError

PATH = "hdfs://nn:8020/a/count"


class Forgetful:
    """Files by their URL; the first move gives no answer, and is made or not."""

    def __init__(self, is_made: bool) -> None:
        self.files: dict[str, bytes] = {}
        self.is_made = is_made
        self.moves = 0

    def create(self, url: str, data: bytes, *, overwrite: bool) -> None:
        assert overwrite or url not in self.files
        self.files[url] = data

    def read(self, url: str) -> bytes:
        if url not in self.files:
            raise WebHdfsError("FileNotFoundException", url)
        return self.files[url]

    def get(self, url: str, _operation: str) -> dict[str, Any]:
        return {"FileStatus": {"fileId": url, "length": len(self.read(url)), "type": "FILE"}}

    def put(self, url: str, _operation: str, _seconds: float, *, destination: str, renameoptions: str) -> None:
        self.moves += 1
        if self.moves > 1 or self.is_made:
            self.files[f"hdfs://nn:8020{destination}"] = self.files.pop(url)
        if self.moves == 1:
            raise WebHdfsError("", "timed out", can_pass=True)

    def delete(self, url: str) -> bool:
        if "/.reserved/.inodes/" in url:
            url = url.partition("/.reserved/.inodes/")[2]
        return self.files.pop(url, None) is not None


@pytest.mark.parametrize("is_made", [True, False])
def test_a_move_without_an_answer_is_counted_once(monkeypatch: pytest.MonkeyPatch, is_made: bool) -> None:
    storage, hdfs = HdfsStorage(environment={}), Forgetful(is_made)
    monkeypatch.setattr(storage, "_hdfs", hdfs)
    storage.write_if(PATH, lambda old: str(int(old or b"0") + 1).encode())
    assert hdfs.files == {PATH: b"1"}
    assert hdfs.moves == (1 if is_made else 2)


class Held(Forgetful):
    """A lock of another writer lies there, made by a clock that is a day behind."""

    def __init__(self, lock: str) -> None:
        super().__init__(is_made=True)
        self.moves = 1
        self.files[lock] = b"another's"

    def create(self, url: str, data: bytes, *, overwrite: bool) -> None:
        if url in self.files and not overwrite:
            raise WebHdfsError("FileAlreadyExistsException", url)
        super().create(url, data, overwrite=overwrite)

    def get(self, url: str, _operation: str) -> dict[str, Any]:
        status: dict[str, Any] = super().get(url, _operation)["FileStatus"]
        return {"FileStatus": status | {"modificationTime": (time.time() - 86_400) * 1000}}


def test_a_lock_is_broken_once_it_was_seen_for_long_whatever_the_clocks_say(monkeypatch: pytest.MonkeyPatch) -> None:
    storage, hdfs = HdfsStorage(environment={}, lock_seconds=1.0), Held("hdfs://nn:8020/a/.pinflow-count.lock")
    monkeypatch.setattr(storage, "_hdfs", hdfs)
    started = time.monotonic()
    storage.write_if(PATH, lambda _: b"1")
    assert time.monotonic() - started > 1.0
    assert hdfs.files == {PATH: b"1"}
