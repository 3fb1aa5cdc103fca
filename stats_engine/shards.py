"""Statistics as files: Thrift's binary protocol (stats.thrift) in gzip (ST-05, ST-07).

The same statistics give the same bytes. Reading inflates under a limit, verifies gzip's checksum and the content's
own, decodes under a limit of memory and checks what it finds. thriftpy2 is imported by the first writing.
"""

import gzip
import math
import re
import struct
import zlib
from typing import Any

from pinflow.errors import DamagedFileError, PinflowError
from pinflow.stats_engine import allowance
from pinflow.stats_engine.distincts import Distinct
from pinflow.stats_engine.exact_sums import ExactSum
from pinflow.stats_engine.statistics import Histogram, Item, Items, Statistics
from pinflow.stats_engine.thrift_reading import (
    BINARY,
    DOUBLE,
    I32,
    I64,
    LIST,
    MAP,
    STRUCT,
    ThriftError,
    ThriftReader,
)

VERSION = 2
JOB = "job"
"""The stem of the file of merged statistics."""
LARGEST = 32 << 20
"""Bytes that a file may inflate to."""
MEMORY = 512 << 20
"""Bytes that decoding it may take."""

_STEP = re.compile(r"\.step-(\d+)\.thrift\.gz$")
_VERSION_FIELD = b"\x08\x00\x01"
"""How the content begins: field 1, a 32-bit integer."""
_CRC_FIELD = struct.Struct(">3sI1s")
_CRC_MARKS = b"\x08\x00\x02", b"\x00"
"""How it ends: field 2, a 32-bit integer, and the end of the struct."""
_LONGEST_SUM = 400
"""Bytes of an exact sum: more than 2 ** 64 of the largest doubles."""


def shard_name(partition: int, step: int = 0) -> str:
    """The file name of a task's statistics, by its partition number and, from 1, its step in a job of several.

    >>> shard_name(3), shard_name(3, step=2)
    ('part-00003.thrift.gz', 'part-00003.step-2.thrift.gz')
    """
    return file_name(f"part-{partition:05d}", step)


def file_name(stem: str, step: int = 0) -> str:
    """A name for statistics of a step, or of a job's only step."""
    return f"{stem}.step-{step}.thrift.gz" if step else f"{stem}.thrift.gz"


def step_of(name: str) -> int:
    """The step that a file's name tells, 0 where the job has only one.

    >>> step_of("_stats/part-00003.step-2.thrift.gz"), step_of("part-00003.thrift.gz")
    (2, 0)
    """
    found = _STEP.search(name)
    return int(found[1]) if found else 0


def encode(statistics: Statistics) -> bytes:
    """The file's content.

    A count beyond 64 bits is the largest that they hold, counted under `_dropped.NAME`. What would be larger than may
    be read is left out, the largest lists first, and counted under `_dropped`.
    """
    statistics = allowance.within_64_bits(statistics)
    content = _serialize(statistics)
    while len(content) > LARGEST:
        statistics = allowance.without_largest(statistics, len(content) - LARGEST)
        content = _serialize(statistics)
    return gzip.compress(content, compresslevel=6, mtime=0)


def decode(data: bytes, name: str) -> Statistics:
    """The statistics in a file's content; `name` is the file's, for messages.

    DamagedFileError when it is cut, changed or not statistics; PinflowError when another pinflow wrote it.
    """
    try:
        content = _inflate(data)
        version = _verified_version(content)
        if version != VERSION:
            raise PinflowError(
                f"the statistics {name} have version {version}, this pinflow reads {VERSION}; "
                "read them with the pinflow that wrote them, or make their dataset again"
            )
        return _read(content)
    except (ThriftError, ValueError, zlib.error) as error:
        raise DamagedFileError(
            f"the statistics {name} are damaged: {error}; make their dataset again with "
            "pinflow run WORKFLOW --date DAY --rebuild"
        ) from error


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    content = inflater.decompress(data, LARGEST)
    if not inflater.eof:
        too_long = bool(inflater.unconsumed_tail) or len(content) >= LARGEST
        raise ThriftError(f"they inflate to more than {LARGEST} bytes" if too_long else "the file is cut")
    if inflater.unused_data:
        raise ThriftError("something follows their end")
    return content


def _verified_version(content: bytes) -> int:
    if not content.startswith(_VERSION_FIELD) or len(content) < len(_VERSION_FIELD) + 4 + _CRC_FIELD.size:
        raise ThriftError("they have no version")
    mark, crc, stop = _CRC_FIELD.unpack(content[-_CRC_FIELD.size :])
    if (mark, stop) != _CRC_MARKS or crc != zlib.crc32(memoryview(content)[: -_CRC_FIELD.size]):
        raise ThriftError("their checksum is wrong")
    return int.from_bytes(content[3:7], "big", signed=True)


