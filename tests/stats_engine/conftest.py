from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from pinflow.database import open_database
from pinflow.stats_engine.alerts import JobKey
from pinflow.stats_engine.tables import METADATA


@pytest.fixture
def database(database_url: str) -> Iterator[sa.Engine]:
    engine = open_database(database_url).execution_options(writes=True)
    METADATA.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def now() -> datetime:
    return datetime(2015, 5, 19, 0, 12, tzinfo=UTC)


@pytest.fixture
def key() -> JobKey:
    return JobKey("analytics", "analytics-2015-05-18-1", "read_events", 1, "2015-05-18", "ann@example.com")
