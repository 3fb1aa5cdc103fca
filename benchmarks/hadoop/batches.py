"""The task over frames."""

import json
from collections.abc import Iterator
from functools import cached_property

import polars as pl

from benchmarks.hadoop.records import BEST, COUNT, TOP
from pinflow.mr_jobs.batch_job import BatchJob
from pinflow.mr_jobs.inputs.blocks import read_blocks
from pinflow.mr_jobs.inputs.json_lines import read_json_lines
from pinflow.mr_jobs.inputs.splits import Split

FIELDS = {"event_type": "event_type", "pin_id": "pin_id"}


class DomainsByBatch(BatchJob):
    """Of each domain the number of events of each type, and the pins with most events: `domain, kind, item, n`."""

    cluster_by = ("domain",)

    def configure_args(self) -> None:
        """Declare the pins, which are shipped with the job."""
        super().configure_args()
        self.add_passthru_arg("--pins")

    @cached_property
    def pins(self) -> pl.DataFrame:
        """The domain of each pin."""
        return pl.read_ndjson(self.options.pins, schema={"pin_id": pl.String, "domain": pl.String}).drop_nulls()

    def read(self, split_line: bytes) -> Iterator[pl.DataFrame]:
        """The events of a split of a file of JSON lines."""
        for block in read_blocks(Split.from_json(json.loads(split_line))):
            yield read_json_lines(block, FIELDS).frame

    def map(self, batch: pl.DataFrame) -> pl.DataFrame:
        """Events of each pin and type."""
        return batch.group_by("pin_id", "event_type").agg(n=pl.len())

    def combine(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The same over all blocks, with the pin's domain."""
        return frame.group_by("pin_id", "event_type").agg(pl.col("n").sum()).join(self.pins, on="pin_id")

    def reduce(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of the bucket's domains."""
        types = frame.group_by("domain", pl.col("event_type").alias("item")).agg(pl.col("n").sum())
        pins = frame.group_by("domain", pl.col("pin_id").alias("item")).agg(pl.col("n").sum())
        best = pins.sort("n", "item", descending=[True, False]).group_by("domain").head(TOP)
        columns = ["domain", "kind", "item", "n"]
        return pl.concat(
            [
                types.with_columns(kind=pl.lit(COUNT)).select(columns),
                best.with_columns(kind=pl.lit(BEST)).select(columns),
            ]
        )


if __name__ == "__main__":
    DomainsByBatch.run()
