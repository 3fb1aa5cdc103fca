"""The independent computation, checked against a case worked out by hand and against what was generated."""

import gzip
import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from benchmarks.generate import HEAVY_DOMAIN, Sizes, generate_day, generate_odd_day
from benchmarks.odd_events import ALL_BAD_EVENTS, BAD_EVENTS, MISSING_FIELDS
from benchmarks.odd_world import TIED_IDS
from tests.oracle import (
    Oracle,
    expected_audience,
    expected_counts,
    expected_metrics,
    expected_top,
    period,
)

MONDAY, TUESDAY = date(2015, 5, 18), date(2015, 5, 19)


def write(folder: Path, kind: str, day: date, rows: list[Any], name: str = "a.jsonl") -> None:
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    target = folder / kind / f"date={day}" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    data = b"\n".join(lines) + b"\n"
    target.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)


def event(kind: str, user: Any, pin: Any, app: str = "web", time: Any = "2015-05-18T12:00:00", **more: Any) -> Any:
    return {"event_type": kind, "user_id": user, "pin_id": pin, "app": app, "timestamp": time} | more


@pytest.fixture
def two_days(tmp_path: Path) -> Path:
    pins = [
        {"pin_id": "1", "board_id": "B", "owner_id": "O", "domain": "wrong.com", "search_score": 9},
        {"pin_id": 1, "board_id": "A", "owner_id": "O", "domain": "X.com", "search_score": 2.5},
        {"pin_id": "2", "board_id": "A", "owner_id": "O", "domain": "x.com", "search_score": 2.5},
        {"pin_id": "3", "board_id": "C", "owner_id": "", "domain": "x.com"},
        {"pin_id": "4", "owner_id": "Q", "domain": None, "search_score": 0},
    ]
    write(tmp_path, "pins", MONDAY, pins)
    write(tmp_path, "users", MONDAY, [{"user_id": "u", "country": "US", "gender": "f"}, {"user_id": "v"}])
    monday = [
        event("impression", "u", "1", network="on"),
        event("impression", "u", 1, "ipad", 1431907200, network="off"),  # the first moment of the day
        event("impression", "v", "2", country="DE", metro="7"),
        event("repin", "v", "3", country="FR"),
        event("repin", "w", "2", time="2015-05-19T01:59:59+02:00"),
        event("like", "u", "1", domain="Own.com"),
        event("like", "w", "99"),  # unknown pin
        event("like", "w", "99", owner_id="O"),  # unknown, but names its owner
        event("create", "w", "4"),
        event("heartbeat", "u", "1"),
        event("like", "u", "1", time="2015-05-19T00:00:00Z"),
        event("like", "u", "1", time="tomorrow"),
        b"\xff",
        b" ",
    ]
    write(tmp_path, "events", MONDAY, monday[:5], "a.json")
    write(tmp_path, "events", MONDAY, monday[5:], "b.ndjson.gz")
    write(tmp_path, "events", MONDAY, [b"not read"], "_SUCCESS")
    write(tmp_path, "pins", TUESDAY, [{"pin_id": "1", "board_id": "A", "domain": "x.com", "search_score": 1}])
    write(tmp_path, "events", TUESDAY, [event("impression", "u", "1", time="2015-05-19T05:00:00.5Z")])
    return tmp_path


def test_counts_of_the_hand_made_day(two_days: Path) -> None:
    counts = expected_counts(two_days, MONDAY)
    assert counts | {"lines_read": 14, "events_kept": 8, "bad_lines": 2, "other_event_types": 1} == counts
    assert counts | {"out_of_day_events": 1, "unknown_pins": 1, "unknown_pins_kept": 1} == counts
    assert counts | {"blank_lines": 1, "truncated_files": 0, "repeated_pins": 1, "repeated_users": 0} == counts


