"""How a histogram divides numbers into buckets (ST-12)."""

import math
import struct
import sys
from abc import ABC, abstractmethod
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pinflow.errors import ConfigurationError

if TYPE_CHECKING:
    from numpy import float64, int64
    from numpy.typing import NDArray

_MANTISSA_BITS = 52
_SMALLEST_NORMAL = sys.float_info.min


class Bucketizer(ABC):
    """Gives every finite number a bucket: a whole number that grows with the value.

    Subclass it for a division of your own: `name`, `bucket` and `bounds`; `buckets` where speed counts.
    The same number must get the same bucket in every process, and the number of buckets must be bounded.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Text that tells this division from others; histograms merge only under equal names."""

    @abstractmethod
    def bucket(self, value: float) -> int:
        """The bucket of a finite `value`."""

    @abstractmethod
    def bounds(self, bucket: int) -> tuple[float, float]:
        """Lower and upper bound of a bucket; infinite where it has none."""

    def buckets(self, values: "NDArray[float64]") -> "NDArray[int64]":
        """The buckets of a column of finite numbers, equal to `bucket` of each."""
        import numpy as np

        return np.fromiter(map(self.bucket, values.tolist()), np.int64, len(values))


@dataclass(frozen=True)
class LogBucketizer(Bucketizer):
    """Buckets that widen with the value: each power of two is divided into `2 ** precision` equal ones.

    A number is known within a relative error of at most `2 ** -(precision + 1)`: 0.8 % by default. Whole
    numbers below `2 ** (precision + 1)` get a bucket each. Negative numbers mirror positive ones; zero, with
    numbers nearer to it than 2.3e-308, has its own. The bounds come from the bits of the double, so that
    every machine and both forms of the engine's calls give the same bucket. This is the log-linear division
    of HdrHistogram (https://github.com/HdrHistogram/HdrHistogram).

    >>> LogBucketizer().bounds(LogBucketizer().bucket(1000.0))
    (1000.0, 1008.0)
    """

    precision: int = 6

    def __post_init__(self) -> None:
        if not 0 <= self.precision <= 10:
            raise ConfigurationError(f"a log bucketizer's precision cannot be {self.precision!r}; use 0 to 10")

    @property
    def name(self) -> str:
        """`log(PRECISION)`."""
        return f"log({self.precision})"

    @property
    def relative_error(self) -> float:
        """The most that a bucket's middle differs from a number in it, divided by that number."""
        return float(2.0 ** -(self.precision + 1))

    def bucket(self, value: float) -> int:
        """The leading bits of the double: exponent, then `precision` bits of the mantissa."""
        size = abs(value)
        if size < _SMALLEST_NORMAL:
            return 0
        (bits,) = struct.unpack("<q", struct.pack("<d", size))
        number = int(bits) >> (_MANTISSA_BITS - self.precision)
        return number if value > 0 else -number

    def buckets(self, values: "NDArray[float64]") -> "NDArray[int64]":
        """`bucket` of each number."""
        import numpy as np

        sizes = np.abs(values)
        numbers = sizes.view(np.int64) >> (_MANTISSA_BITS - self.precision)
        numbers[sizes < _SMALLEST_NORMAL] = 0
        return np.where(values < 0, -numbers, numbers)

    def bounds(self, bucket: int) -> tuple[float, float]:
        """Positive: low included, high not; negative the reverse; zero: 0 to 0."""
        if bucket == 0:
            return (0.0, 0.0)
        low, high = self._edge(abs(bucket)), self._edge(abs(bucket) + 1)
        return (low, high) if bucket > 0 else (-high, -low)

    def _edge(self, number: int) -> float:
        (edge,) = struct.unpack("<d", struct.pack("<q", number << (_MANTISSA_BITS - self.precision)))
        return min(float(edge), sys.float_info.max)


@dataclass(frozen=True)
class EdgeBucketizer(Bucketizer):
    """Buckets between given edges, the lower one included; below the first and from the last on are open.

    >>> EdgeBucketizer((0.0, 18.0, 65.0)).bounds(2)
    (18.0, 65.0)
    """

    edges: tuple[float, ...]

    def __post_init__(self) -> None:
        ordered = all(low < high for low, high in zip(self.edges, self.edges[1:], strict=False))
        if not self.edges or not ordered or not all(math.isfinite(edge) for edge in self.edges):
            raise ConfigurationError(f"edges cannot be {self.edges!r}; give finite numbers, growing")
        object.__setattr__(self, "edges", tuple(float(edge) for edge in self.edges))

    @property
    def name(self) -> str:
        """`edges(FIRST, …)`."""
        return f"edges({', '.join(map(repr, self.edges))})"

    def bucket(self, value: float) -> int:
        """How many edges are not above `value`."""
        return bisect_right(self.edges, value)

    def buckets(self, values: "NDArray[float64]") -> "NDArray[int64]":
        """`bucket` of each number."""
        import numpy as np

        return np.searchsorted(np.array(self.edges), values, side="right").astype(np.int64)

    def bounds(self, bucket: int) -> tuple[float, float]:
        """The edges around the bucket."""
        edges = (-math.inf, *self.edges, math.inf)
        return edges[bucket], edges[bucket + 1]


@dataclass(frozen=True)
class LinearBucketizer(Bucketizer):
    """`count` equally wide buckets from `low` to `high`, lower bounds included, and an open one each side.

    >>> LinearBucketizer(0, 100, 10).bounds(LinearBucketizer(0, 100, 10).bucket(42.0))
    (40.0, 50.0)
    """

    low: float
    high: float
    count: int
    _edges: EdgeBucketizer = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 10_000 or not self.low < self.high or not math.isfinite(self.high - self.low):
            raise ConfigurationError(
                f"buckets cannot be {self.count!r} from {self.low!r} to {self.high!r}; "
                "give 1 to 10000 of them and finite numbers, low below high"
            )
        width = (self.high - self.low) / self.count
        inner = [self.low + width * number for number in range(self.count)]
        object.__setattr__(self, "_edges", EdgeBucketizer((*inner, self.high)))

    @property
    def name(self) -> str:
        """`linear(LOW, HIGH, COUNT)`."""
        return f"linear({float(self.low)!r}, {float(self.high)!r}, {self.count})"

    def bucket(self, value: float) -> int:
        """0 below `low`, 1 to `count` inside, `count + 1` from `high` on."""
        return self._edges.bucket(value)

    def buckets(self, values: "NDArray[float64]") -> "NDArray[int64]":
        """`bucket` of each number."""
        return self._edges.buckets(values)

    def bounds(self, bucket: int) -> tuple[float, float]:
        """Bounds of the bucket."""
        return self._edges.bounds(bucket)
