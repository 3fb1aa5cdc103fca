"""How much a task or a job may count: what goes over is left out and counted, it never fails a job.

`_dropped` counts values under names that were too many, `_dropped.NAME` values of a name that were too large.
"""

from dataclasses import replace

from pinflow.errors import PinflowError
from pinflow.stats_engine.statistics import Statistics

MOST_NAMES = 10_000
"""Names of statistics in a task, and in a job."""
LONGEST_NAME = 255
LONGEST_ITEM = 1000
"""Letters of an object's text."""
LARGEST_COUNT = 2**63 - 1
"""What a count holds, up or down, in a file and in SQL; beyond it stays there."""
LARGEST_SIZE = 100_000
"""Items that a list may be asked to keep."""

SKIPPED = "_skipped"
DROPPED = "_dropped"
RESERVED = (SKIPPED, DROPPED)


def check_name(name: object) -> None:
    """Raise PinflowError for what cannot be the name of a statistic."""
    if not is_name(name):
        raise PinflowError(f"no statistic can be called {name!r}; give 1 to {LONGEST_NAME} printable letters")
    if isinstance(name, str) and is_reserved(name):
        raise PinflowError(f"the name {name!r} is reserved for values left out; take another")


def is_name(name: object) -> bool:
    """Whether it is a text of a usable length, without line ends and other letters that cannot be shown."""
    return isinstance(name, str) and 1 <= len(name) <= LONGEST_NAME and name.isprintable()


def is_reserved(name: str) -> bool:
    """Whether the name says what was left out.

    >>> is_reserved("_skipped.age"), is_reserved("_skippedness")
    (True, False)
    """
    return name.partition(".")[0] in RESERVED


def check_size(name: str, size: int | None) -> None:
    """Raise PinflowError for a size that a list of items cannot have."""
    if size is not None and not 1 <= size <= LARGEST_SIZE:
        raise PinflowError(f"{name!r}: a list's size cannot be {size!r}; give 1 to {LARGEST_SIZE}")


def with_few_names(statistics: Statistics, most: int = MOST_NAMES) -> Statistics:
    """At most so many names besides reserved ones: the first by their text, which are the same however tasks merge."""
    names = [name for _, values in statistics.kinds() for name in values if not is_reserved(name)]
    if len(names) <= most:
        return statistics
    dropped = set(sorted(names)[most:])
    return statistics.without(dropped).merge(Statistics({DROPPED: len(dropped)}))


def within_64_bits(statistics: Statistics) -> Statistics:
    """Counts beyond 64 bits as the largest there is, each told by `_dropped.NAME`.

    >>> dict(within_64_bits(Statistics({"a": 1, "b": -(2**70)})).counts)
    {'a': 1, 'b': -9223372036854775807, '_dropped.b': 1}
    """
    over = [name for name, count in statistics.counts.items() if abs(count) > LARGEST_COUNT]
    if not over:
        return statistics
    cut = {name: LARGEST_COUNT if statistics.counts[name] > 0 else -LARGEST_COUNT for name in over}
    told = Statistics({f"{DROPPED}.{name}"[:LONGEST_NAME]: 1 for name in over})
    return replace(statistics, counts={**statistics.counts, **cut}).merge(told)


def without_largest(statistics: Statistics, excess: int) -> Statistics:
    """Without the largest lists, histograms and sketches, about so many bytes; if there are none, half of the rest."""
    sizes = {
        **{name: 40 * len(histogram.buckets) for name, histogram in statistics.histograms.items()},
        **{
            name: sum(20 + len(text.encode()) for text, _ in (*items.top, *items.bottom))
            for name, items in statistics.items.items()
        },
        **{name: 5000 for name, distinct in statistics.distincts.items() if distinct.registers},
    }
    dropped: set[str] = set()
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        if excess > 0:
            dropped.add(name)
            excess -= sizes[name]
    if not dropped:
        names = [name for _, values in statistics.kinds() for name in values]
        return with_few_names(statistics, len(names) // 2)
    counted = {f"{DROPPED}.{name}"[:LONGEST_NAME]: 1 for name in dropped}
    return statistics.without(dropped).merge(Statistics(counted))
