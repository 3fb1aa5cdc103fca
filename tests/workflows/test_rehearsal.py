from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.sql.compiler import SQLCompiler

from pinflow.database import open_database
from pinflow.stats_engine.alerts import JobKey
from pinflow.stats_engine.history import numbers_of, read_history
from pinflow.stats_engine.record import mark_published, record
from pinflow.stats_engine.statistics import Statistics
from pinflow.stats_engine.tables import METADATA
from pinflow.workflows.rehearsal import rehearse


def test_what_was_rehearsed_is_not_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/pinflow.db")
    METADATA.create_all(engine)
    rehearse()
    compiled: list[str] = []
    compile_ = SQLCompiler.__init__

    def noted(self: SQLCompiler, dialect: Any, statement: Any, *given: Any, **named: Any) -> None:
        compiled.append(str(type(statement)))
        compile_(self, dialect, statement, *given, **named)

    monkeypatch.setattr(SQLCompiler, "__init__", noted)
    key = JobKey(workflow="analytics", run_id="r", job="pins", attempt=2, date="2015-05-19", owner="o@example.org")
    counted = Statistics(counts={"rows": 3, "bad": 1}, sums={"seconds": 2.5, "cpu_seconds": 3.5})
    record(engine, key, counted, [], datetime.now(UTC))
    mark_published(engine, key)
    past = read_history(engine, key.workflow, key.job, ["rows", "bad"], date(2015, 5, 20))
    assert past.dates == (date(2015, 5, 19),)
    assert numbers_of(engine, key.workflow, {"pins": ["rows"]}, date(2015, 5, 19)) == {"pins": {"rows": 3.0}}
    assert compiled == []
    engine.dispose()
