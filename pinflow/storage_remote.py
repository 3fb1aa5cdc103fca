"""What the storages over a network share: calls that are made again for minutes, and files read by ranges."""

import io
from collections.abc import Callable
from typing import TypeVar

import tenacity

Result = TypeVar("Result")

_RANGE_BYTES = 8 << 20


def retrying(can_pass: Callable[[BaseException], bool], patience: float) -> tenacity.Retrying:
    """Makes a call again, for `patience` seconds with pauses up to 10 s, while its error can pass."""
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(can_pass),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=10),
        stop=tenacity.stop_after_delay(patience),
        reraise=True,
    )


def open_ranges(size: int, read_range: Callable[[int, memoryview], None]) -> io.BufferedReader:
    """A file of `size` bytes, seekable, that has `read_range(start, into)` fill in what is read of it."""
    return io.BufferedReader(_RangedFile(size, read_range), _RANGE_BYTES)


class _RangedFile(io.RawIOBase):
    def __init__(self, size: int, read_range: Callable[[int, memoryview], None]) -> None:
        self._size = size
        self._read_range = read_range
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        length = max(0, min(len(buffer), self._size - self._position))
        if length:
            self._read_range(self._position, memoryview(buffer)[:length])
        self._position += length
        return length
