import gzip
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from pinflow.config import Settings, SourceSettings
from pinflow.errors import ConfigurationError, InputMissingError, UnknownNameError
from pinflow.mr_jobs.inputs import log_times
from pinflow.mr_jobs.inputs.discover import Source
from pinflow.mr_jobs.inputs.log_times import CACHE_NAME
from pinflow.mr_jobs.inputs.numeric import numeric_columns
from pinflow.mr_jobs.inputs.splits import InputFile

DAY = date(2015, 5, 18)
EXAMPLES = Path(__file__).parents[3] / "examples"


def put(path: Path, data: bytes = b"{}\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def source(folder: Path, **options) -> Source:
    settings = Settings(home=str(folder / ".pinflow"), input=str(folder / "in"), source=SourceSettings(**options))
    return Source.from_settings(settings)


def names(files: list[InputFile]) -> list[str]:
    return [Path(file.path).name for file in files]


def log_line(time: str) -> bytes:
    return f'192.0.2.1 - - [{time}] "GET / HTTP/1.1" 200 5 "-" "Mozilla/5.0"\n'.encode()


def test_canonical_files_by_path_without_hidden_ones(tmp_path):
    folder = tmp_path / "in/events/date=2015-05-18"
    for name in ("b.jsonl", "a.csv", "_SUCCESS", ".b.jsonl.crc"):
        put(folder / name)
    put(folder / "_temporary/x.jsonl")
    found = source(tmp_path)
    assert found.format == "canonical"
    files = found.files("events", DAY)
    assert names(files) == ["a.csv", "b.jsonl"]
    status = (folder / "a.csv").stat()
    assert files[0] == InputFile(str(folder / "a.csv"), 3, status.st_mtime_ns)
    assert found.files("pins", DAY) == []
    assert found.files("events", date(2015, 5, 19)) == []
    assert found.is_ready(DAY)
    assert not found.is_ready(date(2015, 5, 19))
    with pytest.raises(UnknownNameError, match="pins"):
        found.files("pin", DAY)


def test_the_ready_file(tmp_path):
    put(tmp_path / "in/events/date=2015-05-18/a.jsonl")
    found = source(tmp_path, ready="_SUCCESS")
    assert not found.is_ready(DAY)
    with pytest.raises(InputMissingError, match=r"_SUCCESS.*pinflow run"):
        found.require(DAY)
    put(tmp_path / "in/events/date=2015-05-18/_SUCCESS", b"")
    assert found.is_ready(DAY)
    put(tmp_path / "in/events/date=2015-05-19/_SUCCESS", b"")
    assert found.is_ready(date(2015, 5, 19))
    assert found.files("events", date(2015, 5, 19)) == []


def test_path_templates(tmp_path):
    put(tmp_path / "in/topic/dt=2015-05-18/h=01/a.jsonl")
    put(tmp_path / "in/topic/dt=2015-05-18/h=02/b.jsonl")
    put(tmp_path / "in/topic/dt=2015-05-18/_READY")
    put(tmp_path / "in/_static/pins.csv")
    found = source(tmp_path, paths={"events": "topic/dt={date}/h=*/*", "pins": "_static/pins.csv"}, ready="_READY")
    assert found.format == "canonical"
    assert names(found.files("events", DAY)) == ["a.jsonl", "b.jsonl"]
    assert names(found.files("pins", DAY)) == ["pins.csv"]
    assert found.is_ready(DAY)


@pytest.mark.parametrize("template", ["/abs/{date}/*", "../{date}/*", "events/*"])
def test_a_template_that_cannot_be_used(tmp_path, template):
    put(tmp_path / "in/x")
    with pytest.raises(ConfigurationError, match=r"source\.paths\.events"):
        source(tmp_path, paths={"events": template})


@pytest.mark.parametrize(("kind", "valid"), [("events", "pin_id, .*"), ("boards", "board_id, owner_id, name")])
def test_a_mapping_of_a_field_that_is_not_there(tmp_path, kind, valid):
    put(tmp_path / "in/events/x")
    with pytest.raises(ConfigurationError, match=rf"source\.fields\.{kind} maps 'foo'.*valid: .*{valid}"):
        source(tmp_path, fields={"users": {"country": "land"}, kind: {"foo": "bar"}})


def test_input_that_cannot_be_used(tmp_path):
    with pytest.raises(InputMissingError, match=r"in does not exist.*--input"):
        source(tmp_path)
    put(tmp_path / "in")
    with pytest.raises(ConfigurationError, match="valid is a folder"):
        source(tmp_path)
    with pytest.raises(ConfigurationError, match="no input is configured"):
        Source.from_settings(Settings(home=str(tmp_path)))
    with pytest.raises(ConfigurationError, match=r"ftp://.*valid are.*s3://"):
        Source.from_settings(Settings(home=str(tmp_path), input="ftp://bucket/x"))


def test_identity_follows_path_size_and_modification(tmp_path):
    file = put(tmp_path / "in/events/date=2015-05-18/a.jsonl")
    found = source(tmp_path)
    seen = {found.identity(found.files("events", DAY))}
    assert found.identity(found.files("events", DAY)) in seen
    os.utime(file, ns=(1, 1))
    seen.add(found.identity(found.files("events", DAY)))
    file.write_bytes(b"longer\n")
    os.utime(file, ns=(1, 1))
    seen.add(found.identity(found.files("events", DAY)))
    file.rename(file.with_name("b.jsonl"))
    seen.add(found.identity(found.files("events", DAY)))
    put(tmp_path / "in/events/date=2015-05-18/_SUCCESS")
    assert found.identity(found.files("events", DAY)) in seen
    assert len(seen) == 4


def test_identity_does_not_depend_on_where_the_input_lies(tmp_path):
    for name in "ab":
        os.utime(put(tmp_path / name / "in/events/date=2015-05-18/a.jsonl"), ns=(5, 5))
    one, two = (source(tmp_path / name) for name in "ab")
    assert one.identity(one.files("events", DAY)) == two.identity(two.files("events", DAY))


def test_access_logs_are_skipped_by_their_times(tmp_path):
    put(tmp_path / "in/old.log", log_line("17/May/2015:10:00:00 +0000"))
    mixed = [log_line(f"{day}/May/2015:10:00:00 +0000") for day in (18, 19, 17, 18)]
    put(tmp_path / "in/web1/mixed.log.gz", gzip.compress(b"".join(mixed)))
    put(
        tmp_path / "in/zone.log", log_line("19/May/2015:01:00:00 +0200") + b"no log line [20/May/2015:10:00:00 +0000]\n"
    )
    put(tmp_path / "in/README.md", b"# A log\n")
    put(tmp_path / "in/.hidden.log", log_line("18/May/2015:10:00:00 +0000"))
    found = source(tmp_path)
    assert found.format == "access_log"
    assert names(found.files("events", DAY)) == ["mixed.log.gz", "zone.log"]
    assert found.files("users", DAY) == found.files("events", DAY)
    assert names(found.files("events", date(2015, 5, 17))) == ["old.log", "mixed.log.gz"]
    assert [found.is_ready(date(2015, 5, day)) for day in (1, 17, 19, 20)] == [True, True, True, False]
    with pytest.raises(InputMissingError, match=r"reach 2015-05-19 10:00:00 UTC"):
        found.require(date(2015, 5, 20))


def test_times_of_a_file_are_read_once_and_again_when_it_grows(tmp_path, monkeypatch):
    log = put(tmp_path / "in/a.log", log_line("17/May/2015:10:00:00 +0000"))
    read: list[str] = []
    scan = log_times._scan
    monkeypatch.setattr(log_times, "_scan", lambda file: read.append(file.path) or scan(file))
    assert not source(tmp_path).is_ready(DAY)
    assert not source(tmp_path).is_ready(DAY)
    assert read == [str(log)]
    log.write_bytes(log.read_bytes() + log_line("18/May/2015:10:00:00 +0000"))
    assert source(tmp_path).is_ready(DAY)
    assert len(read) == 2
    (tmp_path / ".pinflow/cache" / CACHE_NAME).write_text("{damaged")
    assert source(tmp_path).is_ready(DAY)
    assert len(read) == 3


def test_no_access_logs_at_all(tmp_path):
    (tmp_path / "in").mkdir()
    found = source(tmp_path)
    assert not found.is_ready(DAY)
    assert "there are none" in found.expectation(DAY)


def test_the_format_can_be_said(tmp_path):
    put(tmp_path / "in/events/a.log", log_line("18/May/2015:10:00:00 +0000"))
    assert source(tmp_path).format == "canonical"
    assert names(source(tmp_path, format="access_log").files("events", DAY)) == ["a.log"]


def test_one_file_of_the_example_is_read_for_a_day(tmp_path):
    settings = Settings(home=str(tmp_path), input=str(EXAMPLES / "access_log"))
    assert names(Source.from_settings(settings).files("events", DAY)) == ["access-2015-05-18.log.gz"]


def test_numeric_columns_are_the_same_for_all_files(tmp_path):
    texts = {
        "a.jsonl": b'{"pin_id": 1, "score": 1.5, "n": null, "mixed": 1, "flag": true}\nbroken\n{"late": 2}\n',
        "b.csv": b"pin_id,board_id,score,n,mixed\n1,2,3,,x\n2,2,4.5,7,1\n",
        "c.jsonl.gz": gzip.compress(b'{"pin_id": 5, "external": 5, "_file": 1}\n'),
    }
    files = [InputFile(str(put(tmp_path / name, data)), len(data), 0) for name, data in texts.items()]
    assert numeric_columns(files) == ["external", "late", "n", "score"]
    assert numeric_columns(files, {"board_id": "external"}) == ["late", "n", "score"]
    assert numeric_columns([]) == []


def test_looking_for_input_does_not_import_polars():
    code = "import sys, pinflow.mr_jobs.inputs.discover; sys.exit('polars' in sys.modules or 'pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
