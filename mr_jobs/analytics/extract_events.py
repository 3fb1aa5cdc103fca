"""Stage 1: the events of one type, each with its pin's board, owner and domain (AN-10)."""

import polars as pl

from pinflow.mr_jobs.batch_job import BatchJob

PIN_COLUMNS = ("pin_id", "board_id", "owner_id", "domain")


class ExtractEvents(BatchJob):
    """Join events with pins in the map task (AN-18).

    Counts `events_read`, `events_kept`, `unknown_pins` and, of these, `unknown_pins_dropped`: events without a
    domain or owner of their own.
    """

    def configure_args(self) -> None:
        """Declare the event type."""
        super().configure_args()
        self.add_passthru_arg("--event-type", required=True, help="the type whose events are read")

    def map(self, batch: pl.DataFrame) -> pl.DataFrame:
        """Events with `domain`, `owner_id`, `board_id`: the event's own first, else the pin's."""
        joined = batch.join(self._pins(), on="pin_id", how="left", maintain_order="left")
        known = pl.col("_known").is_not_null()
        merged = joined.with_columns(
            domain=pl.coalesce("domain", "domain_pin"),
            owner_id=pl.coalesce("owner_id", "owner_id_pin"),
            board_id=pl.coalesce("board_id_pin", "board_id"),
        )
        kept = merged.filter(known | pl.col("domain").is_not_null() | pl.col("owner_id").is_not_null())
        self.stats.incr_count("events_read", batch.height)
        self.stats.incr_count("events_kept", kept.height)
        self.stats.incr_count("unknown_pins", int(joined["_known"].null_count()))
        self.stats.incr_count("unknown_pins_dropped", batch.height - kept.height)
        return kept.select(
            pl.lit(self.options.event_type).alias("event_type"),
            *("domain", "owner_id", "board_id", "pin_id", "user_id", "app", "country", "metro", "network"),
        )

    def _pins(self) -> pl.DataFrame:
        if not hasattr(self, "_pin_table"):
            pins = self.table("pins", PIN_COLUMNS)
            if not pins.width:
                pins = pl.DataFrame(schema=dict.fromkeys(PIN_COLUMNS, pl.String))
            self._pin_table = pins.rename({name: f"{name}_pin" for name in PIN_COLUMNS[1:]}).with_columns(
                _known=pl.lit(True)
            )
        return self._pin_table


if __name__ == "__main__":
    ExtractEvents.run()