def _read(content: bytes) -> Statistics:
    reader = ThriftReader(content, MEMORY)
    whole = (I64, reader.whole)
    kinds = {
        10: ("counts", *whole),
        20: ("sums", STRUCT, lambda: _sum(reader)),
        30: ("histograms", STRUCT, lambda: _histogram(reader)),
        40: ("items", STRUCT, lambda: _items(reader)),
        50: ("distincts", STRUCT, lambda: _distinct(reader)),
    }
    maps = {
        number: (MAP, lambda kind=kind, read=read: reader.by_name(kind, read))
        for number, (_, kind, read) in kinds.items()
    }
    fields = reader.structure({1: (I32, reader.small), 2: (I32, reader.small)} | maps)
    if reader.position < len(content):
        raise ThriftError("something follows their end")
    statistics = Statistics(**{name: fields[number] for number, (name, *_) in kinds.items() if number in fields})
    try:
        statistics.check_kinds()
    except PinflowError as error:
        raise ThriftError(str(error)) from error
    return statistics


def _sum(reader: ThriftReader) -> ExactSum:
    fields = reader.structure({1: (DOUBLE, reader.double), 2: (BINARY, reader.binary)})
    if 2 not in fields:
        return ExactSum.of(_finite(fields.get(1)))
    if len(fields[2]) > _LONGEST_SUM:
        raise ThriftError(f"a sum has {len(fields[2])} bytes")
    return ExactSum(int.from_bytes(fields[2], "big", signed=True))


def _histogram(reader: ThriftReader) -> Histogram:
    text, double = (BINARY, reader.text), (DOUBLE, reader.double)
    fields = reader.structure({1: text, 2: double, 3: double, 10: (LIST, reader.buckets)})
    if 1 not in fields:
        raise ThriftError("a histogram does not say what buckets it has")
    return Histogram(fields[1], fields.get(10, {}), _finite(fields.get(2)), _finite(fields.get(3)))


def _items(reader: ThriftReader) -> Items:
    items = (LIST, reader.items)
    fields = reader.structure({1: (I32, reader.small), 10: items, 11: items})
    found = Items(fields.get(1, 0), fields.get(10, ()), fields.get(11, ()))
    if not found.is_ordered():
        raise ThriftError("a list of items is longer than its size, or not in order")
    return found


def _distinct(reader: ThriftReader) -> Distinct:
    fields = reader.structure({1: (BINARY, reader.binary), 2: (BINARY, reader.binary)})
    coupons = fields.get(1, b"")
    try:
        return Distinct(struct.unpack(f"<{len(coupons) // 4}I", coupons), fields.get(2, b""))
    except (struct.error, PinflowError) as error:
        raise ThriftError(str(error)) from error


def _finite(value: float | None) -> float:
    if value is None or not math.isfinite(value):
        raise ThriftError(f"a number is missing: {value!r}")
    return value


def _serialize(statistics: Statistics) -> bytes:
    from thriftpy2 import protocol
    from thriftpy2.utils import serialize

    binary: Any = protocol.TCyBinaryProtocolFactory
    content = serialize(_to_thrift(statistics), binary())[:-1]
    return content + _CRC_FIELD.pack(_CRC_MARKS[0], zlib.crc32(content), _CRC_MARKS[1])


def _to_thrift(statistics: Statistics) -> Any:
    from pinflow.stats_engine.thrift_types import TYPES

    return TYPES.Statistics(
        version=VERSION,
        counts=dict(sorted(statistics.counts.items())),
        sums={name: _sum_to_thrift(TYPES, value) for name, value in sorted(statistics.sums.items())},
        histograms={name: _histogram_to_thrift(TYPES, one) for name, one in sorted(statistics.histograms.items())},
        items={name: _items_to_thrift(TYPES, one) for name, one in sorted(statistics.items.items())},
        distincts={name: _distinct_to_thrift(TYPES, one) for name, one in sorted(statistics.distincts.items())},
    )


def _sum_to_thrift(types: Any, value: float) -> Any:
    exact = ExactSum.of(value)
    data = exact.units.to_bytes(exact.units.bit_length() // 8 + 1, "big", signed=True)
    return types.Sum(value=float(exact), exact=data)


def _histogram_to_thrift(types: Any, histogram: Histogram) -> Any:
    bucket = types.Bucket
    return types.Histogram(
        bucketizer=histogram.bucketizer,
        lowest=histogram.lowest,
        highest=histogram.highest,
        buckets=[bucket(low=low, high=high, count=n) for (low, high), n in sorted(histogram.buckets.items())],
    )


def _items_to_thrift(types: Any, items: Items) -> Any:
    def lists(found: tuple[Item, ...]) -> list[Any]:
        return [types.Item(item=name, value=value) for name, value in found]

    return types.Items(size=items.size, top=lists(items.top), bottom=lists(items.bottom))


def _distinct_to_thrift(types: Any, distinct: Distinct) -> Any:
    if distinct.registers:
        return types.Distinct(registers=distinct.registers)
    return types.Distinct(coupons=struct.pack(f"<{len(distinct.coupons)}I", *distinct.coupons))
