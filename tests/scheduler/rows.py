"""Rows of the scheduler's tables as a test wants them."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from pinflow.scheduler.store import Store

MOMENT = datetime(2015, 5, 17, tzinfo=UTC)


def insert(store: Store, table: sa.Table, **values: Any) -> None:
    """A row whose columns have some value, if they must and none is given; of times that is `MOMENT`."""
    plain: dict[type, Any] = {int: 0, bool: False, str: "", object: MOMENT}
    required = [c for c in table.c if not c.nullable and c.server_default is None and c.name != "id"]
    filled = {column.name: plain[column.type.python_type] for column in required}
    with store.engine.execution_options(writes=True).begin() as connection:
        connection.execute(table.insert(), filled | values)
