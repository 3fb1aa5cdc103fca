"""Statistics as files: Thrift's binary protocol (stats.thrift) in gzip (ST-05, ST-07).

The same statistics give the same bytes. Reading verifies gzip's checksum, inflates under a limit and
checks what it finds. thriftpy2 is imported by the first call.
"""

import gzip
import math
import zlib
from typing import Any

from pinflow.errors import DamagedFileError, PinflowError
from pinflow.stats_engine.exact_sums import ExactSum
from pinflow.stats_engine.statistics import Histogram, Item, Items, Statistics

VERSION = 1
JOB_SHARD = "job.thrift.gz"
LARGEST = 256 * 1024 * 1024
"""Bytes that a file may inflate to."""

_VERSION_FIELD = b"\x08\x00\x01"
"""How the content begins: field 1, a 32-bit integer."""
_LARGEST_COUNT = 2**63 - 1


def shard_name(partition: int) -> str:
    """The file name of a task's statistics, by its partition number.

    >>> shard_name(3)
    'part-00003.thrift.gz'
    """
    return f"part-{partition:05d}.thrift.gz"


def encode(statistics: Statistics) -> bytes:
    """The file's content. PinflowError for a count beyond 64 bits."""
    from thriftpy2 import protocol
    from thriftpy2.utils import serialize

    binary: Any = protocol.TCyBinaryProtocolFactory
    content = serialize(_to_thrift(statistics), binary())
    return gzip.compress(content, compresslevel=6, mtime=0)


def decode(data: bytes, name: str) -> Statistics:
    """The statistics in a file's content; `name` is the file's, for messages.

    DamagedFileError when it is cut, changed or not statistics; PinflowError when a newer pinflow wrote it.
    """
    found = _parse(_inflate(data, name), name)
    if found.version > VERSION:
        raise PinflowError(
            f"the statistics {name} have version {found.version}, this pinflow reads {VERSION}; update it"
        )
    try:
        statistics = _from_thrift(found)
        statistics.check_kinds()
    except (PinflowError, TypeError, ValueError) as error:
        raise _damaged(name, str(error)) from error
    return statistics


def _schema() -> Any:
    from pinflow.stats_engine.thrift_types import TYPES

    return TYPES


def _damaged(name: str, reason: str) -> DamagedFileError:
    return DamagedFileError(
        f"the statistics {name} are damaged: {reason}; make their dataset again with "
        "pinflow run WORKFLOW --date DAY --rebuild"
    )


def _inflate(data: bytes, name: str) -> bytes:
    inflater = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        content = inflater.decompress(data, LARGEST)
    except zlib.error as error:
        raise _damaged(name, str(error)) from error
    if not inflater.eof:
        too_long = bool(inflater.unconsumed_tail) or len(content) >= LARGEST
        raise _damaged(name, f"they inflate to more than {LARGEST} bytes" if too_long else "the file is cut")
    if inflater.unused_data:
        raise _damaged(name, "something follows their end")
    return content


def _parse(content: bytes, name: str) -> Any:
    # the pure Python protocol: the compiled one reads past the end of short content
    from thriftpy2.protocol import binary

    protocol: Any = binary.TBinaryProtocol
    source = _Content(content)
    found = _schema().Statistics()
    if not content.startswith(_VERSION_FIELD):
        raise _damaged(name, "they have no version")
    try:
        protocol(source).read_struct(found)
    except Exception as error:  # whatever a parser may raise on foreign bytes
        raise _damaged(name, f"{type(error).__name__}: {error}") from error
    if source.position < len(content):
        raise _damaged(name, "something follows their end")
    return found


class _Content:
    """Bytes read as a Thrift transport; unlike thriftpy2's own, it fails where they end."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.position = 0

    def read(self, size: int) -> bytes:
        end = self.position + size
        if not self.position <= end <= len(self.content):
            raise EOFError("they end early")
        part = self.content[self.position : end]
        self.position = end
        return part


def _to_thrift(statistics: Statistics) -> Any:
    for name, count in statistics.counts.items():
        if abs(count) > _LARGEST_COUNT:
            raise PinflowError(f"the count {name!r} is {count}, more than 64 bits hold; use add_sum")
    types = _schema()
    return types.Statistics(
        version=VERSION,
        counts=dict(sorted(statistics.counts.items())),
        sums={name: _sum_to_thrift(value) for name, value in sorted(statistics.sums.items())},
        histograms={name: _histogram_to_thrift(one) for name, one in sorted(statistics.histograms.items())},
        items={name: _items_to_thrift(one) for name, one in sorted(statistics.items.items())},
    )


def _sum_to_thrift(value: float) -> Any:
    exact = ExactSum.of(value)
    data = exact.units.to_bytes(exact.units.bit_length() // 8 + 1, "big", signed=True)
    return _schema().Sum(value=float(exact), exact=data)


def _histogram_to_thrift(histogram: Histogram) -> Any:
    bucket = _schema().Bucket
    return _schema().Histogram(
        bucketizer=histogram.bucketizer,
        lowest=histogram.lowest,
        highest=histogram.highest,
        buckets=[bucket(low=low, high=high, count=n) for (low, high), n in sorted(histogram.buckets.items())],
    )


def _items_to_thrift(items: Items) -> Any:
    item = _schema().Item
    return _schema().Items(
        size=items.size,
        top=[item(item=name, value=value) for name, value in items.top],
        bottom=[item(item=name, value=value) for name, value in items.bottom],
    )


def _from_thrift(found: Any) -> Statistics:
    return Statistics(
        counts={_text(name): _whole(count) for name, count in (found.counts or {}).items()},
        sums={_text(name): _sum(value) for name, value in (found.sums or {}).items()},
        histograms={_text(name): _histogram(value) for name, value in (found.histograms or {}).items()},
        items={_text(name): _items(value) for name, value in (found.items or {}).items()},
    )


def _sum(found: Any) -> ExactSum:
    if found.exact is None:
        return ExactSum.of(_finite(found.value))
    return ExactSum(int.from_bytes(found.exact, "big", signed=True))


def _histogram(found: Any) -> Histogram:
    buckets = {(_double(one.low), _double(one.high)): _whole(one.count) for one in found.buckets or ()}
    return Histogram(_text(found.bucketizer), buckets, _finite(found.lowest), _finite(found.highest))


def _items(found: Any) -> Items:
    def read(items: Any) -> list[Item]:
        return [Item(_text(one.item), _finite(one.value)) for one in items or ()]

    return Items.of(_whole(found.size), read(found.top), read(found.bottom))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a text is missing or not UTF-8: {value!r}")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise ValueError("a whole number is missing")
    return value


def _double(value: object) -> float:
    if not isinstance(value, float) or math.isnan(value):
        raise ValueError(f"a number is missing: {value!r}")
    return value


def _finite(value: object) -> float:
    number = _double(value)
    if math.isinf(number):
        raise ValueError("a number is infinite")
    return number
