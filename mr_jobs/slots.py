"""Slots for tasks, which all jobs below one command share, so that what is at work, and its memory, is bounded."""

import os
import socket
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from pinflow.zygote import ADDRESS_VARIABLE

INTERVAL = 0.01
"""Seconds between two looks for a free slot."""


class Slots:
    """The `count` slots of the processes below one zygote, or of this process; a context manager, which frees its own.

    A slot is the name of a Unix socket: the system gives it to one process and takes it back when that ends. One more
    name is held by a job that waits for its first slot: others take no further one meanwhile.
    """

    def __init__(self, count: int) -> None:
        scope = os.environ.get(ADDRESS_VARIABLE, f"pinflow-{os.getpid()}")
        self._names = [f"\0{scope}-slot-{number}" for number in range(count)]
        self._waiting = [f"\0{scope}-waiting"]
        self._taken: list[socket.socket] = []

    def take(self, *, wait: bool) -> bool:
        """Take a slot; False when none is free, or another job waits for its first, unless `wait`."""
        if not wait:
            return not self._is_awaited() and self._take()
        queue = None
        while not self._take():
            queue = queue or _bound(self._waiting)
            time.sleep(INTERVAL)
        if queue:
            queue.close()
        return True

    def _take(self) -> bool:
        slot = _bound(self._names)
        if slot:
            self._taken.append(slot)
        return slot is not None

    def _is_awaited(self) -> bool:
        free = _bound(self._waiting)
        if free:
            free.close()
        return free is None

    def give_back(self) -> None:
        """Give one of the taken slots back."""
        self._taken.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._taken:
            self.give_back()


def _bound(names: list[str]) -> socket.socket | None:
    """A socket with the first of these names that is free."""
    held = socket.socket(socket.AF_UNIX)
    for name in names:
        with suppress(OSError):
            held.bind(name)
            return held
    held.close()
    return None
