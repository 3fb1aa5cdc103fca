"""Slots for tasks, which all jobs below one command share, so that what is at work, and its memory, is bounded."""

import os
import socket
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from pinflow.zygote import ADDRESS_VARIABLE

INTERVAL = 0.004
"""Seconds between two looks for a free slot."""


class Slots:
    """The `count` slots of the processes below one zygote, or of this process; a context manager, which frees its own.

    A slot is the name of a Unix socket: the system gives it to one process and takes it back when that ends.
    """

    def __init__(self, count: int) -> None:
        scope = os.environ.get(ADDRESS_VARIABLE, f"pinflow-{os.getpid()}")
        self._names = [f"\0{scope}-slot-{number}" for number in range(count)]
        self._taken: list[socket.socket] = []

    def take(self, *, wait: bool) -> bool:
        """Take a slot; False when none is free, unless `wait`."""
        held = socket.socket(socket.AF_UNIX)
        while True:
            for name in self._names:
                with suppress(OSError):
                    held.bind(name)
                    self._taken.append(held)
                    return True
            if not wait:
                held.close()
                return False
            time.sleep(INTERVAL)

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
