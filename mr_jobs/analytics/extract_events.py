"""Stage 1: the events of one type, each with its pin's board, owner and domain (AN-10)."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from pinflow.mr_jobs.coded import CodedRows, dtype_of, frame_of
from pinflow.mr_jobs.coded_job import CodedJob
from pinflow.mr_jobs.codes import coalesced, spread

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
        pin = batch.texts["pin_id"]
        of_pin = pin.values.to_frame("pin_id").join(self._pins(), on="pin_id", how="left", maintain_order="left")
        domain, owner, board = (spread(of_pin[name], pin) for name in ("domain", "owner_id", "board_id"))
        columns = {
            **batch.texts,
            "domain": coalesced(batch.texts["domain"], domain),
            "owner_id": coalesced(batch.texts["owner_id"], owner),
            "board_id": coalesced(board, batch.texts["board_id"]),
        }
        is_unknown = of_pin["known"].is_null().to_numpy()[pin.codes]
        is_dropped = is_unknown & columns["domain"].is_null() & columns["owner_id"].is_null()
        dropped = int(is_dropped.sum())
        self.stats.incr_count("events_read", batch.height)
        self.stats.incr_count("events_kept", batch.height - dropped)
        self.stats.incr_count("unknown_pins", int(is_unknown.sum()))
        self.stats.incr_count("unknown_pins_dropped", dropped)
        kept = np.flatnonzero(~is_dropped)
        events = frame_of({name: column.chosen(kept) for name, column in columns.items()})
        event_type = pl.lit(self.options.event_type, dtype_of("event_type")).alias("event_type")
        return events.with_columns(event_type, batch.others["user_id"][kept]).select("event_type", *KEPT_COLUMNS)

    def _pins(self) -> pl.DataFrame:
        if not hasattr(self, "_pin_table"):
            pins = self.table("pins", PIN_COLUMNS)
            if not pins.width:
                pins = pl.DataFrame(schema=dict.fromkeys(PIN_COLUMNS, pl.String))
            self._pin_table = pins.with_columns(known=pl.lit(True))
        return self._pin_table


if __name__ == "__main__":
    ExtractEvents.run()
