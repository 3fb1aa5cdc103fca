"""A worker that stays, in a process of its own, so that a test can kill it: DATABASE LOGS SLOTS LEASE [GENERATION]."""

import sys
from datetime import timedelta
from pathlib import Path

from pinflow.database import open_database
from pinflow.scheduler.processes import Place
from pinflow.scheduler.records import Event
from pinflow.scheduler.service import Hooks, Service, post_of
from pinflow.scheduler.store import Store
from pinflow.zygote import Zygote, connect


def show(event: Event) -> None:
    print(event.job, event.state, flush=True)


def main() -> None:
    database, logs, slots, lease, *rest = sys.argv[1:]
    with (
        Zygote.start(["pinflow.scheduler.child"]) as zygote,
        Store(open_database(database), lease=timedelta(seconds=float(lease))) as store,
        connect(zygote.path) as forks,
    ):
        place = Place(Path(logs), slots=int(slots), folder=Path(__file__).parent)
        post = post_of(zygote.pid, int(slots), int(rest[0]) if rest else 0)
        print("ready", flush=True)
        print(Service(store, forks, place, post, Hooks(show)).serve(), flush=True)


if __name__ == "__main__":
    main()
