import json

import pytest

from benchmarks import statistics


def test_each_figure_is_printed_and_never_judged(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr(statistics, "CALLS", 300)
    monkeypatch.setattr(statistics, "ROWS", 300)
    statistics.main(["--json", "--rounds", "1", "--shards", "3"])
    figures = {figure["name"]: figure for figure in json.loads(capsys.readouterr().out)}
    assert {"incr_count", "add_item", "merging 3 shards", "peak while merging 100"} <= figures.keys()
    assert figures["merging 3 shards"]["value"] > 0
    statistics.main(["--rounds", "1", "--shards", "2"])
    assert "merging 2 shards" in capsys.readouterr().out
