from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta

import pytest

from pinflow.database import open_database
from pinflow.scheduler.declare import Job, Node, Stage, Workflow
from pinflow.scheduler.definition import Definition, define
from pinflow.scheduler.store import Store
from pinflow.zygote import JSON

pytest.register_assert_rewrite(*(f"tests.scheduler.{name}" for name in ("homes", "drive", "stories", "yards")))

DAY = date(2015, 5, 18)


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2015, 5, 19, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def make(of: Callable[..., Definition]) -> Callable[..., Definition]:
    """A workflow of jobs that do nothing: name -> those before it."""

    def build(edges: dict[str, list[str]], **parameters: object) -> Definition:
        return of(*(Job(name, call="sample_jobs:nothing", after=after) for name, after in edges.items()), **parameters)

    return build


@pytest.fixture
def of() -> Callable[..., Definition]:
    """A workflow of these jobs."""

    def build(*jobs: Node, **parameters: JSON) -> Definition:
        workflow = Workflow("demo", "o@example.com", lambda _day, _parameters: [Stage("only", jobs)])
        return define(workflow, DAY, parameters)

    return build


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def dead() -> set[str]:
    return set()


@pytest.fixture
def make_store(clock: Clock, dead: set[str], database_url: str) -> Iterator[Callable[[], Store]]:
    """Stores over one database, as several processes have them."""
    made: list[Store] = []

    def new() -> Store:
        engine = open_database(database_url)
        made.append(Store(engine, clock=clock, is_dead=dead.__contains__))
        return made[-1]

    yield new
    for store in made:
        store.close()
        store.engine.dispose()


@pytest.fixture
def store(make_store: Callable[[], Store]) -> Store:
    return make_store()
