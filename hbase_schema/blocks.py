"""Blocks of sorted rows, compressed, as the segments of the embedded store keep them (HBase's files do the same).

A block holds the heads of its rows and their packed cells apart, so that heads can be listed without the cells.
"""

import re
import threading
from collections.abc import Iterator
from typing import NamedTuple, Self

import zstandard

from pinflow.hbase_schema.packing import unpack_strings

BLOCK_BYTES = 64 << 10
"""Packed cells of a block before compression, as far as the last row does not go beyond."""

_LEVEL = 1
_SIZED_HEAD = re.compile(rb"[^_]*_[^_]*_[^_]*_")
"""Bucket, userparam and platform, each with an underscore behind it, which `keys` escapes in them."""

PackedRow = tuple[bytes, bytes]
"""A row's key, or its head, and its packed cells."""


class _Codec(threading.local):
    """One of each thread: to make one asks the processor what it can, which takes a virtual machine 50 µs."""

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(level=_LEVEL).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_codec = _Codec()


class Block(NamedTuple):
    """Some rows in the order of their heads; `first` is the first of these."""

    first: bytes
    rows: int
    heads: bytes
    cells: bytes

    @classmethod
    def compressed(cls, first: bytes, rows: int, heads: memoryview | bytes, cells: memoryview | bytes) -> Self:
        """From heads and packed cells, each string after its length and a colon, as `packing` has them."""
        return cls(first, rows, _codec.compress(heads), _codec.compress(cells))


def heads_of(data: bytes) -> list[bytes]:
    """What tells the heads of a block apart, each with its length; raises `ValueError` on damaged data.

    They are parted by their underscores: many times faster than by their lengths.
    """
    text = _decompressed(data)
    heads = _SIZED_HEAD.findall(text)
    if sum(map(len, heads)) != len(text):
        raise ValueError("a block has part of a head")
    return heads


def rows_of(heads: bytes, cells: bytes) -> Iterator[PackedRow]:
    """The rows of a block; raises `ValueError` on damaged data."""
    return zip(_strings(heads), _strings(cells), strict=True)


def _strings(data: bytes) -> list[bytes]:
    return unpack_strings(_decompressed(data))


def _decompressed(data: bytes) -> bytes:
    try:
        return _codec.decompress(data)
    except zstandard.ZstdError as error:
        raise ValueError(f"a block cannot be read: {error}") from error
