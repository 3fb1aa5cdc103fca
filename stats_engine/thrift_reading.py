"""Thrift's binary protocol, read from bytes that may lie about their sizes.

Nothing is allocated before it is known to be there, and what is decoded is charged to a budget of memory. The
libraries' readers were seen to read past the end, to take all memory and to give other values.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from pinflow.stats_engine.statistics import Item

if TYPE_CHECKING:
    from pinflow.stats_engine.packed_buckets import PackedBuckets

STOP, BYTE, DOUBLE, I16, I32, I64, BINARY, STRUCT, MAP, SET, LIST = 0, 3, 4, 6, 8, 10, 11, 12, 13, 14, 15

_WIDTHS = {2: 1, BYTE: 1, DOUBLE: 8, I16: 2, I32: 4, I64: 8, 16: 16}
_DEEPEST = 16
_OBJECT_BYTES = 300
"""What a decoded bucket, item or name takes at most, without its text."""
_BYTES_A_LETTER = 5
"""What a byte of the content takes at most, as bytes and as text."""

_I32, _I64, _DOUBLE, _FIELD = (struct.Struct(form) for form in (">i", ">q", ">d", ">bh"))
_HEAD_SIZE, _head = 7, struct.Struct(">3si").unpack_from
"""How an item begins: field 1, a text, and its size."""
_BETWEEN_SIZE, _between = 19, struct.Struct(">3sd4si").unpack_from
"""What stands between two texts: field 2, a number; the end of the struct and how the next item begins."""
_TEXT_FIELD, _VALUE_FIELD = b"\x0b\x00\x01", b"\x04\x00\x02"
_NEXT_ITEM = b"\x00" + _TEXT_FIELD
_new_item = partial(tuple.__new__, Item)

Readers = Mapping[int, tuple[int, Callable[[], Any]]]
"""By a field's id: its type, and what reads its value."""


class ThriftError(Exception):
    """The bytes are not what was expected; the text says why."""


