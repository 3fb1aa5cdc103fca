"""The benchmark of the whole workflow runs as it is documented, here with few events."""

import json

import pytest
from click.testing import CliRunner

from benchmarks.workflow import main


def test_a_day():
    result = CliRunner().invoke(main, ["--events", "500", "--json"])
    assert result.exit_code == 0, result.output
    (day,) = json.loads(result.output)
    assert day["date"] == "2015-05-01"
    assert 0 < day["persist_seconds"] < day["seconds"]
    assert 500 < day["cells_per_s"] * day["persist_seconds"] == pytest.approx(day["cells"])
