"""The benchmark of the whole workflow runs as it is documented, here with few events."""

import json

from click.testing import CliRunner

from benchmarks.workflow import main


def test_two_days():
    result = CliRunner().invoke(main, ["--events", "2e3", "--days", "2", "--json"])
    assert result.exit_code == 0, result.output
    first, second = json.loads(result.output)
    assert (first["date"], second["date"]) == ("2015-05-01", "2015-05-02")
    # The second day also has the week and the month up to it, of which the first is a part.
    assert 0 < first["cells"] < second["cells"]
    assert 0 < second["persist_seconds"] < second["seconds"]
