"""A disk that is full for a while, at any moment of a run: what was stored stays, and the same command ends it."""

import errno
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pinflow.scheduler.definition import Definition
from tests.conftest import KINDS
from tests.mariadb import MariaDb
from tests.scheduler.drive import SHAPES
from tests.scheduler.homes import Home, finish
from tests.scheduler.stories import check_stories
from tests.scheduler.yards import Yard

UrlIn = Callable[[Path], str]
TOLD = ("disk is full", "No space left on device", "make room")


@pytest.fixture(params=KINDS)
def url_in(request: pytest.FixtureRequest) -> UrlIn:
    """The URL of a new database: a file of a folder, or one of a server that has a disk of its own."""
    if request.param == "mariadb":
        server: MariaDb = request.getfixturevalue("mariadb")
        return lambda _folder: server.create()
    return lambda folder: f"sqlite:///{folder / 'pinflow.db'}"


def fill(disk: Path) -> Path:
    """A file that takes all room that is left."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
    return ballast


def fill_at_random_moments(disk: Path, url_in: UrlIn, times: int, seed: int) -> None:
    chance = random.Random(seed)
    interrupted = 0
    for number in range(times):
        folder = disk / str(number)
        folder.mkdir()
        home = Home(folder, url_in(folder))
        first = home.start("tree", 0.02)
        time.sleep(0.3 + 0.4 * chance.random())
        ballast = fill(disk)
        out, error = first.communicate(timeout=60)
        ballast.unlink()
        if first.returncode != 0:
            interrupted += 1
            assert any(text in error for text in TOLD) or "failed" in out, (out, error)
        assert finish(home.start("tree", 0.02))[-1].endswith("succeeded")
        check(home)
        home.close()
        shutil.rmtree(folder)
    assert interrupted


def check(home: Home) -> None:
    """Of the newest run each job succeeded once, and no row of the others is torn."""
    (newest,) = home.rows("SELECT run_id FROM run ORDER BY serial DESC LIMIT 1")
    done = [
        job for run, job in home.rows("SELECT run_id, job FROM attempt WHERE state = 'succeeded'") if (run,) == newest
    ]
    assert sorted(done) == list("abcdefgh")
    assert home.rows("SELECT count(*) FROM run WHERE state = 'running'") == [(0,)]
    assert home.rows("SELECT count(*) FROM attempt WHERE state = 'running'") == [(0,)]
    check_stories(home.engine)
    if home.engine.dialect.name == "sqlite":
        assert home.rows("PRAGMA integrity_check") == [("ok",)]


def fill_under_a_worker(disk: Path, folder: Path, of: Callable[..., Definition], times: int, seed: int) -> None:
    """The database's disk, not that of the jobs: no job fails, and a worker that had to end is replaced."""
    chance = random.Random(seed)
    ended = 0
    for number in range(times):
        file = disk / f"{number}.db"
        (folder / str(number)).mkdir()
        yard = Yard(folder / str(number), f"sqlite:///{file}", of)
        run_id = yard.submit(SHAPES["tree"], 0.1)
        workers = [yard.worker()]
        time.sleep(0.5 * chance.random())
        ballast = fill(disk)
        time.sleep(2)
        ballast.unlink()
        yard.until(lambda yard=yard, run_id=run_id, workers=workers: _is_done(yard, run_id, workers))
        ended += len(workers) - 1
        yard.check_whole(run_id, len(SHAPES["tree"]))
        assert yard.rows("PRAGMA integrity_check") == [("ok",)]
        yard.close()
        for each in disk.glob(f"{file.name}*"):
            each.unlink()
    assert ended


def _is_done(yard: Yard, run_id: str, workers: list[subprocess.Popen[str]]) -> bool:
    """Whether the run has succeeded; a worker that has ended is replaced, which may be while there is room again."""
    if workers[-1].poll() is not None:
        _, error = workers[-1].communicate()
        assert "database or disk is full" in error
        assert "make room" in error
        workers.append(yard.worker())
    return yard.state(run_id) == "succeeded"


def test_a_disk_that_is_full_for_a_while(disk_of: Callable[[str], Path], url_in: UrlIn) -> None:
    fill_at_random_moments(disk_of("4m"), url_in, 3, seed=1)


@pytest.mark.soak
def test_a_disk_that_is_full_at_many_moments(disk_of: Callable[[str], Path], url_in: UrlIn) -> None:
    fill_at_random_moments(disk_of("4m"), url_in, 50, seed=2)


def test_a_disk_that_is_full_for_a_while_under_a_worker(disk_of, tmp_path, of) -> None:
    fill_under_a_worker(disk_of("4m"), tmp_path, of, 3, seed=3)


@pytest.mark.soak
def test_a_disk_that_is_full_at_many_moments_under_a_worker(disk_of, tmp_path, of) -> None:
    fill_under_a_worker(disk_of("4m"), tmp_path, of, 50, seed=4)
