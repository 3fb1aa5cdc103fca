import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinflow.mr_jobs import hashing
from pinflow.mr_jobs.clustering import bucket_count, bucket_of, hashes, split

MASK = 2**64 - 1
TEXTS = st.lists(st.one_of(st.none(), st.text(max_size=12)), max_size=30)
GOLDEN: dict[str | None, int] = {
    "": 0x0000000000000000,
    "a": 0xAC62ED3C7549B674,
    "b": 0x66F6A845720D6B67,
    "example.com": 0x08BBE29D0775565F,
    "p123": 0x1E026819CA52658D,
    "übergröße": 0x3DB9C01F28D43FD0,
    None: 0x2545F4914F6CDD1D,
}


def mixed(value: int) -> int:
    """fmix64 of MurmurHash3, in whole numbers."""
    value ^= value >> 33
    value = value * 0xFF51AFD7ED558CCD & MASK
    value ^= value >> 33
    value = value * 0xC4CEB9FE1A85EC53 & MASK
    return value ^ value >> 33


def expected_hash(text: str | None) -> int:
    """The documented hash, a byte at a time."""
    if text is None:
        return 0x2545F4914F6CDD1D
    prime = 0x9E3779B97F4A7C15
    return mixed(sum((byte + 1) * pow(prime, i, 2**64) for i, byte in enumerate(text.encode())) & MASK)


def of(*texts: str | None) -> list[int]:
    return hashes(pl.Series(texts, dtype=pl.String)).tolist()


def test_the_hash_never_changes() -> None:
    assert dict(zip(GOLDEN, of(*GOLDEN), strict=True)) == GOLDEN


@given(TEXTS | st.lists(st.none() | st.text(min_size=60, max_size=70) | st.text("ab", max_size=17)))
def test_the_hash_is_that_of_a_byte_at_a_time(texts: list[str | None]) -> None:
    assert of(*texts) == [expected_hash(text) for text in texts]


@given(TEXTS)
def test_the_hash_of_a_category_is_that_of_its_text(texts: list[str | None]) -> None:
    column = pl.Series(texts, dtype=pl.Categorical(pl.Categories("texts")))
    assert hashes(column).tolist() == of(*texts)


def test_the_hash_is_the_same_over_chunks_and_slices() -> None:
    texts = ["", "a", None, "ü" * 40, "example.com", None, "p1"]
    whole = pl.Series(texts, dtype=pl.String)
    chunked = pl.concat([whole[:2], whole[2:5], whole[5:]], rechunk=False)
    assert chunked.n_chunks() == 3
    assert hashes(chunked).tolist() == of(*texts)
    assert hashes(whole[2:6]).tolist() == of(*texts)[2:6]


@pytest.mark.parametrize("short", [0, 64])
def test_the_hash_does_not_depend_on_how_many_bytes_are_hashed_at_once(
    monkeypatch: pytest.MonkeyPatch, short: int
) -> None:
    texts = [f"row {n} " * (n % 7) for n in range(200)]
    monkeypatch.setattr(hashing, "_CHUNK_BYTES", 64)
    monkeypatch.setattr(hashing, "_CHUNK_ROWS", 64)
    monkeypatch.setattr(hashing, "_SHORT", short)
    assert of(*texts) == [expected_hash(text) for text in texts]


def test_null_and_empty_text_differ() -> None:
    null, empty = of(None, "")
    assert null != empty


def test_numbers_are_hashed_by_their_text() -> None:
    assert hashes(pl.Series([12, 7])).tolist() == of("12", "7")


@given(TEXTS, st.sampled_from([1, 2, 4, 8, 64]))
def test_a_bucket_of_few_is_the_union_of_its_buckets_of_more(texts: list[str | None], few: int) -> None:
    frame = pl.DataFrame({"key": pl.Series(texts, dtype=pl.String)})
    more = bucket_of(frame, ["key"], few * 2)
    assert (more % few).tolist() == bucket_of(frame, ["key"], few).tolist()


@given(TEXTS, st.integers(1, 9))
def test_split_keeps_all_rows_and_their_order(texts: list[str | None], buckets: int) -> None:
    frame = pl.DataFrame({"key": pl.Series(texts, dtype=pl.String), "row": range(len(texts))})
    parts = split(frame, ["key"], buckets)
    assert [number for number, _ in parts] == sorted({number for number, _ in parts})
    assert sorted(row for _, part in parts for row in part["row"]) == list(range(len(texts)))
    for number, part in parts:
        assert part["row"].is_sorted()
        assert part["key"].to_list() == [texts[row] for row in part["row"]]
        assert set(bucket_of(part, ["key"], buckets).tolist()) == {number}


def test_rows_with_equal_keys_meet_whatever_else_they_hold() -> None:
    frame = pl.DataFrame({"a": ["x", "y"] * 50, "b": [None, "1"] * 50, "n": range(100)})
    assert len(set(zip(frame["a"], bucket_of(frame, ["a", "b"], 16).tolist(), strict=True))) == 2


def test_keys_spread_over_the_buckets() -> None:
    frame = pl.DataFrame({"key": [f"u{n}" for n in range(8000)]})
    sizes = np.bincount(bucket_of(frame, ["key"], 8), minlength=8)
    assert sizes.min() > 850
    assert sizes.max() < 1150


@pytest.mark.parametrize(("size", "of_bucket", "least", "count"), [(0, 10, 1, 1), (11, 10, 1, 2), (41, 10, 1, 8)])
def test_buckets_are_a_power_of_two(size: int, of_bucket: int, least: int, count: int) -> None:
    assert bucket_count(size, of_bucket, least) == count
