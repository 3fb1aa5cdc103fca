"""The statistics of a job from those of its tasks (ST-06)."""

from collections.abc import Iterable

from pinflow.stats_engine.shards import decode
from pinflow.stats_engine.statistics import Statistics


def merge_shards(shards: Iterable[tuple[str, bytes]]) -> Statistics:
    """Add up shards given as (file name, content), in any order, one in memory at a time.

    The result does not depend on how the data was split into tasks. DamagedFileError names a bad shard.
    """
    merged = Statistics()
    for name, data in shards:
        merged = merged.merge(decode(data, name))
    return merged
