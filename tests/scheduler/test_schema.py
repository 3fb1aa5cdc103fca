"""The schema: made once, compared with what migrating gives, upgraded with what is in it, refused otherwise."""

import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from pinflow.database import open_database
from pinflow.errors import ConfigurationError, PinflowError
from pinflow.scheduler import schema, tables
from pinflow.scheduler.store import Store
from pinflow.stats_engine import tables as statistics
from tests.mariadb import MariaDb

MIGRATIONS = Path(schema.__file__).parent / "migrations"


@pytest.fixture
def new_engine(new_database: Callable[[], str]) -> Iterator[Callable[[], sa.Engine]]:
    made: list[sa.Engine] = []

    def new() -> sa.Engine:
        made.append(open_database(new_database()))
        return made[-1]

    yield new
    for engine in made:
        engine.dispose()


@pytest.fixture
def engine(new_engine: Callable[[], sa.Engine]) -> sa.Engine:
    return new_engine()


def migrate(engine: sa.Engine, revision: str) -> None:
    """Make an empty database by migrating alone."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.execution_options(writes=True).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def difference(engine: sa.Engine) -> list[object]:
    metadata = sa.MetaData()
    for source in (tables.metadata, statistics.METADATA):
        for table in source.tables.values():
            table.to_metadata(metadata)
    with engine.connect() as connection:
        options = {"compare_type": True, "include_name": lambda name, *_: name != schema.VERSION_TABLE}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)


def described(engine: sa.Engine) -> dict[str, list[str]]:
    """The words by which the database itself describes each of its tables, indexes and views, sorted."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").all()
            texts = {row.name: row.sql for row in rows}
        else:
            names = connection.exec_driver_sql("SHOW TABLES").scalars().all()
            texts = {name: connection.exec_driver_sql(f"SHOW CREATE TABLE `{name}`").one()[1] for name in names}
            texts = {name: text.replace(f"`{engine.url.database}`.", "") for name, text in texts.items()}
    texts.pop(schema.VERSION_TABLE, None)
    noise = {"if", "not", "exists"}
    return {name: sorted(w for w in re.findall(r"\w+", text.lower()) if w not in noise) for name, text in texts.items()}


def test_the_revisions_are_those_of_alembic() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    found = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(found)) == schema.REVISIONS


def test_migrating_from_empty_gives_the_tables_of_the_metadata(new_engine: Callable[[], sa.Engine]) -> None:
    migrated, created = new_engine(), new_engine()
    migrate(migrated, "head")
    schema.prepare(created)
    assert difference(migrated) == difference(created) == []
    assert described(migrated) == described(created)
    schema.prepare(migrated)


