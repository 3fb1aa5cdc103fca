import gzip
import struct
import zlib
from pathlib import Path

import pytest
import thriftpy2
from hypothesis import given
from hypothesis import strategies as st
from thriftpy2.protocol import TBinaryProtocolFactory
from thriftpy2.utils import deserialize, serialize

from pinflow.errors import DamagedFileError, PinflowError
from pinflow.stats_engine import shards
from pinflow.stats_engine.engine import StatsEngine
from pinflow.stats_engine.merge import merge_shards
from pinflow.stats_engine.statistics import Statistics


def _statistics() -> Statistics:
    stats = StatsEngine()
    stats.incr_count("évents", 3)
    stats.add_sum("sum", [0.1, 1e16, -5.0])
    stats.add_to_histogram("h", [1, 2, -3, 0])
    stats.add_item("i", ["ä", "b"], [1, 2])
    return stats.statistics()


GOOD = shards.encode(_statistics())


def test_equal_statistics_are_equal_bytes() -> None:
    assert shards.encode(_statistics()) == GOOD
    reverse = Statistics(counts={"b": 1, "a": 2})
    assert shards.encode(reverse) == shards.encode(Statistics(counts={"a": 2, "b": 1}))


def test_the_content_is_thrift_as_the_schema_says() -> None:
    schema = thriftpy2.load(str(Path(shards.__file__).with_name("stats.thrift")), module_name="other_thrift")
    found = deserialize(schema.Statistics(), gzip.decompress(GOOD), TBinaryProtocolFactory())
    assert found.version == 1
    assert found.counts == {"évents": 3}
    assert found.sums["sum"].value == 9999999999999995.0 + 0.1
    assert [(bucket.low, bucket.count) for bucket in found.histograms["h"].buckets][1:] == [(0, 1), (1, 1), (2, 1)]
    assert [item.item for item in found.items["i"].top] == ["b", "ä"]


def test_names_of_files() -> None:
    assert shards.shard_name(12) == "part-00012.thrift.gz"
    assert shards.JOB_SHARD == "job.thrift.gz"


@given(st.integers(0, len(GOOD) - 1))
def test_a_cut_file_is_damaged(length: int) -> None:
    with pytest.raises(DamagedFileError, match="part-7"):
        shards.decode(GOOD[:length], "part-7")


# the bits of gzip's header that say nothing about the content: time, level, operating system
@given(st.integers(10, len(GOOD) - 1), st.integers(0, 7))
def test_a_changed_bit_is_damage(position: int, bit: int) -> None:
    changed = bytearray(GOOD)
    changed[position] ^= 1 << bit
    # within runs of equal bytes, two different deflate streams can mean the same
    try:
        decoded = shards.decode(bytes(changed), "part-7")
    except DamagedFileError:
        return
    assert decoded == _statistics()
    assert gzip.decompress(changed) == gzip.decompress(GOOD)


@given(st.binary(max_size=80))
def test_foreign_content_is_damage(content: bytes) -> None:
    with pytest.raises(PinflowError):
        shards.decode(gzip.compress(content), "part-7")


@given(st.integers(0, len(gzip.decompress(GOOD)) - 1))
def test_thrift_that_ends_early_is_damage(length: int) -> None:
    with pytest.raises(DamagedFileError):
        shards.decode(gzip.compress(gzip.decompress(GOOD)[:length]), "part-7")


def test_what_follows_the_end_is_damage() -> None:
    for data in (GOOD + b"x", GOOD + GOOD, gzip.compress(gzip.decompress(GOOD) + b"\0")):
        with pytest.raises(DamagedFileError, match="follows"):
            shards.decode(data, "part-7")


def test_a_list_that_claims_to_be_endless_is_damage() -> None:
    endless = struct.pack(">bhi", 8, 1, 1) + struct.pack(">bhbbi", 13, 10, 11, 10, 2**31 - 1)
    with pytest.raises(DamagedFileError):
        shards.decode(gzip.compress(endless), "part-7")


def test_inflating_stops_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "LARGEST", 1000)
    with pytest.raises(DamagedFileError, match="more than 1000 bytes"):
        shards.decode(gzip.compress(bytes(100_000)), "part-7")


NEWER = """
struct Sum { 1: double value, 2: binary exact, 3: string unit }
struct Statistics { 1: i32 version, 2: string writer, 10: map<string, i64> counts, 20: map<string, Sum> sums,
                    50: map<string, binary> distincts }
"""


def _newer(version: int | None, tmp_path: Path) -> bytes:
    (tmp_path / "newer.thrift").write_text(NEWER)
    schema = thriftpy2.load(str(tmp_path / "newer.thrift"), module_name="newer_thrift")
    statistics = schema.Statistics(
        version=version, writer="later", counts={"a": 1}, sums={"s": schema.Sum(value=2.5)}, distincts={"d": b"x"}
    )
    return gzip.compress(serialize(statistics, TBinaryProtocolFactory()))


def test_unknown_fields_are_skipped(tmp_path: Path) -> None:
    assert shards.decode(_newer(1, tmp_path), "x") == Statistics(counts={"a": 1}, sums={"s": 2.5})


def test_a_later_version_asks_for_a_later_pinflow(tmp_path: Path) -> None:
    with pytest.raises(PinflowError, match="version 2, this pinflow reads 1; update it") as caught:
        shards.decode(_newer(2, tmp_path), "x")
    assert not isinstance(caught.value, DamagedFileError)


def test_without_a_version_it_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(DamagedFileError, match="no version"):
        shards.decode(_newer(None, tmp_path), "x")


def test_a_count_beyond_64_bits_is_refused() -> None:
    with pytest.raises(PinflowError, match="64 bits"):
        shards.encode(Statistics(counts={"n": 2**63}))


def test_merging_names_the_damaged_shard() -> None:
    with pytest.raises(DamagedFileError, match=r"part-00001\.thrift\.gz"):
        merge_shards([("part-00000.thrift.gz", GOOD), ("part-00001.thrift.gz", GOOD[:-1])])
    assert merge_shards([]) == Statistics()
    assert zlib.crc32(shards.encode(merge_shards([("a", GOOD)]))) == zlib.crc32(GOOD)
