"""Reads a split as blocks of whole lines, plain, gzip or zstd, holding no more than a block in memory.

A compressed file that is cut or corrupt gives its complete lines; what follows them is one bad line.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from pinflow.errors import InputError
from pinflow.mr_jobs.inputs.splits import Split, open_input
from pinflow.storage import is_remote

BLOCK_BYTES = 16 * 1024 * 1024
LONGEST_LINE = 16 * 1024 * 1024
"""A line with more bytes than this is a bad line."""

MAX_TEXT = 64 * 1024
"""Bytes of a bad line that are kept; the rest of a longer one is cut off."""

_COMPRESSED_CHUNK = 16 * 1024
_SCAN = 64 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class BadLine(NamedTuple):
    """A line that cannot be used: where it starts (bytes; rows in Parquet), why, and its first `MAX_TEXT` bytes."""

    offset: int
    reason: str
    text: bytes


@dataclass(frozen=True)
class Block:
    """Whole lines and the offset of the first, in bytes of the uncompressed file.

    `bad` are lines found unusable while reading (too long, cut off): they are not in `data`. `truncated` is set
    in the one block that met the early end of a compressed file.
    """

    data: bytes
    offset: int = 0
    bad: tuple[BadLine, ...] = ()
    truncated: bool = False


class _CutShortError(Exception):
    """The compressed data ends or breaks before its end mark: never seen outside this module."""


def read_blocks(split: Split, block_bytes: int = BLOCK_BYTES, *, longest_line: int = LONGEST_LINE) -> Iterator[Block]:
    """Yield the lines of `split` in blocks of about `block_bytes`; raises `InputError` when it cannot be opened."""
    try:
        with open_input(split.path) as file:
            size = max(2, min(block_bytes, longest_line))
            if split.compression:
                inflate = _gzip_pieces if split.compression == "gzip" else _zstd_pieces
                yield from _cut(_gather(inflate(file, size // 2), size // 2), 0, longest_line)
            else:
                start = _line_start(file, split.start)
                end = _line_start(file, split.start + split.length)
                read = _plain_pieces if is_remote(split.path) else _pieces_of_lines
                yield from _cut(read(file, start, end, size), start, longest_line)
    except OSError as error:
        raise InputError(
            f"cannot read the input file {split.path}: {error.strerror or error}. Run again once it is back"
        ) from error


def _line_start(file: BinaryIO, position: int) -> int:
    """The first line start at or after `position`; the end of the file when there is none."""
    if position <= 0:
        return 0
    place = file.seek(position - 1)
    while chunk := file.read(_SCAN):
        found = chunk.find(b"\n")
        if found >= 0:
            return place + found + 1
        place += len(chunk)
    return place


def _plain_pieces(file: BinaryIO, start: int, end: int, size: int) -> Iterator[bytes]:
    file.seek(start)
    while start < end and (piece := file.read(min(size, end - start))):
        start += len(piece)
        yield piece


def _pieces_of_lines(file: BinaryIO, start: int, end: int, size: int) -> Iterator[bytes]:
    """Pieces that end where a line does, if one ends in their last `_SCAN` bytes: they are cut without a copy."""
    while start < end:
        stop = min(start + size, end)
        if stop < end:
            place = file.seek(max(start, stop - _SCAN))
            found = file.read(stop - place).rfind(b"\n") + 1
            stop = place + found if found else stop
        file.seek(start)
        piece = file.read(stop - start)
        if not piece:
            return
        start += len(piece)
        yield piece


def _gzip_pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Inflate every member, checking its CRC; zeros between and after members are padding."""
    inflater = None
    members = 0
    data = b""
    while data := data or file.read(_COMPRESSED_CHUNK):
        if inflater is None:
            data = data.lstrip(b"\0") if members else data
            if not data:
                continue
            inflater = zlib.decompressobj(wbits=31)
            members += 1
        try:
            piece = inflater.decompress(data, size)
        except zlib.error as error:
            raise _CutShortError(str(error)) from error
        if piece:
            yield piece
        data = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
        if inflater.eof:
            inflater = None
    while inflater is not None and (piece := inflater.decompress(b"", size)):
        yield piece
    if not members or (inflater is not None and not inflater.eof):
        raise _CutShortError("the file ends inside its compressed data")


def _zstd_pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    import zstandard

    inflater = None
    frames = 0
    data = b""
    while data := data or file.read(_COMPRESSED_CHUNK):
        if inflater is None:
            inflater = zstandard.ZstdDecompressor().decompressobj()
            frames += 1
        try:
            output = inflater.decompress(data)
        except zstandard.ZstdError as error:
            raise _CutShortError(str(error)) from error
        yield from (output[at : at + size] for at in range(0, len(output), size))
        data = inflater.unused_data if inflater.eof else b""
        if inflater.eof:
            inflater = None
    if inflater is not None or not frames:
        raise _CutShortError("the file ends inside its compressed data")


def _gather(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Join small pieces to at least `size` bytes, so that blocks are few; passes on an early end last."""
    held: list[bytes] = []
    length = 0
    try:
        for piece in pieces:
            held.append(piece)
            length += len(piece)
            if length >= size:
                yield b"".join(held)
                held, length = [], 0
    except _CutShortError:
        if held:
            yield b"".join(held)
        raise
    if held:
        yield b"".join(held)


def _cut(pieces: Iterator[bytes], offset: int, longest: int) -> Iterator[Block]:
    """Cut pieces, each no longer than `longest`, into blocks at ends of lines."""
    rest = b""  # the start of a line that is not complete yet
    skipped = 0  # length of an over-long line so far; only its start is in `rest`
    try:
        for piece in pieces:
            end = piece.find(b"\n") + 1
            length = skipped or len(rest)
            if skipped or length + (end - 1 if end else len(piece)) > longest:
                rest = (rest + piece[: end - 1 if end else MAX_TEXT])[:MAX_TEXT]
                if not end:
                    skipped = length + len(piece)
                    continue
                yield Block(b"", offset, (_too_long(offset, rest),))
                offset += length + end
                rest, skipped, piece = b"", 0, piece[end:]
            last = piece.rfind(b"\n") + 1
            if last:
                data = piece if last == len(piece) and not rest else b"".join((rest, memoryview(piece)[:last]))
                yield _block(data, offset)
                offset += len(data)
                rest = piece[last:]
            else:
                rest += piece
    except _CutShortError as error:
        yield Block(b"", offset, (BadLine(offset, f"cut off: {error}", rest[:MAX_TEXT]),), truncated=True)
        return
    if skipped:
        yield Block(b"", offset, (_too_long(offset, rest),))
    elif rest:
        yield _block(rest, offset)


def _block(data: bytes, offset: int) -> Block:
    if offset == 0 and data.startswith(_BYTE_ORDER_MARK):
        return Block(data[3:], 3)
    return Block(data, offset)


def _too_long(offset: int, head: bytes) -> BadLine:
    return BadLine(offset, "line too long", head)
