"""Databases to test stores and statistics over, SQLite and with the marker `mariadb` a real server; small disks."""

import os
import subprocess
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import settings

from tests.mariadb import MariaDb

# A loaded machine makes single examples slow; what is slow by itself shows in the time of the whole suite.
settings.register_profile("pinflow", deadline=None)
settings.load_profile("pinflow")

KINDS = ["sqlite", pytest.param("mariadb", marks=pytest.mark.mariadb)]
# where the engines are, and the process of a test module that forks its tasks
KEPT = ("PINFLOW_ENGINES", "PINFLOW_ENGINES_PORT", "PINFLOW_ENGINES_PATIENCE", "PINFLOW_ZYGOTE")


@pytest.fixture(autouse=True)
def own_settings() -> Iterator[None]:
    """Each test starts without settings from outside; those that commands set in this process end with it."""
    with patch.dict(os.environ):
        for name in [name for name in os.environ if name.startswith("PINFLOW_") and name not in KEPT]:
            del os.environ[name]
        yield


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDb]:
    """A server for all tests of this process."""
    server = MariaDb()
    server.start()
    yield server
    server.close()


@pytest.fixture
def own_mariadb() -> Iterator[MariaDb]:
    """A server for one test, which may kill it."""
    server = MariaDb()
    server.start()
    yield server
    server.close()


@pytest.fixture(params=KINDS)
def new_database(request: pytest.FixtureRequest, tmp_path) -> Callable[[], str]:
    """Gives the URL of an empty database at each call."""
    if request.param == "mariadb":
        return request.getfixturevalue("mariadb").create
    numbers = count(1)
    return lambda: f"sqlite:///{tmp_path / f'pinflow-{next(numbers)}.db'}"


@pytest.fixture
def database_url(new_database: Callable[[], str]) -> str:
    """The URL of an empty database."""
    return new_database()


@pytest.fixture
def disk_of(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts an empty disk of a size such as `64k`; one a test."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(size: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk]
        mounted = subprocess.run(command, check=False, capture_output=True, text=True)
        if mounted.returncode:
            pytest.skip(f"only root may mount a small disk: {mounted.stderr.strip()}")
        return disk

    yield mount
    if disk.is_mount():
        subprocess.run(["umount", "--lazy", disk], check=True)
