"""Workers whose server is killed and started again in the middle of a run that they share."""

import signal
import time
from pathlib import Path

import pytest

from tests.mariadb import MariaDb
from tests.scheduler.drive import SHAPES
from tests.scheduler.yards import Yard

pytestmark = pytest.mark.mariadb
TREE = SHAPES["tree"]


def kill_the_server(server: MariaDb, folder: Path, of: object, moments: list[float]) -> None:
    folder.mkdir()
    yard = Yard(folder, server.create(), of)
    try:
        workers = [yard.worker(), yard.worker()]
        run_id = yard.submit(TREE, 0.3)
        for moment in moments:
            time.sleep(moment)
            server.kill()
            time.sleep(0.3)
            server.start()
        yard.until(lambda: yard.state(run_id) == "succeeded", 120)
        yard.check_whole(run_id, len(TREE))
        done = {(job, int(fence)) for job, fence, _ in yard.notes()}
        assert done >= set(yard.rows("SELECT job, fence FROM attempt WHERE state = 'succeeded'"))
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        for worker in workers:
            out, error = worker.communicate(timeout=30)
            assert (worker.returncode, error, out.splitlines()[-1]) == (0, "", "stopped by SIGTERM")
    finally:
        yard.close()


def test_the_server_is_killed_and_started_under_workers(own_mariadb, tmp_path, of):
    for number, moments in enumerate([[0.05], [0.3], [0.1, 0.4]]):
        kill_the_server(own_mariadb, tmp_path / str(number), of, moments)


@pytest.mark.soak
def test_the_server_is_killed_and_started_under_workers_many_times(own_mariadb, tmp_path, of):
    for number in range(50):
        kill_the_server(own_mariadb, tmp_path / str(number), of, [0.02 * number % 0.9, 0.03 * number % 0.5])
