"""The databases over which stores and statistics are tested: SQLite, and with the marker `mariadb` a real server."""

from collections.abc import Callable, Iterator
from itertools import count

import pytest
from hypothesis import settings

from tests.mariadb import MariaDb

# A loaded machine makes single examples slow; what is slow by itself shows in the time of the whole suite.
settings.register_profile("pinflow", deadline=None)
settings.load_profile("pinflow")

KINDS = ["sqlite", pytest.param("mariadb", marks=pytest.mark.mariadb)]


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDb]:
    """A server for all tests of this process."""
    server = MariaDb()
    server.start()
    yield server
    server.close()


@pytest.fixture
def own_mariadb() -> Iterator[MariaDb]:
    """A server for one test, which may kill it."""
    server = MariaDb()
    server.start()
    yield server
    server.close()


@pytest.fixture(params=KINDS)
def new_database(request: pytest.FixtureRequest, tmp_path) -> Callable[[], str]:
    """Gives the URL of an empty database at each call."""
    if request.param == "mariadb":
        return request.getfixturevalue("mariadb").create
    numbers = count(1)
    return lambda: f"sqlite:///{tmp_path / f'pinflow-{next(numbers)}.db'}"


@pytest.fixture
def database_url(new_database: Callable[[], str]) -> str:
    """The URL of an empty database."""
    return new_database()
