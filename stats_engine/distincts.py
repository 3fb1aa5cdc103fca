"""How many different objects there were, in at most 4 KB: HyperLogLog of Apache DataSketches.

An object's hash becomes a *coupon*: one of 4096 registers and a value. Few coupons are kept as they are, which counts
exactly but for one in millions; many become the highest value of each register. Both are sets that merge in any
order and grouping to the same bytes, unlike the library's own unions, whose estimate depends on the order. Hashes,
estimates and bounds are the library's. It reads past the end of damaged sketches (seen to crash), so it is only
given images that are made here (https://datasketches.apache.org/docs/HLL/Hll.html).
"""

import struct
import sys
from array import array
from dataclasses import dataclass
from typing import Any, NamedTuple

from pinflow.errors import PinflowError

LOG_REGISTERS = 12
REGISTERS = 1 << LOG_REGISTERS
MOST_COUPONS = 256
"""More become registers; the library itself keeps at least as many."""
RELATIVE_ERROR = 1.04 / REGISTERS**0.5
"""Standard error of an estimate of many: 1.6 %."""

_DEVIATIONS = 2
_VALUE_SHIFT = 26
_HIGHEST_VALUE = 63
_FAMILY, _SERIAL = 7, 1
_LIST, _SET, _HLL = 0, 1, 2
_HLL_8 = 2 << 2
_COMPACT, _OUT_OF_ORDER = 8, 16
_LIST_LENGTH = 8
_PREAMBLE = "<8B"
_HLL_START = 40


class Estimate(NamedTuple):
    """An estimate and its bounds, two standard errors away: 95 % of such bounds hold the true number."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Distinct:
    """A set of objects, known by its coupons in ascending order, or (more than MOST_COUPONS) by its registers.

    `registers` has a byte for each register. PinflowError when the two are no such set.
    """

    coupons: tuple[int, ...] = ()
    registers: bytes = b""

    def __post_init__(self) -> None:
        if self.registers:
            valid = len(self.registers) == REGISTERS and max(self.registers) <= _HIGHEST_VALUE and not self.coupons
        else:
            growing = all(one < two for one, two in zip(self.coupons, self.coupons[1:], strict=False))
            valid = len(self.coupons) <= MOST_COUPONS and growing and all(map(_is_coupon, self.coupons))
        if not valid:
            raise PinflowError(
                f"a sketch has {len(self.coupons)} coupons and {len(self.registers)} registers of no use"
            )

    @classmethod
    def of_coupons(cls, coupons: set[int]) -> "Distinct":
        """The set of these coupons, in the form that their number asks for."""
        return cls(tuple(sorted(coupons))) if len(coupons) <= MOST_COUPONS else cls(registers=_registers(coupons))

    def merge(self, other: "Distinct") -> "Distinct":
        """Both together."""
        if not (self.registers or other.registers):
            return Distinct.of_coupons({*self.coupons, *other.coupons})
        import numpy as np

        one, two = (np.frombuffer(part.as_registers(), dtype=np.uint8) for part in (self, other))
        return Distinct(registers=np.maximum(one, two).tobytes())

    def as_registers(self) -> bytes:
        """The registers, also of a set of few."""
        return self.registers or _registers(self.coupons)

    def estimate(self) -> Estimate:
        """How many there were."""
        from datasketches import hll_sketch

        sketch = hll_sketch.deserialize(_image(self))
        low, high = sketch.get_lower_bound(_DEVIATIONS), sketch.get_upper_bound(_DEVIATIONS)
        return Estimate(sketch.get_estimate(), low, high)


def new_sketch() -> Any:
    """A sketch of the library, to be updated in a task and read by `of_sketch`."""
    from datasketches import hll_sketch, tgt_hll_type

    return hll_sketch(LOG_REGISTERS, tgt_hll_type.HLL_8)


def of_sketch(sketch: Any) -> Distinct:
    """What a sketch has seen."""
    image: bytes = sketch.serialize_compact()
    preamble_integers, mode = image[0], image[7] & 3
    if mode == _HLL:
        return Distinct(registers=image[_HLL_START:])
    coupons = array("I", image[4 * preamble_integers :])
    if sys.byteorder == "big":
        coupons.byteswap()
    return Distinct.of_coupons(set(coupons))


def _is_coupon(number: int) -> bool:
    return 1 << _VALUE_SHIFT <= number < 1 << 32


def _registers(coupons: "set[int] | tuple[int, ...]") -> bytes:
    registers = bytearray(REGISTERS)
    for coupon in coupons:
        register, value = coupon & (REGISTERS - 1), coupon >> _VALUE_SHIFT
        registers[register] = max(registers[register], value)
    return bytes(registers)


def _image(distinct: Distinct) -> bytes:
    """The set as the library writes it."""
    if distinct.registers:
        return _hll_image(distinct.registers)
    coupons = struct.pack(f"<{len(distinct.coupons)}I", *distinct.coupons)
    count = len(distinct.coupons)
    if count <= _LIST_LENGTH:
        log_room, flags = 3, _COMPACT if count else _COMPACT | 4
        return (
            struct.pack(_PREAMBLE, 2, _SERIAL, _FAMILY, LOG_REGISTERS, log_room, flags, count, _LIST | _HLL_8) + coupons
        )
    log_room = max(5, (count * 4 // 3).bit_length())
    head = struct.pack(_PREAMBLE, 3, _SERIAL, _FAMILY, LOG_REGISTERS, log_room, _COMPACT, 0, _SET | _HLL_8)
    return head + struct.pack("<I", count) + coupons


def _hll_image(registers: bytes) -> bytes:
    small = sum(registers.count(value) * 2.0**-value for value in range(32))
    large = sum(registers.count(value) * 2.0**-value for value in range(32, _HIGHEST_VALUE + 1))
    flags = _COMPACT | _OUT_OF_ORDER
    head = struct.pack(_PREAMBLE, 10, _SERIAL, _FAMILY, LOG_REGISTERS, 0, flags, 0, _HLL | _HLL_8)
    return head + struct.pack("<dddII", 0.0, small, large, registers.count(0), 0) + registers
