"""Stage 1: objects as they were dumped that day; of an id's repeated rows the last one wins (AN-09)."""

from collections.abc import Iterator

import polars as pl

from pinflow.mr_jobs.analytics.raw_input import ParsedBlock, RawInputJob
from pinflow.mr_jobs.batch_job import BatchJob
from pinflow.mr_jobs.inputs.canonical import FILE, OFFSET


class ReadObjects(RawInputJob, BatchJob):
    """Keep one row for each id, bucketed by id, so that joins never double an event.

    Counts `lines_read` = `KIND_kept` + `repeated_KIND` + `blank_lines` + `bad_lines`, for any number of tasks.
    """

    def batches(self, lines: Iterator[bytes]) -> Iterator[ParsedBlock]:
        """Parsed blocks of the raw files."""
        return self.parsed_blocks(lines)

    def map(self, batch: ParsedBlock) -> pl.DataFrame:
        """The rows of the block."""
        if batch.parsed.bad:
            self.set_aside(self.bad_lines(batch))
        return batch.parsed.frame

    def combine(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The last row of each id."""
        last = self._last(frame)
        if self.options.format == "canonical":
            self.stats.incr_count(f"repeated_{self.kind}", frame.height - last.height)
        return last

    def _last(self, frame: pl.DataFrame) -> pl.DataFrame:
        (name,) = self.cluster_by
        if frame[name].hash().n_unique() == frame.height:  # most days repeat no id; hashes tell it many times faster
            return frame
        return frame.sort(FILE, OFFSET).unique(name, keep="last", maintain_order=True)

    def reduce(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The bucket's objects in the order of their ids."""
        last = self.combine(frame).drop(FILE, OFFSET).sort(self.cluster_by)
        self.stats.incr_count(f"{self.kind}_kept", last.height)
        return last
