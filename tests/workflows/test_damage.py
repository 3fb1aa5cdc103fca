"""A damaged file of what is published: the others are still listed, and a rebuild mends it."""

from datetime import date
from pathlib import Path

from benchmarks.generate import generate_odd_day
from tests.workflows.command import Command

DAY = date(2015, 5, 18)


def test_a_rebuild_mends_a_damaged_day(tmp_path: Path) -> None:
    command = Command(tmp_path / "home", tmp_path / "input", {"PINFLOW_KEEP": "90000d"})
    generate_odd_day(command.input, DAY, 2, events=800)
    command.run(DAY)
    count = len(command("datasets", "--json").json)
    current = command.home / f"warehouse/pin_counts/date={DAY}/current.json"
    current.write_text("{")
    listed = command("datasets", "--json")
    assert (listed.code, len(listed.json)) == (1, count - 1)
    assert "pin_counts" in listed.err
    assert "--rebuild" in listed.err
    assert command("clean").code == 1
    command.run(DAY, code=1)
    assert current.read_text() == "{"
    command.run(DAY, "--rebuild")
    assert len(command("datasets", "--json").json) == count
    assert command("clean").code == 0
