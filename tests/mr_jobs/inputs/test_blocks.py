import gzip
import zlib
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pinflow.errors import InputError
from pinflow.mr_jobs.inputs.blocks import Block, read_blocks
from pinflow.mr_jobs.inputs.splits import InputFile, Split, file_kind, plan_splits

TEXTS = st.lists(st.sampled_from([b"", b"a", b"bc", b"x" * 30, b"\r", b" "]), max_size=40).flatmap(
    lambda lines: st.sampled_from([b"\n".join(lines), b"\n".join(lines) + b"\n"])
)


def split_of(path: Path) -> Split:
    kind, compression = file_kind(str(path))
    return Split(str(path), 0, path.stat().st_size, kind, compression, 0)


def write(path: Path, data: bytes) -> InputFile:
    path.write_bytes(data)
    return InputFile(str(path), len(data), 0)


def lines_of(blocks: list[Block]) -> list[tuple[int, bytes]]:
    found = []
    for block in blocks:
        place = block.offset
        for line in block.data.splitlines(keepends=True) if b"\r" not in block.data else _lines(block.data):
            found.append((place, line))
            place += len(line)
    return found


def _lines(data: bytes) -> list[bytes]:
    parts = data.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


@given(text=TEXTS, target=st.integers(1, 60), size=st.integers(1, 40))
def test_every_line_is_in_exactly_one_split(tmp_path_factory, text, target, size):
    path = tmp_path_factory.mktemp("splits") / "a.jsonl"
    splits = plan_splits([write(path, text)], target)
    found = [line for split in splits for line in lines_of(list(read_blocks(split, size, longest_line=1000)))]
    places, expected = 0, []
    for line in _lines(text):
        expected.append((places, line))
        places += len(line)
    assert found == expected
    assert [split.index for split in splits] == list(range(len(splits)))


@pytest.mark.parametrize("length", [10, 70_000, 150_000])
def test_blocks_of_lines_short_and_long_are_no_longer_than_asked(tmp_path, length):
    text = b"".join(b"%d " % i + b"x" * length + b"\n" for i in range(10 if length > 10 else 20_000))
    file = write(tmp_path / "a.jsonl", text)
    blocks = [block for split in plan_splits([file], 1 << 20) for block in read_blocks(split, 100_000)]
    assert b"".join(block.data for block in blocks) == text
    assert all(len(block.data) <= max(100_000, length + 10) for block in blocks)
    assert not any(block.bad for block in blocks)


@given(text=TEXTS, size=st.integers(2, 64), members=st.integers(1, 3))
def test_compressed_files_give_the_same_lines_as_plain_ones(tmp_path_factory, text, size, members):
    folder = tmp_path_factory.mktemp("packed")
    cuts = [text[len(text) * i // members : len(text) * (i + 1) // members] for i in range(members)]
    (folder / "a.jsonl.gz").write_bytes(b"".join(gzip.compress(cut) for cut in cuts))
    (folder / "a.jsonl.zst").write_bytes(b"".join(zstandard.compress(cut) for cut in cuts))
    expected = b"".join(_lines(text))
    for name in ("a.jsonl.gz", "a.jsonl.zst"):
        blocks = list(read_blocks(split_of(folder / name), size))
        assert b"".join(block.data for block in blocks) == expected
        assert not any(block.truncated or block.bad for block in blocks)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 1.0])
def test_a_cut_file_gives_its_complete_lines_and_one_bad_line(tmp_path, name, keep):
    text = b"".join(b"%d %x\n" % (i, zlib.crc32(b"%d" % i)) for i in range(20_000))
    packed = gzip.compress(text) if name.endswith(".gz") else zstandard.compress(text)
    cut = packed[: min(int(len(packed) * keep), len(packed) - 1)]
    (tmp_path / name).write_bytes(cut)
    blocks = list(read_blocks(split_of(tmp_path / name), 4096))
    got = b"".join(block.data for block in blocks)
    assert text.startswith(got)
    assert got.endswith(b"\n") or not got
    assert [block.truncated for block in blocks].count(True) == 1
    [bad] = [bad for block in blocks for bad in block.bad]
    assert text.startswith(got + bad.text)
    assert bad.offset == len(got)
    assert keep < 0.5 or len(got) > len(text) * (keep - 0.45)


