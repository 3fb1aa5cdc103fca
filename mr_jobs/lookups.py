"""A dataset with one row a key, held in memory to find the rows of many keys again and again (AN-18)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.parquet as pq

from pinflow.mr_jobs.coded import CodedRows
from pinflow.mr_jobs.codes import Places, code
from pinflow.mr_jobs.hashing import Hashes, text_hashes
from pinflow.storage import open_storage

_ROW_BYTES = 40
"""What a row takes beside its texts: where its key lies, the key's hash, and a code for each of three columns."""


@dataclass(frozen=True)
class Lookup:
    """Rows in the order of their keys' hashes; the last one is null, and no key's."""

    hashes: Hashes
    keys: pl.Series
    rows: CodedRows

    @classmethod
    def of_rows(cls, parts: Iterable[pl.DataFrame], key: str, columns: Sequence[str]) -> "Lookup":
        """The rows of frames, of which each key has one."""
        nothing = pl.DataFrame(schema=dict.fromkeys([key, *columns], pl.String))
        rows = pl.concat([nothing, *parts], how="vertical_relaxed")
        hashes = text_hashes(rows[key])
        order = np.argsort(hashes)
        texts = {}
        for name in columns:
            column, null = code(rows[name]).including(None)
            texts[name] = replace(column, codes=np.append(column.codes.take(order), np.uint32(null)))
        return cls(hashes.take(order), rows[key].gather(pl.Series(order)), CodedRows(texts, {}))

    def find(self, keys: pl.Series) -> tuple[CodedRows, npt.NDArray[np.bool_]]:
        """The columns of each key, null where it is not there; and whether it is."""
        places = self._places(keys)
        return self.rows.chosen(places).used(), places < len(self.keys)

    def _places(self, keys: pl.Series) -> Places:
        """The row of each key. Of different keys with one hash, one row after the other is compared."""
        hashes = text_hashes(keys)
        at = np.searchsorted(self.hashes, hashes)
        found = np.full(len(keys), len(self.keys), np.intp)
        searched = np.arange(len(keys))
        while len(searched := searched[at[searched] < len(self.keys)]):
            searched = searched[self.hashes.take(at[searched]) == hashes.take(searched)]
            rows = at[searched]
            is_key = (self.keys.gather(pl.Series(rows)) == keys.gather(pl.Series(searched))).fill_null(False).to_numpy()
            found[searched[is_key]] = rows[is_key]
            searched = searched[~is_key]
            at[searched] += 1
        return found


def size_of(paths: Iterable[str], columns: Sequence[str]) -> int:
    """Bytes that a lookup of these Parquet files takes, about."""
    size = 0
    for path in paths:
        with open_storage(path).open_input(path) as file:
            metadata = pq.read_metadata(file)
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
        wanted = [chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema in columns]
        size += sum(wanted) + metadata.num_rows * _ROW_BYTES
    return size
