import io
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinflow.errors import DamagedFileError, PinflowError
from pinflow.hbase_schema.blocks import Block
from pinflow.hbase_schema.embedded import EmbeddedStore
from pinflow.hbase_schema.tables import METRICS
from pinflow.mr_jobs import shuffle
from pinflow.mr_jobs.coded import dtype_of
from pinflow.mr_jobs.shuffle import (
    BAD,
    ROWS,
    STATISTICS,
    FileShuffle,
    FileShuffleReader,
    LineShuffle,
    Parcel,
    read_lines,
)

FRAME = pl.DataFrame({"id": ["a", None, "ü\t\n"], "n": [1, None, -3], "list": [["x"], [], None]})
OTHER = pl.DataFrame({"id": ["z"], "x": [0.5]})
CODED = pl.DataFrame({"id": ["a", None, "b"]}, schema={"id": dtype_of("id")})
PARCELS = [
    Parcel(0, ROWS, FRAME),
    Parcel(3, ROWS, OTHER),
    Parcel(0, ROWS, FRAME.reverse(), part=7),
    Parcel(0, ROWS, CODED[:2]),
    Parcel(3, ROWS, CODED[2:]),
    Parcel(3, BAD, None, b"one\nbad\tline\n"),
    Parcel(0, STATISTICS, None, bytes(range(256))),
]


def through_lines(parcels: list[Parcel]) -> tuple[list[Parcel], list[bytes]]:
    output = io.BytesIO()
    writer = LineShuffle(output)
    for parcel in parcels:
        writer.write(parcel)
    writer.close()
    lines = output.getvalue().splitlines(keepends=True)
    return list(read_lines(lines)), lines


def through_files(folder: Path, *tasks: list[Parcel]) -> FileShuffleReader:
    folders = [folder / f"map-{number}" for number in range(len(tasks))]
    for target, parcels in zip(folders, tasks, strict=True):
        writer = FileShuffle(target)
        for parcel in parcels:
            writer.write(parcel)
        writer.close()
    return FileShuffleReader(folders)


def assert_same(found: list[Parcel], wanted: list[Parcel]) -> None:
    assert [(p.bucket, p.kind, p.data, p.part) for p in found] == [(p.bucket, p.kind, p.data, p.part) for p in wanted]
    for one, two in zip(found, wanted, strict=True):
        assert (one.frame is None) == (two.frame is None)
        if one.frame is not None and two.frame is not None:
            assert one.frame.schema == two.frame.schema
            assert one.frame.equals(two.frame)


def test_lines_give_back_the_same_parcels() -> None:
    found, lines = through_lines(PARCELS)
    assert_same(found, PARCELS)
    assert [line.split(b"\t")[0] for line in lines] == [b"0", b"3", b"0", b"0", b"3", b"3", b"0"]


def test_files_give_back_the_same_parcels_by_bucket(tmp_path: Path) -> None:
    reader = through_files(tmp_path, PARCELS)
    assert reader.buckets() == [0, 3]
    for bucket in (0, 3):
        wanted = sorted((p for p in PARCELS if p.bucket == bucket), key=lambda p: p.part)
        assert_same(list(reader.read(bucket)), wanted)
    assert list(reader.read(1)) == []


def test_files_of_all_map_tasks_are_read_in_their_order(tmp_path: Path) -> None:
    reader = through_files(tmp_path, [Parcel(1, ROWS, FRAME)], [Parcel(1, ROWS, OTHER), Parcel(2, ROWS, FRAME)])
    assert_same(list(reader.read(1)), [Parcel(1, ROWS, FRAME), Parcel(1, ROWS, OTHER)])


def test_lower_parts_of_all_map_tasks_are_read_first(tmp_path: Path) -> None:
    one = [Parcel(1, ROWS, FRAME, part=2), Parcel(1, ROWS, OTHER), Parcel(1, BAD, None, b"bad\n")]
    two = [Parcel(1, ROWS, OTHER, part=1), Parcel(1, ROWS, FRAME), Parcel(2, ROWS, FRAME, part=1)]
    reader = through_files(tmp_path, one, two)
    rows = [Parcel(1, ROWS, OTHER), Parcel(1, ROWS, FRAME), Parcel(1, ROWS, OTHER, part=1), one[0]]
    assert_same(list(reader.read(1, [ROWS])), rows)
    assert_same(list(reader.read(1, [STATISTICS, BAD])), one[2:])


def test_parcels_without_an_index_are_not_seen(tmp_path: Path) -> None:
    FileShuffle(tmp_path / "map-0").write(PARCELS[0])
    with pytest.raises(PinflowError, match=r"map-0.*Run again"):
        FileShuffleReader([tmp_path / "map-0"])


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(file.read_bytes()[:-20])])
def test_a_damaged_file_is_not_blamed_on_who_asks_for_its_rows(
    damage: Callable[[Path], object], tmp_path: Path
) -> None:
    reader = through_files(tmp_path, [PARCELS[0]])
    damage(tmp_path / "map-0" / shuffle.PARCELS)
    with EmbeddedStore(tmp_path / "serving.db") as store:
        store.create_tables()
        blocks = (Block(b"", 0, b"", b"") for _ in reader.read(0))
        with pytest.raises(PinflowError, match=r"cannot read .*map-0.*Run again") as caught:
            store.bulk_load(METRICS, [b"x"], blocks)
    assert not isinstance(caught.value, DamagedFileError)


def test_a_large_frame_is_cut_into_several_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shuffle, "LINE_BYTES", 4096)
    frame = pl.DataFrame({"n": range(5000)})
    found, lines = through_lines([Parcel(2, ROWS, frame)])
    assert len(lines) == -(-5000 // 512)
    assert {parcel.bucket for parcel in found} == {2}
    assert pl.concat([parcel.frame for parcel in found if parcel.frame is not None]).equals(frame)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.lists(st.text(max_size=5), min_size=1, max_size=5)), max_size=6))
def test_any_texts_survive_the_lines(given_rows: list[tuple[int, list[str]]]) -> None:
    parcels = [Parcel(bucket, ROWS, pl.DataFrame({"text": texts})) for bucket, texts in given_rows]
    assert_same(through_lines(parcels)[0], parcels)