def test_what_a_cut_gzip_file_holds_is_what_zlib_gives(tmp_path):
    text = b"".join(b'{"i": %d}\n' % i for i in range(50_000))
    cut = gzip.compress(text)[:40_000]
    (tmp_path / "a.jsonl.gz").write_bytes(cut)
    expected = zlib.decompressobj(wbits=31).decompress(cut)
    blocks = list(read_blocks(split_of(tmp_path / "a.jsonl.gz")))
    assert b"".join(block.data for block in blocks) == expected[: expected.rfind(b"\n") + 1]


# a time in it would be in the name of the test, which has to be the same in all processes
MEMBER = gzip.compress(b"a\n", mtime=0)


@pytest.mark.parametrize("data", [b"", b"plain text\n", MEMBER[:-4] + b"zzzz", MEMBER + b"junk"])
def test_a_corrupt_gzip_file_is_one_bad_line_and_counted(tmp_path, data):
    (tmp_path / "a.jsonl.gz").write_bytes(data)
    blocks = list(read_blocks(split_of(tmp_path / "a.jsonl.gz")))
    assert sum(block.truncated for block in blocks) == 1
    assert sum(len(block.bad) for block in blocks) == 1


def test_zeros_after_a_gzip_member_are_padding(tmp_path):
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b"a\n") + b"\0" * 100 + gzip.compress(b"b\n") + b"\0" * 512)
    assert b"".join(block.data for block in read_blocks(split_of(tmp_path / "a.jsonl.gz"))) == b"a\nb\n"


@given(
    size=st.integers(1, 50), lengths=st.lists(st.sampled_from([0, 1, 9, 10, 11, 60]), max_size=12), ended=st.booleans()
)
def test_a_line_that_is_too_long_is_one_bad_line_wherever_blocks_are_cut(tmp_path_factory, size, lengths, ended):
    lines = [bytes([97 + i]) * length for i, length in enumerate(lengths)]
    text = b"\n".join(lines) + (b"\n" if ended and lines else b"")
    path = tmp_path_factory.mktemp("long") / "a.jsonl"
    file = write(path, text)
    blocks = [block for split in plan_splits([file], 1 << 20) for block in read_blocks(split, size, longest_line=10)]
    kept = [line.rstrip(b"\n") for _, line in lines_of(blocks)]
    bad = [bad for block in blocks for bad in block.bad]
    if not ended and lines and not lines[-1]:
        lines.pop()
    assert kept == [line for line in lines if len(line) <= 10]
    assert [b.text for b in bad] == [line for line in lines if len(line) > 10]
    assert all(text[b.offset :].startswith(b.text) for b in bad)


def test_memory_is_bounded_by_the_block(tmp_path):
    text = b"".join(b"line %d\n" % i for i in range(100_000))
    for name, data in (
        ("a.jsonl", text),
        ("a.jsonl.gz", gzip.compress(text)),
        ("a.jsonl.zst", zstandard.compress(text)),
    ):
        (tmp_path / name).write_bytes(data)
        sizes = [len(block.data) for block in read_blocks(split_of(tmp_path / name), 10_000)]
        assert max(sizes) <= 10_020
        assert len(sizes) < 300
        assert sum(sizes) == len(text)


def test_a_byte_order_mark_at_the_start_is_left_out(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbfa\nb\n")
    assert list(read_blocks(split_of(tmp_path / "a.jsonl"))) == [Block(b"a\nb\n", 3)]


def test_a_file_that_is_gone_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"gone\.jsonl"):
        list(read_blocks(Split(str(tmp_path / "gone.jsonl"), 0, 10, "jsonl", "", 0)))


@pytest.mark.parametrize("name", ["a.parquet.gz", "notes.txt", "a.jsonl.bz2", "a"])
def test_a_name_that_does_not_say_how_to_read_it_is_refused(name):
    with pytest.raises(InputError, match="valid"):
        file_kind(name)


def test_splits_survive_json():
    split = Split("/a b/é.jsonl.gz", 0, 5, "jsonl", "gzip", 3)
    assert Split.from_json(split.to_json()) == split


def test_empty_plain_files_have_no_split(tmp_path):
    assert plan_splits([write(tmp_path / "a.jsonl", b"")], 10) == []