def test_metrics_of_the_hand_made_day(two_days: Path) -> None:
    metrics = expected_metrics(two_days, [MONDAY], MONDAY)
    assert metrics["d:x.com", "all", "daily"] == {
        "date": "2015-05-18",
        "platform": "all",
        "aggregation": "daily",
        "metrics": {
            **{"impression": 3, "impression_on": 1, "impression_off": 1, "impression_users": 2},
            **{"repin": 2, "repin_users": 2, "users": 3, "pins": 3, "boards": 2},
        },
    }
    assert metrics["d:x.com", "ipad", "daily"]["metrics"] == {
        **{"impression": 1, "impression_off": 1, "impression_users": 1, "users": 1, "pins": 1, "boards": 1}
    }
    assert metrics["p:O", "all", "daily"]["metrics"] == {
        **{"impression": 3, "impression_on": 1, "impression_off": 1, "impression_users": 2},
        **{"repin": 1, "repin_users": 1, "like": 2, "like_users": 2, "users": 3, "pins": 3, "boards": 1},
    }
    assert metrics["p:Q", "all", "monthly"] == {
        "date": "2015-05-01",
        "platform": "all",
        "aggregation": "monthly",
        "metrics": {"create": 1, "create_users": 1, "users": 1, "pins": 1},
    }
    subjects = {subject for subject, _, _ in metrics}
    assert subjects == {"d:x.com", "d:own.com", "p:O", "p:Q"}


def test_audience_of_the_hand_made_day(two_days: Path) -> None:
    audience = expected_audience(two_days, [MONDAY], MONDAY)
    assert audience["d:x.com", "all", "daily"] == {
        "country": {"US": 1, "DE": 1, "FR": 1, "_unknown": 1},
        "metro": {"7": 1, "_unknown": 3},
        "gender": {"f": 1, "_unknown": 2},
    }


def test_top_of_the_hand_made_day(two_days: Path) -> None:
    top = expected_top(two_days, [MONDAY], MONDAY, length=1)["d:x.com", "all", "daily"]
    rest = {"rank": None, "id": "_other", "value": 1}
    assert top["pins", "impression"] == [{"rank": 1, "id": "1", "value": 2}, rest]
    assert top["pins", "repin"] == [{"rank": 1, "id": "2", "value": 1}, rest]
    assert top["boards", "impression"] == [{"rank": 1, "id": "A", "value": 3}]
    assert top["pins", "search_rank"] == [{"rank": 1, "id": "1", "value": 2.5}, rest | {"value": 2.5}]
    assert top["boards", "search_rank"] == [{"rank": 1, "id": "A", "value": 2.5}]
    owner = expected_top(two_days, [MONDAY], MONDAY)["p:Q", "all", "daily"]
    assert owner["pins", "search_rank"] == [{"rank": 1, "id": "4", "value": 0}]
    assert ("boards", "create") not in owner


def test_a_week_counts_each_user_once_and_ranks_by_the_latest_day(two_days: Path) -> None:
    both = Oracle(two_days, [str(MONDAY), TUESDAY], str(TUESDAY))
    daily, weekly = both.metrics()["d:x.com", "all", "daily"], both.metrics()["d:x.com", "all", "weekly"]
    assert daily["metrics"] == {"impression": 1, "impression_users": 1, "users": 1, "pins": 1, "boards": 1}
    assert weekly["date"] == "2015-05-18"
    assert weekly["metrics"] == {
        **{"impression": 4, "impression_on": 1, "impression_off": 1, "impression_users": 2},
        **{"repin": 2, "repin_users": 2, "users": 3, "pins": 3, "boards": 2},
    }
    # Tuesday has no users: u is of the US by Monday's events and unknown by Tuesday's
    assert both.audience()["d:x.com", "all", "weekly"]["country"] == {
        "US": 1,
        "DE": 1,
        "FR": 1,
        "_unknown": 2,
    }
    ranked = both.top()["d:x.com", "all", "weekly"]["pins", "search_rank"]
    assert [(row["id"], row["value"]) for row in ranked] == [("2", 2.5), ("1", 1)]
    alone = both.top()["d:x.com", "ipad", "weekly"]["pins", "search_rank"]
    assert alone == [{"rank": 1, "id": "1", "value": 2.5}]
    anywhere = Oracle(two_days, [MONDAY, TUESDAY], TUESDAY, latest_anywhere=True)
    alone = anywhere.top()["d:x.com", "ipad", "weekly"]["pins", "search_rank"]
    assert alone == [{"rank": 1, "id": "1", "value": 1}]


def test_a_day_that_is_not_published_is_refused(two_days: Path) -> None:
    with pytest.raises(ValueError, match="2015-05-18 is not among"):
        Oracle(two_days, [TUESDAY], MONDAY)