class ThriftReader:
    """Reads values one after the other; `memory` bytes may be taken by all of them together."""

    def __init__(self, content: bytes, memory: int) -> None:
        self.content = content
        self.position = 0
        self._left = memory
        self._spend(_BYTES_A_LETTER * len(content))

    def structure(self, readers: Readers) -> dict[int, Any]:
        """The fields of a struct by id; unknown ones are skipped."""
        values: dict[int, Any] = {}
        while kind := self._byte():
            number = self._unpack(_FIELD, back=1)[1]
            if number not in readers:
                self._skip(kind)
            elif readers[number][0] != kind or number in values:
                self._fail(f"field {number} has the type {kind}, or comes twice")
            else:
                values[number] = readers[number][1]()
        return values

    def by_name(self, kind: int, read: Callable[[], Any]) -> dict[str, Any]:
        """A map from texts to values of one type."""
        key, value, count = self._byte(), self._byte(), self._size(least=4)
        if count and (key, value) != (BINARY, kind):
            self._fail(f"a map has the types {key} and {value}")
        values: dict[str, Any] = {}
        for _ in range(count):
            name = self.text()
            if name in values:
                self._fail(f"the name {name!r} comes twice")
            self._spend(_OBJECT_BYTES)
            values[name] = read()
        return values

    def whole(self) -> int:
        """A whole number of 64 bits."""
        return int(self._unpack(_I64)[0])

    def small(self) -> int:
        """A whole number of 32 bits."""
        return int(self._unpack(_I32)[0])

    def double(self) -> float:
        """A number."""
        return float(self._unpack(_DOUBLE)[0])

    def binary(self) -> bytes:
        """Bytes."""
        size = self._size(least=1)
        self.position += size
        return self.content[self.position - size : self.position]

    def text(self) -> str:
        """A text in UTF-8."""
        try:
            return self.binary().decode()
        except UnicodeDecodeError as error:
            raise ThriftError(f"a text is not UTF-8: {error}") from error

    def buckets(self) -> "PackedBuckets":
        """A list of structs of low, high and count."""
        from pinflow.stats_engine.packed_buckets import ROW, PackedBuckets

        count = self._structures()
        size = count * ROW.itemsize
        if size <= len(self.content) - self.position:
            found = PackedBuckets.read(self.content[self.position : self.position + size])
            if found is not None:
                self.position += size
                return found
        readers: Readers = {1: (DOUBLE, self.double), 2: (DOUBLE, self.double), 3: (I64, self.whole)}
        rows = [self._complete(readers) for _ in range(count)]
        return PackedBuckets.of({(low, high): number for low, high, number in rows})

    def items(self) -> tuple[Item, ...]:
        """A list of structs of a text and a number."""
        count = self._structures()
        found = tuple(self._plain_items(count))
        readers: Readers = {1: (BINARY, self.text), 2: (DOUBLE, self.double)}
        return (*found, *(Item(*self._complete(readers)) for _ in range(count - len(found))))

    def _plain_items(self, count: int) -> Iterator[Item]:
        """The first items of a list, up to one that is not made of the two fields in their order, or to the last."""
        content, texts, values = self.content, [], []
        try:
            mark, size = _head(content, self.position)
            if mark == _TEXT_FIELD:
                for _ in range(count - 1):
                    start = self.position + _HEAD_SIZE
                    end = start + size
                    mark, value, following, next_size = _between(content, end)
                    if mark != _VALUE_FIELD or following != _NEXT_ITEM or size < 0:
                        break
                    texts.append(content[start:end].decode())
                    values.append(value)
                    self.position, size = end + _BETWEEN_SIZE - _HEAD_SIZE, next_size
        except (struct.error, UnicodeDecodeError):
            pass
        return map(_new_item, zip(texts, values, strict=True))

    def _structures(self) -> int:
        kind, count = self._byte(), self._size(least=1)
        if count and kind != STRUCT:
            self._fail(f"a list has the type {kind}")
        self._spend(_OBJECT_BYTES * count)
        return count

    def _complete(self, readers: Readers) -> list[Any]:
        values = self.structure(readers)
        if len(values) < len(readers):
            self._fail("a field is missing")
        return [values[number] for number in sorted(values)]

    def _skip(self, kind: int, depth: int = 0) -> None:
        if depth > _DEEPEST:
            self._fail("something is nested too deeply")
        if kind in _WIDTHS:
            self._advance(_WIDTHS[kind])
        elif kind == BINARY:
            self._advance(self._size(least=1))
        elif kind == STRUCT:
            while field := self._byte():
                self._advance(2)
                self._skip(field, depth + 1)
        elif kind in (LIST, SET):
            self._skip_elements([self._byte()], depth)
        elif kind == MAP:
            self._skip_elements([self._byte(), self._byte()], depth)
        else:
            self._fail(f"there is no type {kind}")

    def _skip_elements(self, kinds: list[int], depth: int) -> None:
        for _ in range(self._size(least=1)):
            for kind in kinds:
                self._skip(kind, depth + 1)

    def _byte(self) -> int:
        self._advance(1)
        return self.content[self.position - 1]

    def _size(self, least: int) -> int:
        """How many follow, each of at least so many bytes."""
        count = self.small()
        if not 0 <= count * least <= len(self.content) - self.position:
            self._fail(f"{count} are said to follow")
        return count

    def _advance(self, size: int) -> None:
        self.position += size
        if self.position > len(self.content):
            self._fail("they end early")

    def _unpack(self, form: struct.Struct, back: int = 0) -> tuple[Any, ...]:
        self._advance(form.size - back)
        return form.unpack_from(self.content, self.position - form.size)

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            self._fail("they take more memory than they may")

    def _fail(self, reason: str) -> NoReturn:
        raise ThriftError(f"{reason}, at byte {self.position}")
