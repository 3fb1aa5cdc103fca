"""How many tasks and buckets a job on Hadoop gets, from the estimated bytes of its input."""

from collections.abc import Iterable

TASK_BYTES = 384 << 20
"""Data for one task: it costs seconds of a JVM and of imports, so there are few large ones."""

BUCKETS_PER_REDUCER = 8
"""Hadoop spreads bucket numbers over reduce tasks by their hash; the more there are, the more even they come."""


def reducer_count(weight: int) -> int:
    """How many reduce tasks `weight` bytes of input get.

    >>> reducer_count(10), reducer_count(1 << 30)
    (1, 3)
    """
    return max(1, -(-weight // TASK_BYTES))


def least_buckets(weight: int) -> int:
    """How many buckets there are at least.

    >>> least_buckets(10), least_buckets(1 << 30)
    (1, 24)
    """
    reducers = reducer_count(weight)
    return 1 if reducers == 1 else BUCKETS_PER_REDUCER * reducers


def groups(lines: Iterable[tuple[str, int]]) -> list[list[str]]:
    """Input lines for each map task, neighbours together; at least one task, even without lines.

    >>> groups([("a", 1), ("b", 200 << 20), ("c", 200 << 20)])
    [['a', 'b'], ['c']]
    """
    found: list[list[str]] = [[]]
    held = 0
    for line, weight in lines:
        if found[-1] and held + weight > TASK_BYTES:
            found.append([])
            held = 0
        found[-1].append(line)
        held += weight
    return found
