"""Other schedulers on the shapes of pinflow's benchmark, each in a virtual environment of its own."""

import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from benchmarks.scheduler.peers import airflow_peer, luigi_peer
from benchmarks.scheduler.peers.environments import NotInstalledError, environment_of
from benchmarks.scheduler.peers.measured import PEER_SHAPES, Shapes


@dataclass(frozen=True)
class Peer:
    """A distribution with its version, and what measures it with the programs of its environment in a new folder."""

    distribution: str
    version: str
    milliseconds: Callable[[Path, Path, Shapes, int], dict[str, float]]
    most_rounds: int = sys.maxsize


PEERS = {
    "luigi": Peer("luigi", "3.8.1", luigi_peer.milliseconds),
    "airflow": Peer("apache-airflow", "3.3.2", airflow_peer.milliseconds, most_rounds=1),
}


def measure(name: str, rounds: int, shapes: Shapes = PEER_SHAPES) -> dict[str, str | float]:
    """The version and milliseconds a job of each shape, or why the peer is missing.

    Raises `FailedError` when it runs, but does not do what it should.
    """
    peer = PEERS[name]
    try:
        programs = environment_of(peer.distribution, peer.version)
    except NotInstalledError as error:
        return {"missing": str(error)}
    with tempfile.TemporaryDirectory(prefix=f"pinflow-{name}-") as folder, _ended_by_signal():
        found = peer.milliseconds(programs, Path(folder), shapes, min(rounds, peer.most_rounds))
    return {"version": peer.version, **{f"{shape}_ms": taken for shape, taken in found.items()}}


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """A request to end is an exception, so that no server stays behind."""

    def end(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
