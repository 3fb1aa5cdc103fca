"""A dataset with one row a key, held in memory to find the rows of many keys again and again (AN-18)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from pinflow.mr_jobs.coded import CodedRows, joined
from pinflow.mr_jobs.coded_files import read_table
from pinflow.mr_jobs.codes import Places
from pinflow.mr_jobs.hashing import Hashes, text_hashes

ROW_BYTES = 56
"""What a row with three columns takes, about: its key, the key's hash, and codes with their share of the texts."""


@dataclass(frozen=True)
class Lookup:
    """Rows in the order of their keys' hashes; the last one is null, and no key's."""

    hashes: Hashes
    keys: pl.Series
    rows: CodedRows

    @classmethod
    def of_files(cls, paths: Iterable[str], key: str, columns: Sequence[str]) -> "Lookup":
        """The rows of Parquet files, of which each key has one."""
        whole = joined([read_table(path, [key, *columns], [key]) for path in paths])
        hashes = text_hashes(whole.others[key])
        order = np.argsort(hashes)
        texts = {}
        for name in columns:
            column, null = whole.texts[name].including(None)
            texts[name] = replace(column, codes=np.append(column.codes.take(order), np.uint32(null)))
        return cls(hashes.take(order), whole.others[key].gather(pl.Series(order)), CodedRows(texts, {}))

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
