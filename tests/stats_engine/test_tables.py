import pytest
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
    assert _columns(database, "stat_distincts") == [*KEY, "name", "estimate", "low", "high"]
    assert _columns(database, "job_stats")[:6] == KEY
    assert _columns(database, "alerts")[:7] == ["id", *KEY]


def test_all_views_are_made(database: sa.Engine) -> None:
    kinds = {"counts", "sums", "histograms", "items", "distincts"}
    assert set(sa.inspect(database).get_view_names()) == {f"v_{k}" for k in kinds} | {f"v_step_{k}" for k in kinds}


@pytest.mark.parametrize(("is_mariadb", "collation"), [(True, "utf8mb4_nopad_bin"), (False, "utf8mb4_0900_bin")])
def test_mysql_takes_the_same_tables(is_mariadb: bool, collation: str) -> None:
    dialect = mysql.dialect(is_mariadb=is_mariadb)
    for table in tables.METADATA.sorted_tables:
        ddl = str(sa.schema.CreateTable(table).compile(dialect=dialect))
        assert ddl.rstrip().endswith(f"ENGINE=InnoDB CHARSET=utf8mb4 COLLATE={collation}")
        lengths = [column.type.length for column in table.primary_key if isinstance(column.type, sa.String)]
        assert 4 * sum(lengths) <= 3072
