"""Stage 1: the events of one type, each with its pin's board, owner and domain (AN-10)."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import polars as pl
import pyarrow as pa

from pinflow.mr_jobs.coded import CodedRows, read_rows, table_of
from pinflow.mr_jobs.coded_job import CodedJob
from pinflow.mr_jobs.codes import Coded, coalesced
from pinflow.mr_jobs.splits import shares

PIN_COLUMNS = ("domain", "owner_id", "board_id")
KEPT_COLUMNS = ("domain", "owner_id", "board_id", "pin_id", "user_id", "app", "country", "metro", "network")

_BYTES_A_ROW = 128
"""Of a task's memory for each event whose pin is looked up with those of others: as if all of these were different."""


class ExtractEvents(CodedJob):
    """Join events with pins in the map task (AN-18).

    Counts `events_read`, `events_kept`, `unknown_pins` and, of these, `unknown_pins_dropped`: events without a
    domain or owner of their own.
    """

    plain = ("user_id",)

    def configure_args(self) -> None:
        """Declare the event type."""
        super().configure_args()
        self.add_passthru_arg("--event-type", required=True, help="the type whose events are read")

    def rows_together(self, dataset: str) -> int:
        """Many: the pins of a batch are hashed and searched once."""
        return 1 << 20

    def wanted(self, dataset: str) -> Sequence[str]:
        """All of an event but its type."""
        return KEPT_COLUMNS

    def batches(self, lines: Iterator[bytes]) -> Iterator[CodedRows]:
        """The batches of input lines whose pins are looked up together, for `map`; then those of the next lines."""
        for some in shares(lines, lambda line: self.split_of(line).rows, self.memory // _BYTES_A_ROW):
            self._pins = self.lookup("pins", PIN_COLUMNS, partial(self._pins_of, some))
            yield from super().batches(iter(some))
            del self._pins  # the next lookup takes its memory

    def _pins_of(self, lines: Sequence[bytes]) -> pl.Series:
        """The pins that input lines name."""
        pins = [read_rows(self.split_of(line), ["pin_id"]).texts["pin_id"].values for line in lines]
        return pl.concat(pins).unique()

    def map(self, batch: CodedRows) -> pa.Table:
        """Events with `domain`, `owner_id`, `board_id`: the event's own first, else the pin's."""
        pin = batch.texts["pin_id"]
        of_pin, is_known = self._pins.find(pin.values)
        domain, owner, board = (pin.through(of_pin.texts[name]) for name in PIN_COLUMNS)
        columns = {
            **batch.texts,
            "event_type": Coded.constant(self.options.event_type, batch.height),
            "domain": coalesced(batch.texts["domain"], domain),
            "owner_id": coalesced(batch.texts["owner_id"], owner),
            "board_id": coalesced(board, batch.texts["board_id"]),
        }
        is_unknown = ~pin.by_row(is_known)
        is_dropped = is_unknown & columns["domain"].is_null() & columns["owner_id"].is_null()
        dropped = int(is_dropped.sum())
        self.stats.incr_count("events_read", batch.height)
        self.stats.incr_count("events_kept", batch.height - dropped)
        self.stats.incr_count("unknown_pins", int(is_unknown.sum()))
        self.stats.incr_count("unknown_pins_dropped", dropped)
        kept = np.flatnonzero(~is_dropped)
        events = table_of(
            {name: column.chosen(kept) for name, column in columns.items()}, user_id=batch.others["user_id"][kept]
        )
        return events.select(["event_type", *KEPT_COLUMNS])


if __name__ == "__main__":
    ExtractEvents.run()
