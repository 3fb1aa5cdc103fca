"""Every implementation of the table store; the conformance suite, writer and reader run over each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pinflow.hbase_schema.store import Store, open_store
from pinflow.hbase_schema.tables import TABLES
from tests.engines import variables


def _embedded(folder: Path) -> Store:
    return open_store(str(folder / "serving.db"))


def _hbase(folder: Path) -> Store:
    store = open_store(f"{variables('hbase')['PINFLOW_SERVING']}&prefix=conformance_")
    for name in TABLES:
        with store.table(name).batch() as batch:
            for key, _ in store.table(name).scan():
                batch.delete(key)
    return store


IMPLEMENTATIONS = {"embedded": _embedded, "hbase": _hbase}


@pytest.fixture(params=["embedded", pytest.param("hbase", marks=pytest.mark.hbase)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with IMPLEMENTATIONS[request.param](tmp_path) as opened:
        opened.create_tables()
        yield opened
