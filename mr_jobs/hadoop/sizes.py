"""How many tasks and buckets a job on Hadoop gets, from the estimated bytes of its input."""

from collections.abc import Sequence

TASK_BYTES = 640 << 20
"""Data for one task: it costs three seconds of a JVM and of imports, so there are few large ones."""

REDUCER_BYTES = 1536 << 20
"""Input of batches for one reduce task: what the map tasks send is far less than what they read."""

BUCKETS_PER_REDUCER = 8
"""Hadoop spreads bucket numbers over reduce tasks by their hash; the more there are, the more even they come."""


def reducer_count(weight: int, each: int) -> int:
    """How many reduce tasks `weight` bytes of input get, with so many for `each`.

    >>> reducer_count(10, TASK_BYTES), reducer_count(1 << 30, TASK_BYTES)
    (1, 2)
    """
    return max(1, -(-weight // each))


def least_buckets(weight: int) -> int:
    """How many buckets of batches there are at least.

    >>> least_buckets(10), least_buckets(4 << 30)
    (1, 24)
    """
    reducers = reducer_count(weight, REDUCER_BYTES)
    return 1 if reducers == 1 else BUCKETS_PER_REDUCER * reducers


def groups(lines: Sequence[tuple[str, int]]) -> list[list[str]]:
    """Input lines for each map task, neighbours together, as even as they can be; one task where there are no lines.

    >>> groups([("a", 1), ("b", 400 << 20), ("c", 400 << 20)])
    [['a', 'b'], ['c']]
    """
    weight = sum(weight for _, weight in lines)
    count = max(1, -(-weight // TASK_BYTES))
    found: list[list[str]] = [[] for _ in range(count)]
    before = 0
    for line, size in lines:
        # by the middle of what it names
        found[min(count - 1, (2 * before + size) * count // (2 * max(1, weight)))].append(line)
        before += size
    return [group for group in found if group] or [[]]
