"""SIGINT and SIGTERM of the command that drives a run, as something that its loop can wait for."""

import contextlib
import signal
import socket
import threading
from types import FrameType
from typing import Any

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """While entered, `count` counts the signals that ask to stop; `fileno` is readable when there are new ones.

    Outside of the main thread, where Python gives no signals, it counts none.
    """

    def __init__(self) -> None:
        self.count = 0
        self.name = ""
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._before: dict[int, Any] = {}
        self._wakeup = -1

    def fileno(self) -> int:
        """For selectors."""
        return self._read.fileno()

    def clear(self) -> None:
        """Make `fileno` wait for the next signal."""
        with contextlib.suppress(BlockingIOError):
            self._read.recv(1024)

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            self._wakeup = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
            self._before = {number: signal.signal(number, self._note) for number in _NUMBERS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._before:
            signal.set_wakeup_fd(self._wakeup)
        self._read.close()
        self._write.close()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.count += 1
        self.name = signal.Signals(number).name
