"""Frames as the rows of codes that analytics jobs work on, and back."""

import polars as pl

from pinflow.mr_jobs.coded import CodedRows
from pinflow.mr_jobs.codes import code


def coded(frame: pl.DataFrame) -> CodedRows:
    """The frame's texts as codes, its other columns as they are."""
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    others = {name: frame[name] for name in frame.columns if name not in texts}
    return CodedRows({name: code(frame[name]) for name in texts}, others)


def decoded(rows: CodedRows) -> pl.DataFrame:
    """The rows with their texts, which come first."""
    return pl.DataFrame({name: column.decode(column.codes) for name, column in rows.texts.items()} | rows.others)
