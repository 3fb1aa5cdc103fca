"""How much memory a frame takes."""

import polars as pl

TEXT_BYTES = 16


def held_bytes(frame: pl.DataFrame) -> int:
    """Bytes that a frame holds; Polars' own estimate leaves out the 16 with which it keeps each text.

    >>> held_bytes(pl.DataFrame({"id": ["p1", "p2"], "n": [1, 2]}))
    52
    """
    texts = sum(dtype == pl.String for dtype in frame.dtypes)
    return int(frame.estimated_size()) + TEXT_BYTES * frame.height * texts
