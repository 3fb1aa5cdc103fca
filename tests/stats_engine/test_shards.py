import gzip
import struct
import tracemalloc
import zlib
from functools import partial
from pathlib import Path

import pytest
import thriftpy2
from hypothesis import given
from hypothesis import strategies as st
from thriftpy2.protocol import TBinaryProtocolFactory
from thriftpy2.utils import deserialize, serialize

from pinflow.errors import DamagedFileError, PinflowError
from pinflow.stats_engine import merge, shards
from pinflow.stats_engine.allowance import with_few_names
from pinflow.stats_engine.engine import StatsEngine
from pinflow.stats_engine.merge import merge_shards
from pinflow.stats_engine.statistics import Histogram, Item, Items, Statistics


def _statistics() -> Statistics:
    stats = StatsEngine()
    stats.incr_count("évents", 3)
    stats.add_sum("sum", [0.1, 1e16, -5.0])
    stats.add_to_histogram("h", [1, 2, -3, 0])
    stats.add_item("i", ["ä", "b"], [1, 2])
    stats.add_distinct("few", ["ä", "b", 3])
    stats.add_distinct("many", list(range(1000)))
    return stats.statistics()


GOOD = shards.encode(_statistics())


def test_equal_statistics_are_equal_bytes() -> None:
    assert shards.encode(_statistics()) == GOOD
    reverse = Statistics(counts={"b": 1, "a": 2})
    assert shards.encode(reverse) == shards.encode(Statistics(counts={"a": 2, "b": 1}))


def test_the_content_is_thrift_as_the_schema_says() -> None:
    schema = thriftpy2.load(str(Path(shards.__file__).with_name("stats.thrift")), module_name="other_thrift")
    found = deserialize(schema.Statistics(), gzip.decompress(GOOD), TBinaryProtocolFactory())
    assert found.version == 2
    assert found.crc & 0xFFFFFFFF == zlib.crc32(gzip.decompress(GOOD)[:-8])
    assert found.counts == {"évents": 3}
    assert found.sums["sum"].value == 9999999999999995.0 + 0.1
    assert [(bucket.low, bucket.count) for bucket in found.histograms["h"].buckets][1:] == [(0, 1), (1, 1), (2, 1)]
    assert [item.item for item in found.items["i"].top] == ["b", "ä"]
    assert (len(found.distincts["few"].coupons), found.distincts["few"].registers) == (4 * 3, None)
    assert (found.distincts["many"].coupons, len(found.distincts["many"].registers)) == (None, 4096)


def test_names_of_files() -> None:
    assert shards.shard_name(12) == "part-00012.thrift.gz"
    assert shards.file_name(shards.JOB) == "job.thrift.gz"


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
    for data in (GOOD + b"x", GOOD + GOOD):
        with pytest.raises(DamagedFileError, match="follows"):
            shards.decode(data, "part-7")
    with pytest.raises(DamagedFileError, match="checksum"):
        shards.decode(gzip.compress(gzip.decompress(GOOD) + b"\0"), "part-7")
    with pytest.raises(DamagedFileError, match="follows"):
        shards.decode(sealed(gzip.decompress(GOOD)[:-8] + b"\0"), "part-7")


def sealed(content: bytes) -> bytes:
    """A file of content without its last two fields, with checksums that hold."""
    return gzip.compress(content + struct.pack(">3sI1s", b"\x08\x00\x02", zlib.crc32(content), b"\0"))


START = struct.pack(">bhi", 8, 1, shards.VERSION)
HUGE = 2**31 - 1


@pytest.mark.parametrize(
    "lie",
    [
        struct.pack(">bhbbi", 13, 10, 11, 10, HUGE),  # counts
        struct.pack(">bhbbi", 13, 10, 11, 10, -1),
        struct.pack(">bhbbi", 13, 10, 11, 10, 1) + struct.pack(">i", HUGE),  # a name
        struct.pack(">bhbbi", 13, 40, 11, 12, 1) + struct.pack(">i1sbhbi", 1, b"i", 15, 10, 12, HUGE),  # items
        struct.pack(">bhbbi", 13, 30, 11, 12, 1) + struct.pack(">i1sbhbi", 1, b"h", 15, 10, 12, HUGE),  # buckets
        struct.pack(">bhbi", 15, 99, 3, HUGE),  # a list of bytes in an unknown field
        struct.pack(">bhi", 11, 99, HUGE),
        struct.pack(">bh", 12, 99) * 1000,  # structs in structs
        struct.pack(">bh", 99, 99),
        struct.pack(">bhi", 8, 10, 5),  # counts that are a number
        struct.pack(">bhbbi", 13, 10, 11, 10, 2) + struct.pack(">i1sq", 1, b"n", 1) * 2,  # one name twice
        struct.pack(">bhbbi", 13, 10, 11, 10, 1) + struct.pack(">i1sq", 1, b"\xff", 1),
        struct.pack(">bhbbi", 13, 20, 11, 12, 1) + struct.pack(">i1sbhi", 1, b"s", 11, 2, 1000) + bytes(1001),
        struct.pack(">bhbbi", 13, 50, 11, 12, 1) + struct.pack(">i1sbhi", 1, b"d", 11, 1, 4) + bytes(5),  # no coupon
        struct.pack(">bhbbi", 13, 50, 11, 12, 1) + struct.pack(">i1sbhi", 1, b"d", 11, 2, 8) + bytes(9),
    ],
)
def test_content_that_lies_is_damage_though_its_checksum_holds(lie: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(DamagedFileError, match="part-7"):
        shards.decode(sealed(START + lie), "part-7")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_decoding_stops_at_the_limit_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    data = shards.encode(Statistics(counts={f"n{number}": 1 for number in range(10_000)}))
    monkeypatch.setattr(shards, "MEMORY", 2_000_000)
    with pytest.raises(DamagedFileError, match="more memory"):
        shards.decode(data, "part-7")


def test_inflating_stops_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "LARGEST", 1000)
    with pytest.raises(DamagedFileError, match="more than 1000 bytes"):
        shards.decode(gzip.compress(bytes(100_000)), "part-7")


