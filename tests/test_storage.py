import errno
import json
import os
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pinflow.errors import ConfigurationError, PinflowError
from pinflow.storage import LocalStorage, Storage, free_bytes, join, open_storage
from tests.engines import variables

ADD_MANY = """
import json, sys
from pinflow.storage import open_storage
for _ in range(int(sys.argv[2])):
    open_storage(sys.argv[1]).write_if(sys.argv[1], lambda old: json.dumps(json.loads(old or b"0") + 1).encode())
"""


PLACES = ["path", "url", pytest.param("s3", marks=pytest.mark.s3), pytest.param("hdfs", marks=pytest.mark.hdfs)]
ENGINES = {"s3": "s3", "hdfs": "hadoop"}


@pytest.fixture(params=PLACES)
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty folder of each kind of storage."""
    if request.param in ENGINES:
        found = variables(ENGINES[request.param])
        for name, value in found.items():
            monkeypatch.setenv(name, value)
        return f"{found['PINFLOW_WAREHOUSE']}/{secrets.token_hex(8)}/a b"
    return str(tmp_path / "a b") if request.param == "path" else f"file://{tmp_path}/a%20b"


def is_s3(folder: str) -> bool:
    return folder.startswith("s3://")


@pytest.fixture
def storage(folder: str) -> Storage:
    return open_storage(folder)


def test_what_is_written_is_read_and_replaced(storage: Storage, folder: str) -> None:
    path = join(folder, "x", "data.bin")
    assert not storage.exists(path)
    assert storage.read_if_exists(path) is None
    for data in (b"", b"\x00one" * 1000, b"two"):
        storage.write_bytes(path, data)
        assert storage.read_bytes(path) == storage.read_if_exists(path) == data
    with storage.open_input(path) as file:
        file.seek(1)
        assert file.read() == b"wo"
    assert [entry.name for entry in storage.list(join(folder, "x"))] == ["data.bin"]


def test_a_file_of_this_machine_is_sent(storage: Storage, folder: str, tmp_path: Path) -> None:
    source, path = tmp_path / "source", join(folder, "x", "data.bin")
    for data in (secrets.token_bytes(20 << 20), b"", b"two"):
        source.write_bytes(data)
        storage.write_file(path, source)
        assert storage.read_bytes(path) == data
    with pytest.raises(PinflowError, match=rf"cannot read {tmp_path}/none: there is no such file"):
        storage.write_file(path, tmp_path / "none")
    assert storage.read_bytes(path) == b"two"


def test_what_is_written_unsynced_is_there_at_once_and_synced_with_its_folder(storage: Storage, folder: str) -> None:
    storage.sync(folder)
    storage.write_unsynced(join(folder, "x", "a"), b"1")
    storage.write_unsynced(join(folder, "x", "a"), b"2")
    assert storage.read_bytes(join(folder, "x", "a")) == b"2"
    storage.sync(folder)
    assert [entry.name for entry in storage.walk(folder)] == ["a"]


def test_a_file_is_synced_before_it_has_its_name_or_with_its_folder(tmp_path: Path, synced: list[str]) -> None:
    storage = LocalStorage()
    storage.write_bytes(str(tmp_path / "a"), b"1")
    assert [re.sub(r"\.pinflow-\w+", "temporary", path) for path in synced] == ["temporary.tmp", ""]
    synced.clear()
    storage.write_unsynced(str(tmp_path / "x" / "y" / "b"), b"1")
    storage.write_unsynced(str(tmp_path / "x" / "c"), b"1")
    assert synced == []
    storage.sync(str(tmp_path / "x"))
    assert sorted(synced) == ["", "x", "x/c", "x/y", "x/y/b"]
    synced.clear()
    names = [f"x/{number:02d}" for number in range(20)]
    for name in names:
        storage.write_unsynced(str(tmp_path / name), b"1")
    storage.sync(str(tmp_path / "x"))
    assert sorted(synced) == ["", "x", *names, "x/c", "x/y", "x/y/b"]


@pytest.fixture
def synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths below the test's folder, as they are called when they are synced."""
    found: list[str] = []

    def sync(descriptor: int) -> None:
        path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        found.append(path.removeprefix(str(tmp_path)).lstrip("/"))

    monkeypatch.setattr(os, "fsync", sync)
    return found


