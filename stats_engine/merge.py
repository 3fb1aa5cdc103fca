"""The statistics of a job from those of its tasks (ST-06)."""

import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import reduce

from pinflow.stats_engine.allowance import with_few_names
from pinflow.stats_engine.shards import decode, step_of
from pinflow.stats_engine.statistics import Statistics


def merge_shards(shards: Iterable[tuple[str, bytes]]) -> Statistics:
    """Add up shards given as (file name, content), in any order, one in memory at a time.

    The result does not depend on how the data was split into tasks. DamagedFileError names a bad shard.
    """
    return total(merge_by_step(shards))


def merge_by_step(shards: Iterable[tuple[str, bytes]]) -> dict[int, Statistics]:
    """The same for each step of a job, by its number from 1; those of a job of one step lie under 0."""
    merged: dict[int, Statistics] = {}
    with _without_collecting():
        for name, data in shards:
            step, counted = step_of(name), decode(data, name)
            merged[step] = with_few_names(merged[step].merge(counted) if step in merged else counted)
    return dict(sorted(merged.items()))


def total(by_step: Mapping[int, Statistics]) -> Statistics:
    """What all steps of a job counted together."""
    return reduce(lambda one, two: with_few_names(one.merge(two)), by_step.values(), Statistics())


@contextmanager
def _without_collecting() -> Iterator[None]:
    """No search for cycles, of which there are none: it would take a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