NEWER = """
struct Sum { 1: double value, 2: binary exact, 3: string unit }
struct Bucket { 1: double low, 2: double high, 3: i64 count, 4: double mean }
struct Histogram { 1: string bucketizer, 2: double lowest, 3: double highest, 4: map<string, list<i32>> more,
                   10: list<Bucket> buckets }
struct Item { 1: string item, 2: double value, 3: bool exact }
struct Items { 1: i32 size, 10: list<Item> top, 11: list<Item> bottom }
struct Statistics { 1: i32 version, 3: string writer, 10: map<string, i64> counts, 20: map<string, Sum> sums,
                    30: map<string, Histogram> histograms, 40: map<string, Items> items, 60: map<string, Sum> later }
"""


def _newer(version: int | None, tmp_path: Path) -> bytes:
    (tmp_path / "newer.thrift").write_text(NEWER)
    schema = thriftpy2.load(str(tmp_path / "newer.thrift"), module_name="newer_thrift")
    buckets = [schema.Bucket(low=1.0, high=2.0, count=3, mean=1.5), schema.Bucket(low=2.0, high=4.0, count=1)]
    items = [schema.Item(item="b", value=2.0, exact=True), schema.Item(item="a", value=1.0)]
    statistics = schema.Statistics(
        version=version,
        writer="later",
        counts={"a": 1},
        sums={"s": schema.Sum(value=2.5, unit="s")},
        histograms={
            "h": schema.Histogram(bucketizer="own", lowest=1.0, highest=3.0, buckets=buckets, more={"x": [1, 2]})
        },
        items={"i": schema.Items(size=2, top=items, bottom=items[::-1])},
        later={"x": schema.Sum(value=1.0)},
    )
    return sealed(serialize(statistics, TBinaryProtocolFactory())[:-1])


def test_unknown_fields_are_skipped(tmp_path: Path) -> None:
    top = (Item("b", 2.0), Item("a", 1.0))
    assert shards.decode(_newer(2, tmp_path), "x") == Statistics(
        counts={"a": 1},
        sums={"s": 2.5},
        histograms={"h": Histogram("own", {(1.0, 2.0): 3, (2.0, 4.0): 1}, 1.0, 3.0)},
        items={"i": Items(2, top, top[::-1])},
    )


@pytest.mark.parametrize("version", [1, 3])
def test_another_version_asks_for_its_pinflow(version: int, tmp_path: Path) -> None:
    with pytest.raises(PinflowError, match=f"x have version {version}, this pinflow reads 2") as caught:
        shards.decode(_newer(version, tmp_path), "x")
    assert not isinstance(caught.value, DamagedFileError)


def test_without_a_version_it_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(DamagedFileError, match="no version"):
        shards.decode(_newer(None, tmp_path), "x")


def test_a_count_beyond_64_bits_stays_at_the_most_that_they_hold() -> None:
    most = 2**63 - 1
    given = {"n": 2**63, "down": -(2**70), "most": most, "least": -most}
    kept = shards.decode(shards.encode(Statistics(counts=given)), "a").counts
    told = {"_dropped.n": 1, "_dropped.down": 1}
    assert kept == {"n": most, "down": -most, "most": most, "least": -most, **told}
    again = merge_shards([("a", shards.encode(Statistics(counts=given)))] * 3)
    assert again.counts["n"] == 3 * most  # rules see a number above any maximum; files and SQL the most they hold
    assert shards.decode(shards.encode(again), "a").counts["_dropped.n"] == 4


def test_merging_names_the_damaged_shard() -> None:
    with pytest.raises(DamagedFileError, match=r"part-00001\.thrift\.gz"):
        merge_shards([("part-00000.thrift.gz", GOOD), ("part-00001.thrift.gz", GOOD[:-1])])
    assert merge_shards([]) == Statistics()
    assert zlib.crc32(shards.encode(merge_shards([("a", GOOD)]))) == zlib.crc32(GOOD)


def test_what_is_too_large_to_be_read_is_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    items = tuple(Item(f"item {number:05d}", float(number)) for number in range(5000))
    large = Statistics(counts={"n": 7}, items={"large": Items(5000, items[::-1], items), "small": Items(1)})
    monkeypatch.setattr(shards, "LARGEST", 50_000)
    found = shards.decode(shards.encode(large), "x")
    assert found == Statistics(counts={"n": 7, "_dropped.large": 1}, items={"small": Items(1)})
    many = shards.decode(shards.encode(Statistics(counts={f"name {n}": 1 for n in range(5000)})), "x")
    assert 1000 < len(many.counts) < 5000
    assert many.counts["_dropped"] > 0


def test_a_job_keeps_the_same_names_however_its_tasks_merge(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [(str(n), shards.encode(Statistics(counts={f"a{n}": 1, "m": 1, f"z{n}": 1}))) for n in range(5)]
    monkeypatch.setattr(merge, "with_few_names", partial(with_few_names, most=3))
    for order in (parts, parts[::-1]):
        found = merge_shards(order).counts
        assert {name: n for name, n in found.items() if name != "_dropped"} == {"a0": 1, "a1": 1, "a2": 1}
        assert found["_dropped"] > 0