def test_a_difference_is_found(engine: sa.Engine) -> None:
    schema.prepare(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE job ADD COLUMN odd INTEGER")
    assert difference(engine) != []


def test_a_database_of_the_first_revision_is_refused_and_upgraded_with_what_is_in_it(engine: sa.Engine) -> None:
    migrate(engine, "0001")
    high = 9_000_000_000_000_000
    with engine.execution_options(writes=True).begin() as connection:
        connection.exec_driver_sql(f"UPDATE fence SET last = {high}")
        row = {"name": "demo", "owner": "o", "description": "", "digest": "d", "last_run_id": "demo-2015-05-18-1"}
        connection.execute(tables.workflow.insert(), row)
    with pytest.raises(ConfigurationError, match=r"older schema 0001, .* type: pinflow db upgrade"):
        Store(engine)
    assert schema.upgrade(engine) == (schema.State("0001"), schema.State(schema.HEAD))
    assert difference(engine) == []
    with Store(engine), engine.connect() as connection:
        assert connection.execute(sa.select(tables.workflow.c.name)).all() == [("demo",)]
        assert connection.execute(sa.select(tables.fence)).all() == [("claims", high)]
    assert schema.upgrade(engine) == (schema.State(schema.HEAD), schema.State(schema.HEAD))


def test_an_upgrade_that_was_stopped_goes_on(engine: sa.Engine) -> None:
    migrate(engine, "0001")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE fence SET last = 7")
        connection.exec_driver_sql("ALTER TABLE fence RENAME TO fence_before")
        connection.exec_driver_sql("CREATE TABLE fence (name VARCHAR(16) PRIMARY KEY, last BIGINT)")
    schema.upgrade(engine)
    with engine.connect() as connection:
        assert connection.execute(sa.select(tables.fence)).all() == [("claims", 7)]


def test_mails_that_wait_or_were_sent_keep_their_deliveries(engine: sa.Engine) -> None:
    migrate(engine, "0003")
    with engine.execution_options(writes=True).begin() as connection:
        for state, sent in (("waiting", None), ("sent", "2015-05-19 00:13:00")):
            row = (f"<{state}@x>", "a@x", "s", "b", state, 3, "2015-05-19 00:12:00", "2015-05-19 00:20:00", sent, "e")
            connection.exec_driver_sql(f"INSERT INTO mails VALUES {row}".replace("None", "NULL"))
    schema.upgrade(engine)
    with engine.connect() as connection:
        mails = connection.exec_driver_sql(
            "SELECT message_id, recipient, body, content, state FROM mails ORDER BY 1"
        ).all()
        found = "SELECT message_id, channel, state, attempts, error FROM deliveries ORDER BY 1"
        deliveries = connection.exec_driver_sql(found).all()
    assert mails == [("<sent@x>", "a@x", "b", None, "sent"), ("<waiting@x>", "a@x", "b", None, "waiting")]
    assert deliveries == [("<sent@x>", "mail", "sent", 3, "e"), ("<waiting@x>", "mail", "waiting", 3, "e")]


def test_tables_without_a_revision_are_the_first_one(engine: sa.Engine) -> None:
    migrate(engine, "0001")
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP TABLE {schema.VERSION_TABLE}")
        connection.exec_driver_sql("DROP TABLE mails")
    with pytest.raises(ConfigurationError, match="pinflow db upgrade"):
        schema.prepare(engine)
    schema.upgrade(engine)
    assert difference(engine) == []


def test_a_newer_schema_is_refused(engine: sa.Engine) -> None:
    schema.prepare(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'")
    for refused in (schema.prepare, schema.upgrade):
        with pytest.raises(ConfigurationError, match="made by a newer pinflow: its schema is 9999"):
            refused(engine)


def test_tables_of_others_are_left_alone(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE theirs (id INTEGER)")
    schema.prepare(engine)
    assert "theirs" in sa.inspect(engine).get_table_names()


def test_a_creation_that_was_killed_is_done_again(engine: sa.Engine) -> None:
    schema.prepare(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {schema.VERSION_TABLE} SET version_num = 'creating'")
        connection.exec_driver_sql("DROP TABLE event")
        connection.exec_driver_sql("DROP VIEW v_items")
    schema.prepare(engine)
    assert difference(engine) == []
    assert "v_items" in sa.inspect(engine).get_view_names()


@pytest.mark.parametrize("verb", ["prepare", "upgrade"])
def test_several_may_start_at_once_on_an_empty_database(database_url: str, verb: str) -> None:
    engines = [open_database(database_url) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(getattr(schema, verb), engines))
    assert difference(engines[0]) == []
    with engines[0].connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.fence)).scalar() == 1
    for engine in engines:
        engine.dispose()


@pytest.mark.mariadb
def test_tables_that_another_makes_while_one_looks_are_no_older_schema(mariadb: MariaDb) -> None:
    url = mariadb.create()
    first, second = open_database(url), open_database(url)

    @sa.event.listens_for(first, "before_cursor_execute")
    def make(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("SHOW FULL TABLES"):  # how a server is asked for the names of all tables
            schema.prepare(second)

    schema.prepare(first)
    assert schema.state_of(first).name == "current"
    first.dispose()
    second.dispose()


def test_two_upgrades_at_once(new_engine: Callable[[], sa.Engine]) -> None:
    engine = new_engine()
    migrate(engine, "0001")
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(schema.upgrade, [engine, open_database(str(engine.url.render_as_string()))]))
    assert sorted(before.revision or "" for before, _ in both) == ["0001", schema.HEAD]
    assert difference(engine) == []


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://u:secret@h/d", r"postgresql://u:\*\*\*@h/d is of no kind that works"),
        ("mysql+mysqldb://u:secret@h/d", r"mysql\+mysqldb://u:\*\*\*@h/d is of no kind that works"),
        ("mysql://u:secret@h", "names no database"),
        ("u:secret@h", "'h' is no SQLAlchemy URL"),
    ],
)
def test_a_url_that_cannot_be_used_says_what_could_be(url: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        open_database(url)
    assert "secret" not in str(caught.value)


def test_a_server_that_is_not_there_is_named_at_once() -> None:
    engine = open_database("mysql://u:secret@127.0.0.1:9/d")
    with pytest.raises(PinflowError, match=r"mysql\+pymysql://u:\*\*\*@127.0.0.1:9/d.*see that its server runs"):
        Store(engine)


def test_commands_do_not_import_alembic_or_retries(tmp_path: Path) -> None:
    code = (
        "import sys; from pinflow.database import open_database; from pinflow.scheduler.store import Store; "
        f"Store(open_database('sqlite:///{tmp_path}/p.db')).close(); "
        "print([m for m in ('alembic', 'tenacity', 'pymysql') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def test_a_database_from_before_revisions_is_upgraded_with_its_run(tmp_path: Path) -> None:
    """schema-0001.sql is what that pinflow made, as SQLite tells it."""
    file = tmp_path / "old.db"
    with sqlite3.connect(file) as old:
        old.executescript((Path(__file__).parent / "schema-0001.sql").read_text(encoding="utf-8"))
        old.execute("INSERT INTO workflow VALUES ('demo', 'o', '', 'd', 'demo-2015-05-18-1')")
    engine, migrated = open_database(f"sqlite:///{file}"), open_database(f"sqlite:///{tmp_path / 'new.db'}")
    with pytest.raises(ConfigurationError, match="older schema 0000"):
        schema.prepare(engine)
    before, after = schema.upgrade(engine)
    assert (before.name, after.name) == ("older", "current")
    migrate(migrated, "head")
    assert described(engine) == described(migrated)
    with engine.connect() as connection:
        assert connection.execute(sa.select(tables.workflow.c.name)).all() == [("demo",)]
