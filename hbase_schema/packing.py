"""The cells of a row in one value, as jobs make them by the column and the embedded store keeps them.

Column and value of each cell follow each other, each as its length in decimal digits, a colon and its bytes (a
netstring without the final comma): text that can be built without a loop over rows.
"""

from collections.abc import Mapping


def pack_cells(cells: Mapping[bytes, bytes]) -> bytes:
    """The cells of a row in one value.

    >>> pack_cells({b"m:like": b"12"})
    b'6:m:like2:12'
    """
    return b"".join(b"%d:%b%d:%b" % (len(column), column, len(value), value) for column, value in cells.items())


def unpack_cells(data: bytes) -> dict[bytes, bytes]:
    """What `pack_cells` was given; raises `ValueError` on data cut short."""
    parts = unpack_strings(data)
    if len(parts) % 2:
        raise ValueError("a column has no value")
    return dict(zip(parts[::2], parts[1::2], strict=True))


def unpack_strings(data: bytes) -> list[bytes]:
    """The strings that follow each other in `data`; raises `ValueError` on data cut short.

    >>> unpack_strings(b"3:abc0:")
    [b'abc', b'']
    """
    parts = []
    position = 0
    while position < len(data):
        colon = data.index(b":", position)
        end = colon + 1 + int(data[position:colon])
        if end > len(data) or end <= colon:
            raise ValueError("the lengths do not add up")
        parts.append(data[colon + 1 : end])
        position = end
    return parts
