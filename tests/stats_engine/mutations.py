"""Reads mutated shards in a process of its own, whose memory is limited: `python mutations.py COUNT SEED`.

Prints how many were refused, and a line for each that was neither refused by name nor gave the same values.
"""

import gzip
import random
import resource
import struct
import sys
import zlib
from collections.abc import Callable

from pinflow.errors import PinflowError
from pinflow.stats_engine.engine import StatsEngine
from pinflow.stats_engine.shards import decode, encode

MEMORY = 1 << 30
NAME = "part-00007.thrift.gz"
SIZES = (0, 1, 255, 2**16, 2**24, 2**31 - 1, -1, -(2**31))


def statistics() -> StatsEngine:
    stats = StatsEngine()
    numbers = random.Random(1)
    for name in range(20):
        stats.incr_count(f"count {name}", numbers.randrange(10**9))
        stats.add_sum(f"sum {name}", numbers.gauss())
    for name in range(3):
        stats.add_to_histogram(f"histogram {name}", [numbers.lognormvariate(3, 2) for _ in range(300)])
        stats.add_item(f"items {name}", [f"ïtem {n}" for n in range(300)], [numbers.random() for _ in range(300)])
        stats.add_distinct(f"distinct {name}", list(range(10 ** (name + 1))))
    return stats


def flip(data: bytes, numbers: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(numbers.choice([1, 1, 2, 8])):
        changed[numbers.randrange(len(changed))] ^= 1 << numbers.randrange(8)
    return bytes(changed)


def cut(data: bytes, numbers: random.Random) -> bytes:
    start = numbers.randrange(len(data))
    return data[:start] + data[start + numbers.choice([1, 4, 100, len(data)]) :]


def lie(data: bytes, numbers: random.Random) -> bytes:
    """Another number in place of four bytes, which may be a size."""
    at = numbers.randrange(len(data) - 4)
    return data[:at] + struct.pack(">i", numbers.choice(SIZES)) + data[at + 4 :]


def resealed(mutate: Callable[[bytes, random.Random], bytes]) -> Callable[[bytes, random.Random], bytes]:
    """Change what stands inside the gzip, whose own checksum then holds."""
    return lambda data, numbers: gzip.compress(mutate(gzip.decompress(data), numbers), 1)


def forged(mutate: Callable[[bytes, random.Random], bytes]) -> Callable[[bytes, random.Random], bytes]:
    """Change what both checksums cover, and make both hold: other values are fair then, a crash is not."""

    def change(data: bytes, numbers: random.Random) -> bytes:
        content = mutate(gzip.decompress(data)[:-8], numbers)
        return gzip.compress(content + struct.pack(">3sI1s", b"\x08\x00\x02", zlib.crc32(content), b"\0"), 1)

    return change


def main(count: int, seed: int) -> None:
    good = encode(statistics().statistics())
    expected = decode(good, NAME)
    honest = [flip, cut, lie, resealed(flip), resealed(cut), resealed(lie)]
    forgeries = [forged(flip), forged(cut), forged(lie)]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    numbers = random.Random(seed)
    refused = 0
    for number in range(count):
        mutate = numbers.choice([*honest, *forgeries])
        try:
            found = decode(mutate(good, numbers), NAME)
            if mutate in honest and found != expected:
                print(f"mutation {number}: other values")
            for distinct in found.distincts.values():
                distinct.estimate()
        except PinflowError as error:
            refused += 1
            if NAME not in str(error):
                print(f"mutation {number}: the file is not named: {error}")
        except BaseException as error:
            print(f"mutation {number}: {type(error).__name__}: {error}")
    print(f"{refused} refused")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
