"""The input of a plain `MRJob`, which knows nothing of splits: lines of raw files, rows of datasets as JSON."""

import io
import json
from collections.abc import Callable, Iterable, Iterator

from pinflow.errors import InputError
from pinflow.mr_jobs.inputs.blocks import read_blocks
from pinflow.mr_jobs.inputs.splits import Split
from pinflow.mr_jobs.splits import DatasetSplit, read_split


def lines_of(splits: Iterable[bytes]) -> Iterator[bytes]:
    """The lines that input lines name, each a split of a raw file or of a dataset.

    Raises `InputError` for a raw file that is cut, that has a line too long to be read, or that is Parquet.
    """
    for line in splits:
        if line.startswith(b"["):
            yield from io.BytesIO(read_split(DatasetSplit.from_line(line)).write_ndjson().encode())
        else:
            yield from _raw_lines(Split.from_json(json.loads(line)))


def counted(lines: Iterable[bytes], tell: Callable[[int], None]) -> Iterator[bytes]:
    """The same lines; `tell` gets their number at the end, also when not all of them were taken.

    >>> list(counted([b"a", b"b"], print))
    2
    [b'a', b'b']
    """
    number = 0
    try:
        for number, line in enumerate(lines, 1):  # noqa: B007 - told at the end
            yield line
    finally:
        tell(number)


def _raw_lines(split: Split) -> Iterator[bytes]:
    if split.kind_of_file == "parquet":
        raise InputError(f"a plain MRJob reads lines, but {split.path} is Parquet; write a RecordJob or a BatchJob")
    for block in read_blocks(split):
        if block.bad:
            place, reason = block.bad[0].offset, block.bad[0].reason
            raise InputError(f"cannot read {split.path} at byte {place}: {reason}. Repair it, then run again")
        yield from io.BytesIO(block.data)
