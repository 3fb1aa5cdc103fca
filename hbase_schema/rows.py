"""From columns to sorted rows for `writer.write_period`; the columns are lists, such as those of a frame.

Keys come from `keys.row_keys`, in any order. 280,000 cells take a few tenths of a second.
"""

from collections.abc import Iterable, Mapping, Sequence

from pinflow.hbase_schema.tables import (
    Number,
    Row,
    audience_qualifier,
    encode_item,
    encode_number,
    list_prefix,
    metric_qualifier,
    rank_suffix,
)


def metric_rows(keys: Sequence[bytes], metrics: Mapping[str, Sequence[Number | None]]) -> list[Row]:
    """Rows of metrics from one column of numbers per metric, each as long as `keys`; None leaves the cell out.

    >>> metric_rows([b"k2", b"k1"], {"repin": [1, None], "like": [2, 5]})
    [(b'k1', {b'like': b'5'}), (b'k2', {b'repin': b'1', b'like': b'2'})]
    """
    found: dict[bytes, dict[bytes, bytes]] = {key: {} for key in keys}
    for name, values in metrics.items():
        qualifier = metric_qualifier(name)
        for key, value in zip(keys, values, strict=True):
            if value is not None:
                found[key][qualifier] = encode_number(value)
    return sorted(found.items())


def audience_rows(
    keys: Sequence[bytes], kinds: Sequence[str], values: Sequence[str], counts: Sequence[int]
) -> list[Row]:
    """Rows of audiences from one entry per key, attribute (`country`, …) and value."""
    pairs = list(zip(kinds, values, strict=True))
    qualifiers = {pair: audience_qualifier(*pair) for pair in set(pairs)}
    return _collect(keys, (qualifiers[pair] for pair in pairs), map(encode_number, counts))


def top_rows(
    keys: Sequence[bytes],
    items: Sequence[str],
    by: Sequence[str],
    ranks: Sequence[int | None],
    ids: Sequence[str],
    values: Sequence[Number],
) -> list[Row]:
    """Rows of top lists from one entry per key, list and rank; the remainder has rank None and id `_other`."""
    places = list(zip(items, by, ranks, strict=True))
    qualifiers = {
        (item, criterion, rank): list_prefix(item, criterion) + rank_suffix(rank)
        for item, criterion, rank in set(places)
    }
    return _collect(keys, (qualifiers[place] for place in places), map(encode_item, ids, values))


def _collect(keys: Sequence[bytes], qualifiers: Iterable[bytes], values: Iterable[bytes]) -> list[Row]:
    found: dict[bytes, dict[bytes, bytes]] = {}
    for key, qualifier, value in zip(keys, qualifiers, values, strict=True):
        cells = found.get(key)
        if cells is None:
            cells = found[key] = {}
        cells[qualifier] = value
    return sorted(found.items())
