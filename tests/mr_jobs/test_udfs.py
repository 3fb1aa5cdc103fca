"""Rankings: what they may be made from, what a pin's value is, and that a new one makes pin counts anew."""

from collections.abc import Iterator
from datetime import date

import polars as pl
import pytest

from pinflow.errors import ConfigurationError
from pinflow.mr_jobs import udfs
from pinflow.mr_jobs.analytics.pin_counts import PinCounts
from pinflow.mr_jobs.udfs import ranking
from pinflow.workflows.inputs import Resolved, identity_of
from pinflow.workflows.node import MapReduce
from tests.mr_jobs.coded_frames import coded

DAY = date(2015, 5, 18)
JOBS = "pinflow.mr_jobs.analytics."


@pytest.fixture(autouse=True)
def _own_rankings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udfs, "_rankings", dict(udfs._rankings))


def ratio() -> pl.Expr:
    return pl.col("clicks") / pl.col("views")


def other_ratio() -> pl.Expr:
    return pl.col("views") / pl.col("clicks")


@pytest.mark.parametrize("columns", [("impression",), ("views", "repin_on"), ("domain",), ()])
def test_a_ranking_is_made_from_the_pins_own_columns(columns: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="numeric columns"):
        ranking("ratio", *columns)(ratio)


@pytest.mark.parametrize("name", ["impression", "a/b", ""])
def test_names_that_a_ranking_cannot_have(name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be called"):
        ranking(name, "views")(ratio)


def test_a_value_that_is_not_finite_is_no_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    ranking("ratio", "clicks", "views")(ratio)
    ranking("of_absent", "absent")(ratio)
    pins = pl.DataFrame({"pin_id": ["a", "b", "c", "d"], "clicks": [1, 2, 0, None], "views": [2, 0, 0, 1]})
    monkeypatch.setattr(PinCounts, "table_bucket", lambda *_: pins)
    keys = {"domain": "x", "owner_id": "o", "board_id": "b", "app": "web"}
    counted = pl.DataFrame({"pin_id": ["a", "b", "c", "d", "unknown"], "impression": [5, 4, 3, 2, 1]})
    found = PinCounts(["--date", str(DAY)]).reduce_rows(
        coded(counted.with_columns(**{k: pl.lit(v) for k, v in keys.items()}))
    )
    assert dict(found.select("pin_id", "rank_ratio").iter_rows()) == {
        "a": 0.5,
        "b": None,
        "c": None,
        "d": None,
        "unknown": None,
    }
    assert [name for name in found.columns if name.startswith("rank_")] == ["rank_ratio"]
    assert found["impression"].to_list() == [5, 4, 3, 2, 1]


def identities() -> Iterator[str]:
    for job in ("pin_counts:PinCounts", "board_counts:BoardCounts"):
        yield identity_of(MapReduce(JOBS + job, "dataset", ()), Resolved(), DAY)


def test_a_new_or_changed_ranking_makes_its_users_anew() -> None:
    before = list(identities())
    assert list(identities()) == before
    seen = {before[0]}
    for value in (ratio, other_ratio):
        udfs._rankings.pop("ratio", None)
        ranking("ratio", "clicks", "views")(value)
        counts, boards = identities()
        assert counts not in seen
        assert boards == before[1]
        seen.add(counts)
