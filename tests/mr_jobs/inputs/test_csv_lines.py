import csv
import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinflow.errors import InputError
from pinflow.mr_jobs.inputs.blocks import BadLine, Block, read_blocks
from pinflow.mr_jobs.inputs.canonical import read_events, read_objects
from pinflow.mr_jobs.inputs.csv_lines import read_csv
from pinflow.mr_jobs.inputs.parsed import Rows
from pinflow.mr_jobs.inputs.splits import InputFile, Split, plan_splits

FIELDS = {"a": "A", "c": "C", "gone": "nowhere"}
VALUES = st.text(st.sampled_from(list('ab,"\n é;')), max_size=6)


def rows_of(path, size=1 << 20) -> list[Rows]:
    return list(read_csv(read_blocks(_split(path), size), FIELDS))


def _split(path) -> Split:
    return plan_splits([InputFile(str(path), path.stat().st_size, 0)], 1)[0]


@given(
    st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=25),
    st.integers(4, 80),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_what_the_csv_module_wrote_is_read_back(tmp_path_factory, records, size, ending, quote_all):
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=ending, quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL)
    writer.writerow(["A", "B", "C"])
    writer.writerows(records)
    data = text.getvalue().encode()
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(data)
    found = rows_of(path, size)
    assert [row for rows in found for row in rows.frame.rows()] == [(a, c, None) for a, _, c in records]
    assert not any(rows.bad or rows.blank for rows in found)
    for rows in found:
        for number, offset in enumerate(rows.offsets()):
            assert data[offset:].startswith(rows.text(number))


LINES = [
    *(
        b"1,2,3",
        b"x,y,z\r",
        b"1,2",
        b"1,2,3,4",
        b"",
        b"  ",
        b"\t\r",
        b",,",
        b'1,"two",3',
        b'1,"two\nlines",3',
        b'1,"t""o",3',
    ),
    *(
        b'5" disk,2,3',
        b'1,"open,3',
        b'1,"a"b,3',
        b"\xff,2,3",
        b'"\xff",2,3',
        b"a\rb,2,3",
        b" \r ",
        b"a\rb,2",
        "é,ü,ß".encode(),
        b'"",2,3',
    ),
]


def summary(found: list[Rows]):
    rows = [row for part in found for row in part.frame.rows()]
    return (
        rows,
        [bad for part in found for bad in part.bad],
        sum(part.blank for part in found),
        sum(r.lines_read for r in found),
    )


@given(st.lists(st.sampled_from(LINES), max_size=25), st.integers(2, 60), st.booleans())
@settings(max_examples=150)
def test_the_result_does_not_depend_on_where_blocks_are_cut(tmp_path_factory, lines, size, ended):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(b"A,B,C\n" + b"\n".join(lines) + (b"\n" if ended else b""))
    whole, cut = summary(rows_of(path)), summary(rows_of(path, size))
    assert cut == whole
    rows, bad, blank, lines_read = whole
    assert lines_read == len(rows) + len(bad) + blank


def test_bad_records_have_reasons(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'A,B,C\n1,2\n\n\xff,2,3\n1,"a"b,3\n1,"open,3\n4,5,6\n')
    rows, bad, blank, _ = summary(rows_of(path))
    assert rows == [("4", "6", None)]
    assert blank == 1
    assert [text for _, _, text in bad] == [b"1,2", b"\xff,2,3", b'1,"a"b,3', b'1,"open,3']
    assert [offset for offset, _, _ in bad] == [6, 11, 17, 26]
    assert bad[0].reason == "not as many values as the header row"
    assert bad[1].reason == "not UTF-8"


def test_plain_and_quoted_blocks_give_the_same_rows(tmp_path):
    chance = random.Random(3)
    records = [[str(chance.randrange(10**6)) for _ in range(3)] for _ in range(2000)]
    plain, quoted = tmp_path / "plain.csv", tmp_path / "quoted.csv"
    plain.write_text("A,B,C\n" + "".join(",".join(record) + "\n" for record in records))
    quoted.write_text("A,B,C\n" + "".join('"' + '","'.join(record) + '"\n' for record in records))
    assert summary(rows_of(plain, 5000)) == summary(rows_of(quoted, 5000))


@pytest.mark.parametrize("header", [b"1,2,3\n", b"A,A,C\n", b"\n"])
def test_a_header_row_that_names_nothing_is_refused(tmp_path, header):
    (tmp_path / "a.csv").write_bytes(header + b"1,2,3\n")
    with pytest.raises(InputError, match="header row"):
        rows_of(tmp_path / "a.csv")


def test_an_empty_file_gives_nothing(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"")
    assert rows_of(tmp_path / "a.csv") == []


def test_events_and_objects_from_csv(tmp_path):
    path = tmp_path / "e.csv"
    path.write_text("event_type,timestamp,user_id,pin_id,app,network\nlike,5,1,p,web,\nlike,,1,p,web,on\n")
    [parsed] = read_events(_split(path))
    assert parsed.frame.select("user_id", "network").rows() == [("1", None)]
    assert parsed.counts == {"lines_read": 2, "blank_lines": 0, "bad_lines": 1, "truncated_files": 0}
    assert parsed.bad[0].text == b"like,,1,p,web,on"
    path.write_text('pin_id,score\n"p ""1""",2.5\n')
    [pins] = read_objects("pins", _split(path), columns=["score"])
    assert pins.frame.select("pin_id", "score", "_offset").row(0) == ('p "1"', 2.5, 13)


def test_a_record_does_not_go_on_behind_a_lost_line():
    lost = BadLine(14, "line too long", b"x")
    blocks = [Block(b'A,B,C\n1,"open\n', 0), Block(b"", 14, (lost,)), Block(b'4",5,6\n7,8,9\n', 90)]
    rows, bad, _, lines_read = summary(list(read_csv(iter(blocks), FIELDS)))
    assert rows == [('4"', "6", None), ("7", "9", None)]
    assert [(offset, text) for offset, _, text in bad] == [(6, b'1,"open'), (14, b"x")]
    assert lines_read == 4
