from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from pinflow.stats_engine import tables

KEY = ["workflow", "run_id", "job", "attempt", "step", "date"]


def _columns(database: sa.Engine, table: str) -> list[str]:
    return [column["name"] for column in sa.inspect(database).get_columns(table)]


def test_the_columns_of_the_statistics(database: sa.Engine) -> None:
    assert _columns(database, "stat_counts") == [*KEY, "name", "value"]
    assert _columns(database, "stat_sums") == [*KEY, "name", "value"]
    assert _columns(database, "stat_histograms") == [*KEY, "name", "low", "high", "count"]
    assert _columns(database, "stat_items") == [*KEY, "name", "side", "rank", "item", "value"]
    assert _columns(database, "job_stats")[:6] == KEY
    assert _columns(database, "alerts")[:7] == ["id", *KEY]


def test_several_processes_may_create_the_tables_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'pinflow.db'}"
    engines = [sa.create_engine(url, connect_args={"timeout": 30}) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(tables.create_all, engines))
    inspector = sa.inspect(engines[0])
    assert tables.METADATA.tables.keys() <= set(inspector.get_table_names())
    assert set(inspector.get_view_names()) == {"v_counts", "v_sums", "v_histograms", "v_items"}
    assert "alerts_of_job" in {index["name"] for index in inspector.get_indexes("alerts")}


def test_mysql_takes_the_same_tables() -> None:
    dialect = mysql.dialect()
    for table in tables.METADATA.sorted_tables:
        ddl = str(sa.schema.CreateTable(table).compile(dialect=dialect))
        assert "utf8mb4_bin" in ddl
        lengths = [column.type.length for column in table.primary_key if isinstance(column.type, sa.String)]
        assert 4 * sum(lengths) <= 3072
