from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from pinflow.stats_engine.alerts import JobKey
from pinflow.stats_engine.tables import create_all


@pytest.fixture
def database(tmp_path: Path) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'pinflow.db'}")
    create_all(engine)
    return engine


@pytest.fixture
def now() -> datetime:
    return datetime(2015, 5, 19, 0, 12, tzinfo=UTC)


@pytest.fixture
def key() -> JobKey:
    return JobKey("analytics", "analytics-2015-05-18-1", "read_events", 1, "2015-05-18", "ann@example.com")
