"""Every implementation of the table store; the conformance suite, writer and reader run over each.

To add a real HBase: an entry that opens it, with tables emptied, in a parameter marked `hbase`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pinflow.hbase_schema.store import Store, open_store


def _embedded(folder: Path) -> Store:
    return open_store(str(folder / "serving.db"))


IMPLEMENTATIONS = {"embedded": _embedded}


@pytest.fixture(params=IMPLEMENTATIONS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with IMPLEMENTATIONS[request.param](tmp_path) as opened:
        opened.create_tables()
        yield opened
