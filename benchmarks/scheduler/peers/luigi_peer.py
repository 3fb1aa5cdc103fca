"""Luigi: a luigid, and two worker processes that fork for every job."""

import json
import socket
import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.scheduler.peers.measured import JobRun, Shapes, milliseconds_a_job
from benchmarks.scheduler.peers.processes import environment, finish, free_port, running, wait_until

SCRIPT = Path(__file__).with_name("inside") / "luigi_jobs.py"
START_SECONDS = 60


def milliseconds(programs: Path, folder: Path, shapes: Shapes, rounds: int) -> dict[str, float]:
    """For each shape the median of its rounds, in milliseconds a job."""
    variables, port, log = environment(folder), free_port(), folder / "luigid.log"
    state = str(folder / "luigid.state")
    command = [str(programs / "luigid"), "--address", "127.0.0.1", "--port", str(port), "--state-path", state]
    with running(command, variables, folder, log) as luigid:
        wait_until(lambda: _listens(port), {log: luigid}, START_SECONDS, pause=0.1)
        found = {}
        for shape, jobs in shapes.items():
            (folder / f"{shape}.json").write_text(json.dumps(jobs))
            taken = []
            for number in range(rounds):
                done = folder / f"{shape}-{number}"
                done.mkdir()
                arguments = [str(programs / "python"), str(SCRIPT), str(folder / f"{shape}.json"), str(done), str(port)]
                finish(arguments, variables, folder, folder / "worker.log")
                taken.append(milliseconds_a_job(jobs, _runs(done)))
            found[shape] = statistics.median(taken)
    return found


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _runs(folder: Path) -> Sequence[JobRun]:
    return [JobRun(file.name, *map(float, file.read_text().split())) for file in folder.iterdir()]
