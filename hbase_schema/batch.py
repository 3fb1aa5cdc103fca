"""What the batches of all stores do alike: count cells, send when there are enough, and when the block ends well."""

from types import TracebackType
from typing import Self


class CollectingBatch:
    """Base of batches; `batch_size` is the number of cells after which they are sent, None: at the end."""

    def __init__(self, batch_size: int | None) -> None:
        self._size = batch_size
        self._cells = 0

    def send(self) -> None:
        """Store what was given since the last time, and count anew."""
        raise NotImplementedError

    def _added(self, cells: int) -> None:
        self._cells += cells
        if self._size is not None and self._cells >= self._size:
            self.send()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.send()
