"""Frames as the rows of codes that analytics jobs work on, and back; and as datasets that jobs join with."""

from dataclasses import replace
from pathlib import Path

import polars as pl

from pinflow.mr_jobs.clustering import split
from pinflow.mr_jobs.coded import CodedRows
from pinflow.mr_jobs.codes import code
from pinflow.mr_jobs.datasets import Part, Published
from pinflow.mr_jobs.launch import describe


def coded(frame: pl.DataFrame) -> CodedRows:
    """The frame's texts as codes, its other columns as they are."""
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    others = {name: frame[name] for name in frame.columns if name not in texts}
    return CodedRows({name: code(frame[name]) for name in texts}, others)


def decoded(rows: CodedRows) -> pl.DataFrame:
    """The rows with their texts, which come first."""
    return pl.DataFrame({name: column.decode(column.codes) for name, column in rows.texts.items()} | rows.others)


def write_clustered(folder: Path, rows: pl.DataFrame, key: str, buckets: int) -> None:
    """The rows as a published dataset in a folder, clustered by a column."""
    published = Published(folder.name, "2015-05-18", "_a", 1, "", rows.height, 1, (), (key,), buckets)
    parts = []
    for bucket, part in split(rows, [key], buckets):
        parts.append(Part(f"part-{bucket:05d}.parquet", part.height, 1, bucket))
        part.write_parquet(folder / parts[-1].name)
    describe(replace(published, parts=tuple(parts)), str(folder))