@pytest.mark.parametrize(
    ("aggregation", "day", "first", "end"),
    [
        ("daily", date(2016, 2, 28), date(2016, 2, 28), date(2016, 2, 29)),
        ("weekly", date(2016, 1, 3), date(2015, 12, 28), date(2016, 1, 4)),
        ("biweekly", date(2015, 5, 18), date(2015, 5, 11), date(2015, 5, 25)),
        ("biweekly", date(2015, 5, 25), date(2015, 5, 25), date(2015, 6, 8)),
        ("monthly", date(2015, 12, 31), date(2015, 12, 1), date(2016, 1, 1)),
    ],
)
def test_periods(aggregation: str, day: date, first: date, end: date) -> None:
    assert period(aggregation, day) == (first, end)


def test_odd_days_hold_what_the_generator_says(tmp_path: Path) -> None:
    kinds = tuple(ALL_BAD_EVENTS)
    made = generate_odd_day(tmp_path, MONDAY, 5, bad_kinds=kinds, bad_lines=len(kinds), truncated=True)
    oracle = Oracle(tmp_path, [MONDAY], MONDAY)
    counts = oracle.counts()
    assert {name: counts[name] for name in counts if hasattr(made, name)} == {
        name: getattr(made, name) for name in counts if hasattr(made, name)
    }
    assert made.bad_lines == len(BAD_EVENTS) + len(MISSING_FIELDS) + 1
    losses = ("blank_lines", "bad_lines", "other_event_types", "out_of_day_events", "unknown_pins")
    assert counts["lines_read"] == counts["events_kept"] + sum(counts[name] for name in losses)
    metrics = oracle.metrics()
    half = metrics["d:half.example", "all", "daily"]["metrics"]
    assert sum(half.get(name, 0) for name in ("impression", "clickthrough", "repin", "like", "create")) == 1000
    subjects = {subject for subject, _, _ in metrics}
    assert {"d:münchen.example", "d:example.org", "d:www.example.org", "d:p:owner"} <= subjects
    assert {"p:tab\tid", "p:700", "p:_", "p:100%"} <= subjects
    assert "d:MÜNCHEN.example" not in subjects
    tied = oracle.top()["d:tied.example", "all", "daily"]["pins", "repin"]
    assert [row["id"] for row in tied[:-1]] == list(TIED_IDS[:100])
    assert tied[-1] == {"rank": None, "id": "_other", "value": len(TIED_IDS) - 100}


def test_generated_days_repeat_and_can_be_small_or_empty(tmp_path: Path) -> None:
    first = generate_odd_day(tmp_path / "a", MONDAY, 1, apps=("web",), events=900)
    again = generate_odd_day(tmp_path / "b", MONDAY, 1, apps=("web",), events=900)
    files = [sorted(path for path in (tmp_path / name).rglob("*") if path.is_file()) for name in "ab"]
    assert first == again
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]
    assert {platform for _, platform, _ in expected_metrics(tmp_path / "a", [MONDAY], MONDAY)} == {
        "all",
        "web",
    }
    generate_odd_day(tmp_path / "a", MONDAY, empty=True)
    assert expected_metrics(tmp_path / "a", [MONDAY], MONDAY) == {}
    assert not any(expected_counts(tmp_path / "a", MONDAY).values())
    with pytest.raises(ValueError, match="at least"):
        generate_odd_day(tmp_path, MONDAY, events=5)


def test_a_generated_day_has_its_sizes_and_a_heavy_domain(tmp_path: Path) -> None:
    made = generate_day(tmp_path, MONDAY, events=20_000, seed=7, events_per_file=9_000)
    assert made.sizes == Sizes(events=20_000, pins=1_000, boards=100, domains=200, owners=500, users=2_500)
    assert len(list((tmp_path / "events" / f"date={MONDAY}").iterdir())) == 3
    assert generate_day(tmp_path / "pins", MONDAY, events=100, pins=50).sizes == replace(Sizes.of(100), pins=50)
    oracle = Oracle(tmp_path, [MONDAY], MONDAY)
    counts = oracle.counts()
    assert counts["lines_read"] == 20_000
    assert 150 < counts["unknown_pins"] < 250
    assert counts["events_kept"] + counts["unknown_pins"] == 20_000
    heavy = oracle.metrics()[f"d:{HEAVY_DOMAIN}", "all", "daily"]["metrics"]
    assert 0.45 < sum(heavy[name] for name in oracle.kept_by_type()) / 20_000 < 0.55
