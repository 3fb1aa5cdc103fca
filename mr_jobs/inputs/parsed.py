"""What reading gives: rows of text with their place in the input, then checked frames with what was lost."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from pinflow.mr_jobs.inputs.blocks import BadLine

Places = npt.NDArray[np.int64]

EVENT_COLUMNS = (
    "event_type",
    "timestamp",
    "user_id",
    "pin_id",
    "app",
    "country",
    "metro",
    "network",
    "domain",
    "owner_id",
    "board_id",
)
"""Columns of a frame of events: `timestamp` is Datetime('us', 'UTC'), the others are String."""


@dataclass(frozen=True)
class Parsed:
    """Rows that can be used, the lines that cannot, and counts of both.

    Always `lines_read = rows kept + blank_lines + bad_lines`; access logs, where a line can give no event or
    two, count `page_views` and `dropped_…` in place of rows.
    """

    frame: pl.DataFrame
    bad: list[BadLine]
    counts: dict[str, int]


@dataclass(frozen=True)
class Rows:
    """Some lines as columns, before any check of their values.

    `frame` has pinflow's own column names; `offsets()` gives the place of each row and `text(i)` its line,
    both computed only when asked for; `bad` and `blank` are the lines that gave no row.
    """

    frame: pl.DataFrame
    offsets: Callable[[], Places]
    text: Callable[[int], bytes]
    bad: tuple[BadLine, ...] = ()
    blank: int = 0
    truncated: bool = False

    @property
    def lines_read(self) -> int:
        """Number of lines, usable or not."""
        return self.frame.height + self.blank + len(self.bad)


def line_counts(rows: Rows, bad: int) -> dict[str, int]:
    """The counts that every kind of input has; `bad` is the number of bad lines in the end."""
    return {
        "lines_read": rows.lines_read,
        "blank_lines": rows.blank,
        "bad_lines": bad,
        "truncated_files": int(rows.truncated),
    }


def add_counts(total: dict[str, int], counts: Mapping[str, int]) -> None:
    """Add `counts` to `total`, name by name."""
    for name, number in counts.items():
        total[name] = total.get(name, 0) + number
