"""The database of what was recorded, for the commands that look into it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pinflow import config

if TYPE_CHECKING:
    import sqlalchemy as sa


@contextmanager
def statistics_database() -> Iterator["sa.Engine"]:
    """The configured database, its schema checked; `PinflowError` for what goes wrong with it."""
    from sqlalchemy.exc import SQLAlchemyError

    from pinflow.database import database_error, open_database
    from pinflow.scheduler.schema import prepare

    engine = open_database(config.load().database_url).execution_options(writes=True)
    try:
        prepare(engine)
        yield engine
    except SQLAlchemyError as error:
        raise database_error(engine, error) from error
    finally:
        engine.dispose()
