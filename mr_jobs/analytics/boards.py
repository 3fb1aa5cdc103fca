"""Stage 1: the boards of a day (AN-09)."""

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import polars as pl

from pinflow.mr_jobs.analytics.raw_input import RawInputJob
from pinflow.mr_jobs.inputs.canonical import FILE, OFFSET
from pinflow.mr_jobs.record_job import RecordJob

Board = dict[str, Any]


class Boards(RawInputJob, RecordJob):
    """Boards with owner and name, one row for each id: of repeated rows the last one wins.

    Counts `lines_read` = `boards_kept` + `repeated_boards` + `blank_lines` + `bad_lines`.
    """

    kind = "boards"
    schema: ClassVar = {"board_id": pl.String, "owner_id": pl.String, "name": pl.String}

    def records(self, lines: Iterator[bytes]) -> Iterator[Board]:
        """The rows of the raw files."""
        for block in self.parsed_blocks(lines):
            yield from block.parsed.frame.iter_rows(named=True)

    def mapper(self, _: None, board: Board) -> Iterator[tuple[str, Board]]:
        """Each row by its id."""
        yield board["board_id"], board

    def combiner(self, board_id: str, boards: Iterable[Board]) -> Iterator[tuple[str, Board]]:
        """The last of the rows of an id."""
        yield board_id, self._last(boards)

    def reducer(self, board_id: str, boards: Iterable[Board]) -> Iterator[tuple[str, Board]]:
        """The last of the rows of an id, as it is kept."""
        board = self._last(boards)
        self.stats.incr_count("boards_kept")
        yield board_id, {name: board[name] for name in self.schema}

    def _last(self, boards: Iterable[Board]) -> Board:
        rows = list(boards)
        if self.options.format == "canonical":
            self.stats.incr_count("repeated_boards", len(rows) - 1)
        return max(rows, key=lambda row: (row[FILE], row[OFFSET]))


if __name__ == "__main__":
    Boards.run()