def test_a_url_and_a_path_name_the_same_file(tmp_path: Path) -> None:
    open_storage("file:///").write_bytes(f"file://{tmp_path}/%C3%BC%25.txt", b"1")
    assert (tmp_path / "ü%.txt").read_bytes() == b"1"
    assert LocalStorage().read_bytes(str(tmp_path / "ü%.txt")) == b"1"


def test_files_can_be_read_by_others(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        LocalStorage().write_bytes(str(tmp_path / "x"), b"1")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o644


def test_listing(storage: Storage, folder: str) -> None:
    assert storage.list(folder) == []
    assert list(storage.walk(folder)) == []
    for name in ("b", "a", "deep/er/c", ".hidden"):
        storage.write_bytes(join(folder, name), name.encode())
    storage.write_if(join(folder, "a"), lambda old: (old or b"") + b"!")
    storage.make_folder(join(folder, "empty"))
    storage.make_folder(join(folder, "empty"))
    entries = storage.list(folder)
    folders = [("deep", True)] if is_s3(folder) else [("deep", True), ("empty", True)]
    assert [(e.name, e.is_folder) for e in entries] == [(".hidden", False), ("a", False), ("b", False), *folders]
    assert entries[1].size == 2
    assert entries[1].modified.tzinfo is UTC
    assert abs((datetime.now(UTC) - entries[1].modified).total_seconds()) < 60
    walked = list(storage.walk(folder))
    assert [e.name for e in walked] == [".hidden", "a", "b", "c"]
    assert storage.read_bytes(walked[3].path) == b"deep/er/c"
    assert walked[3].path == join(folder, "deep", "er", "c")


def test_a_listed_path_of_a_url_can_be_handed_back(tmp_path: Path) -> None:
    (tmp_path / "100%41 é").write_bytes(b"1")
    (entry,) = LocalStorage().list(f"file://{tmp_path}")
    assert entry.name == "100%41 é"
    assert LocalStorage().read_bytes(entry.path) == b"1"


def test_delete(storage: Storage, folder: str) -> None:
    storage.delete(join(folder, "nothing"))
    storage.delete(folder, recursive=True)
    storage.write_bytes(join(folder, "x", "y", "z"), b"1")
    storage.write_if(join(folder, "x", "y", "w"), lambda old: b"1")
    with pytest.raises(PinflowError, match="not empty"):
        storage.delete(join(folder, "x"))
    storage.delete(join(folder, "x", "y", "z"))
    assert not storage.exists(join(folder, "x", "y", "z"))
    storage.delete(join(folder, "x"), recursive=True)
    assert not storage.exists(join(folder, "x"))
    storage.make_folder(join(folder, "x"))
    storage.delete(join(folder, "x"))
    assert storage.list(folder) == []


def test_delete_leaves_what_a_link_points_to(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "link").symlink_to(tmp_path / "kept")
    LocalStorage().delete(str(tmp_path / "gone"), recursive=True)
    assert (tmp_path / "kept" / "file").exists()
    assert not (tmp_path / "gone").exists()


def test_walk_follows_links_but_no_loops(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").touch()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    found = [entry.path for entry in LocalStorage().walk(str(tmp_path))]
    assert found == [str(tmp_path / "a" / "file"), str(tmp_path / "b" / "file")]


def test_write_if_sees_the_old_content_and_may_refuse(storage: Storage, folder: str) -> None:
    path = join(folder, "current.json")
    seen: list[bytes | None] = []

    def refuse(old: bytes | None) -> bytes:
        seen.append(old)
        raise ValueError("older")

    with pytest.raises(ValueError, match="older"):
        storage.write_if(path, refuse)
    assert not storage.exists(path)
    storage.write_if(path, lambda old: b"one")
    with pytest.raises(ValueError, match="older"):
        storage.write_if(path, refuse)
    assert seen == [None, b"one"]
    assert storage.read_bytes(path) == b"one"


def test_no_update_is_lost_between_processes_and_threads(storage: Storage, folder: str) -> None:
    path = join(folder, "count")

    count = 10 if folder.startswith(("s3://", "hdfs://")) else 50

    def add_many() -> None:
        for _ in range(count):
            storage.write_if(path, lambda old: json.dumps(json.loads(old or b"0") + 1).encode())

    others = [subprocess.Popen([sys.executable, "-c", ADD_MANY, path, str(count)]) for _ in range(2)]
    threads = [threading.Thread(target=add_many) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [other.wait() for other in others] == [0, 0]
    assert storage.read_bytes(path) == str(4 * count).encode()


def test_no_update_is_lost_while_the_folder_is_deleted(tmp_path: Path) -> None:
    storage, path = LocalStorage(), str(tmp_path / "x" / "file")

    def delete_below(old: bytes | None) -> bytes:
        storage.delete(str(tmp_path / "x"), recursive=True)
        return b"1"

    storage.write_if(path, delete_below)
    storage.write_if(path, lambda old: (old or b"") + b"2")
    assert storage.read_bytes(path) == b"12"


@pytest.fixture
def small_disk(disk_of: Callable[[str], Path]) -> Path:
    return disk_of("64k")


def test_a_full_disk_is_told_and_loses_nothing(small_disk: Path) -> None:
    storage, path = LocalStorage(), str(small_disk / "file")
    storage.write_bytes(path, b"old")
    with pytest.raises(PinflowError, match=rf"{path}.*disk is full.*pinflow clean"):
        storage.write_bytes(path, b"x" * 1_000_000)
    assert storage.read_bytes(path) == b"old"
    assert [item.name for item in small_disk.iterdir()] == ["file"]
    with pytest.raises(PinflowError, match="disk is full"):
        storage.write_if(path, lambda old: b"x" * 1_000_000)
    assert storage.read_bytes(path) == b"old"


def test_missing_rights_are_told() -> None:
    with pytest.raises(PinflowError, match=r"/sys/pinflow-x.*give the user") as caught:
        LocalStorage().write_bytes("/sys/pinflow-x", b"1")
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno in (errno.EACCES, errno.EPERM, errno.EROFS)


def test_a_missing_file_is_told(storage: Storage, folder: str) -> None:
    for read in (storage.read_bytes, storage.open_input):
        with pytest.raises(PinflowError, match=r"nothing\.txt: there is no such file"):
            read(join(folder, "nothing.txt"))


def test_a_file_in_place_of_a_folder_is_told(storage: Storage, folder: str) -> None:
    storage.write_bytes(join(folder, "file"), b"1")
    assert not storage.exists(join(folder, "file", "below"))
    if is_s3(folder):
        return  # an object can have others below its key
    with pytest.raises(PinflowError, match="file/below"):
        storage.write_bytes(join(folder, "file", "below"), b"1")


def test_the_room_that_is_left(small_disk: Path) -> None:
    for url in (str(small_disk), str(small_disk / "not" / "yet" / "there"), f"file://{small_disk}/x"):
        assert free_bytes(url) == 65536
    assert (free_bytes("s3://bucket/x"), free_bytes("hbase://host:1")) == (None, None)


@pytest.mark.parametrize("url", ["gs://bucket/x", "ftp://x", ""])
def test_other_schemes_are_refused_with_what_is_valid(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"file:///data/warehouse.*s3://.*hdfs://.*pinflow doctor") as caught:
        open_storage(url)
    assert repr(url) in str(caught.value)


def test_a_file_of_another_host_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="not a local path"):
        LocalStorage().exists("file://host/x")
