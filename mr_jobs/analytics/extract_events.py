"""Stage 1: the events of one type, each with its pin's board, owner and domain (AN-10)."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from pinflow.mr_jobs.coded import CodedRows, categorical, dtype_of, frame_of
from pinflow.mr_jobs.coded_job import CodedJob
from pinflow.mr_jobs.codes import Coded, coalesced, code

PIN_COLUMNS = ("pin_id", "board_id", "owner_id", "domain")
KEPT_COLUMNS = ("domain", "owner_id", "board_id", "pin_id", "user_id", "app", "country", "metro", "network")


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

    def wanted(self, dataset: str) -> Sequence[str]:
        """All of an event but its type."""
        return KEPT_COLUMNS

    def map(self, batch: CodedRows) -> pl.DataFrame:
        """Events with `domain`, `owner_id`, `board_id`: the event's own first, else the pin's."""
        texts = {name: categorical(name, column) for name, column in batch.texts.items()}
        pin = texts["pin_id"]
        of_pin, is_known = self._pins.of(pin)
        columns = {
            **texts,
            "domain": coalesced(texts["domain"], of_pin["domain"]),
            "owner_id": coalesced(texts["owner_id"], of_pin["owner_id"]),
            "board_id": coalesced(of_pin["board_id"], texts["board_id"]),
        }
        is_dropped = ~is_known & columns["domain"].is_null() & columns["owner_id"].is_null()
        dropped = int(is_dropped.sum())
        self.stats.incr_count("events_read", batch.height)
        self.stats.incr_count("events_kept", batch.height - dropped)
        self.stats.incr_count("unknown_pins", int((~is_known).sum()))
        self.stats.incr_count("unknown_pins_dropped", dropped)
        kept = np.flatnonzero(~is_dropped)
        events = frame_of({name: column.chosen(kept) for name, column in columns.items()})
        event_type = pl.lit(self.options.event_type, dtype_of("event_type")).alias("event_type")
        return events.with_columns(event_type, batch.others["user_id"][kept]).select("event_type", *KEPT_COLUMNS)

    @cached_property
    def _pins(self) -> "_Pins":
        pins = self.table("pins", PIN_COLUMNS)
        return _Pins(pins if pins.width else pl.DataFrame(schema=dict.fromkeys(PIN_COLUMNS, pl.String)))


class _Pins:
    """What is known of pins, found by their ids without hashing more than each batch's different ones."""

    def __init__(self, pins: pl.DataFrame) -> None:
        self._ids = pins["pin_id"].cast(dtype_of("pin_id"))  # as long as these live, an id has one number
        numbers = self._ids.to_physical().to_numpy()
        self._row = np.full(int(numbers.max()) + 1 if len(numbers) else 0, len(numbers), np.uint32)
        self._row[numbers] = np.arange(len(numbers), dtype=np.uint32)
        nothing = pl.DataFrame(schema=pins.schema).clear(1)  # what is said of an unknown pin
        self._columns = {
            name: categorical(name, code(pl.concat([pins[name], nothing[name]]))) for name in PIN_COLUMNS[1:]
        }
        self._unknown = pins.height

    def of(self, pin: Coded) -> tuple[dict[str, Coded], npt.NDArray[np.bool_]]:
        """For rows with pins: board, owner and domain of each, and whether the pin is known."""
        found = pin.values.to_physical().fill_null(len(self._row)).to_numpy()
        is_there = found < len(self._row)
        rows = np.full(len(found), self._unknown, np.uint32)
        rows[is_there] = self._row[found[is_there]]
        rows = rows[pin.codes]
        return {name: column.chosen(rows) for name, column in self._columns.items()}, rows != self._unknown


if __name__ == "__main__":
    ExtractEvents.run()
