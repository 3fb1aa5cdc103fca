"""Stage 1: the raw events of a day, read once, checked, split by type (AN-09)."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from pinflow.mr_jobs.analytics.columns import EVENT_TYPES
from pinflow.mr_jobs.analytics.raw_input import ParsedBlock, RawInputJob
from pinflow.mr_jobs.batch_job import BatchJob
from pinflow.stats_engine.bucketizers import LinearBucketizer


class ReadEvents(RawInputJob, BatchJob):
    """Keep the day's events of known types, in one folder a type.

    Counts `lines_read` = `events_kept` + `blank_lines` + `bad_lines` + `other_event_types` + `out_of_day_events`. Of
    access logs `lines_read` = `page_views` + `blank_lines` + `bad_lines` + `dropped_…` by reason; there a page view
    with a foreign referrer is two events.
    """

    kind = "events"
    partition_by = "event_type"

    def batches(self, lines: Iterator[bytes]) -> Iterator[ParsedBlock]:
        """Parsed blocks of the raw files."""
        return self.parsed_blocks(lines)

    def map(self, batch: ParsedBlock) -> pl.DataFrame:
        """The events of the block that count for the day."""
        if batch.parsed.bad:
            self.set_aside(self.bad_lines(batch))
        events = batch.parsed.frame
        known = _where(events, events["event_type"].is_in(EVENT_TYPES))
        start = datetime.combine(date.fromisoformat(self.options.date), time(), UTC)
        kept = _where(known, known["timestamp"].is_between(start, start + timedelta(days=1), closed="left"))
        self.stats.incr_count("other_event_types", events.height - known.height)
        self.stats.incr_count("out_of_day_events", known.height - kept.height)
        self.stats.incr_count("events_kept", kept.height)
        for event, number in kept["event_type"].value_counts().iter_rows():
            self.stats.incr_count(event, number)
        self.stats.add_to_histogram("hour_of_day", (kept["timestamp"] - start).dt.total_hours())
        self.stats.add_to_histogram("event_time", kept["timestamp"].dt.epoch("s"), _hours_of(start))
        return kept.drop("timestamp")


def _where(events: pl.DataFrame, is_wanted: pl.Series) -> pl.DataFrame:
    """The events that are wanted; no copy is made when all are."""
    return events if is_wanted.all() else events.filter(is_wanted)


def _hours_of(start: datetime) -> LinearBucketizer:
    first = start.timestamp()
    return LinearBucketizer(first, first + timedelta(days=1).total_seconds(), 24)


if __name__ == "__main__":
    ReadEvents.run()
