"""A generated canonical day of any size: `python -m benchmarks.generate --events 2e6 --output DIR`.

Per 2,000,000 events: 100,000 pins drawn by a bounded Zipf law with exponent 1.1, 10,000 boards, 20,000
domains, 50,000 owners, 250,000 users, all growing with the events; one domain owns half of all events, and
1 % of the events are of unknown pins. The same seed gives the same objects on every date, and the same events
on the same date.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click
import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.odd import OddDay, generate_odd_day

__all__ = ["HEAVY_DOMAIN", "GeneratedDay", "OddDay", "Sizes", "generate_day", "generate_odd_day"]

Integers = NDArray[np.int64]

EVENT_TYPES = ("impression", "clickthrough", "repin", "like", "create")
TYPE_WEIGHTS = (0.70, 0.12, 0.10, 0.06, 0.02)
APPS = ("web", "iphone", "android", "ipad")
APP_WEIGHTS = (0.38, 0.28, 0.24, 0.10)
NETWORKS = ("on", "off", None)
NETWORK_WEIGHTS = (0.5, 0.3, 0.2)
COUNTRIES = ("US", "GB", "BR", "DE", "FR", "CA", "JP", "MX", "IN", "AU", None)
USER_COUNTRY_WEIGHTS = (0.40, 0.10, 0.09, 0.07, 0.06, 0.06, 0.05, 0.04, 0.02, 0.01, 0.10)
EVENT_COUNTRY_WEIGHTS = (0.12, 0.03, 0.03, 0.02, 0.02, 0.02, 0.02, 0.02, 0.01, 0.01, 0.70)
METROS = ("501", "803", "602", "807", "618", "511", None)
METRO_WEIGHTS = (0.06, 0.04, 0.04, 0.03, 0.02, 0.01, 0.80)
GENDERS = ("female", "male", "unspecified", None)
GENDER_WEIGHTS = (0.55, 0.20, 0.05, 0.20)

HEAVY_DOMAIN = "big.example"
HEAVY_SHARE = 0.5
UNKNOWN_SHARE = 0.01
ZIPF_EXPONENT = 1.1
EVENTS_PER_FILE = 500_000
SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class Sizes:
    """How many of each kind of thing a day has."""

    events: int
    pins: int
    boards: int
    domains: int
    owners: int
    users: int

    @classmethod
    def of(cls, events: int) -> "Sizes":
        """The sizes that go with a number of events.

        >>> Sizes.of(2_000_000)
        Sizes(events=2000000, pins=100000, boards=10000, domains=20000, owners=50000, users=250000)
        """
        per = {"pins": 20, "boards": 200, "domains": 100, "owners": 40, "users": 8}
        return cls(events=events, **{name: max(2, events // divisor) for name, divisor in per.items()})


@dataclass(frozen=True)
class GeneratedDay:
    """What `generate_day` wrote."""

    date: date
    sizes: Sizes
    files: int
    size: int
    """Bytes of all files of the day."""


def generate_day(
    folder: Path,
    day: date,
    *,
    events: int = 2_000_000,
    pins: int | None = None,
    seed: int = 1,
    events_per_file: int = EVENTS_PER_FILE,
) -> GeneratedDay:
    """Write one canonical day below `folder` as JSON lines, the events in time order over several files.

    `pins` is another number of pins than goes with the events. One file of events is in memory at a time. Files that
    a previous call left for the date are replaced.
    """
    if events < 0 or events_per_file < 1:
        raise ValueError(f"cannot make {events} events in files of {events_per_file}; give 0 or more, and 1 or more")
    sizes = Sizes.of(events)
    sizes = sizes if pins is None else replace(sizes, pins=pins)
    popularity = Popularity.of(sizes.pins, seed)
    written = [
        _write(_pins(sizes, popularity, seed), folder, "pins", day, 0),
        _write(_boards(sizes, seed), folder, "boards", day, 0),
        _write(_users(sizes, seed), folder, "users", day, 0),
    ]
    for number, first in enumerate(range(0, max(1, events), events_per_file)):
        chunk = _events(sizes, popularity, seed, day, first, min(events, first + events_per_file))
        written.append(_write(chunk, folder, "events", day, number))
    _remove_others(written)
    return GeneratedDay(day, sizes, len(written), sum(path.stat().st_size for path in written))


def zipf_cumulative(size: int, exponent: float = ZIPF_EXPONENT) -> NDArray[np.float64]:
    """Cumulative probabilities of the ranks 1 to `size` under a bounded Zipf law.

    >>> [round(float(p), 3) for p in zipf_cumulative(3, 1.0)]
    [0.545, 0.818, 1.0]
    """
    weights = np.arange(1, size + 1, dtype=np.float64) ** -exponent
    cumulative: NDArray[np.float64] = np.cumsum(weights) / weights.sum()
    return cumulative


def heavy_ranks(size: int) -> NDArray[np.bool_]:
    """Ranks of the heavy domain's pins: three of four from the top, until half of the weight is taken."""
    cumulative = zipf_cumulative(size)
    weights = np.diff(cumulative, prepend=0.0)
    candidates = np.arange(size) % 4 != 0
    taken = np.cumsum(np.where(candidates, weights, 0.0))
    heavy: NDArray[np.bool_] = candidates & (taken <= HEAVY_SHARE)
    return heavy


def _random(seed: int, *stream: int) -> np.random.Generator:
    return np.random.default_rng([seed, *stream])


def _ids(prefix: str, numbers: Integers) -> pl.Series:
    return prefix + pl.Series("id", numbers + 1).cast(pl.String)


def _names(prefix: str, size: int) -> pl.Series:
    return _ids(prefix, np.arange(size))


def _pick(random: np.random.Generator, values: Sequence[str | None], weights: Sequence[float], count: int) -> pl.Series:
    ranks = np.searchsorted(np.cumsum(weights) / np.sum(weights), random.random(count), side="right")
    return pl.Series(values, dtype=pl.String).gather(np.minimum(ranks, len(values) - 1))


def _skewed(random: np.random.Generator, size: int, count: int, power: float = 2.0) -> Integers:
    """`count` numbers below `size`, lower ones more often; each at least once where `count` allows it."""
    numbers = (random.random(count) ** power * size).astype(np.int64)
    covered = min(size, count)
    numbers[:covered] = np.arange(covered)
    return random.permutation(numbers)


@dataclass(frozen=True)
class Popularity:
    """How often each pin is drawn: the ranks' cumulative probabilities, and which pin has which rank."""

    cumulative: NDArray[np.float64]
    pin_of_rank: Integers

    @classmethod
    def of(cls, pins: int, seed: int) -> "Popularity":
        """Ranks are shuffled, so that the numbering of pins does not follow their popularity."""
        return cls(zipf_cumulative(pins), _random(seed, 1).permutation(pins))

    def draw(self, random: np.random.Generator, count: int) -> pl.Series:
        """The ids of `count` pins, some of them unknown."""
        last = len(self.pin_of_rank) - 1
        ranks = np.searchsorted(self.cumulative, random.random(count), side="right")
        pins = self.pin_of_rank[np.minimum(ranks, last)]
        unknown = random.random(count) < UNKNOWN_SHARE
        pins[unknown] = random.integers(0, max(1, last // 10), int(unknown.sum()))
        prefix = pl.Series(["p", "gone"]).gather(unknown.astype(np.int64))
        return prefix + _ids("", pins)


def _pins(sizes: Sizes, popularity: Popularity, seed: int) -> pl.DataFrame:
    random = _random(seed, 2)
    heavy = np.zeros(sizes.pins, dtype=np.bool_)
    heavy[popularity.pin_of_rank] = heavy_ranks(sizes.pins)
    domain = np.zeros(sizes.pins, dtype=np.int64)
    domain[~heavy] = 1 + _skewed(random, sizes.domains - 1, int((~heavy).sum()))
    domains = pl.concat([pl.Series("id", [HEAVY_DOMAIN]), _names("site", sizes.domains - 1) + ".example"])
    return pl.DataFrame(
        {
            "pin_id": _names("p", sizes.pins),
            "board_id": _names("b", sizes.boards).gather(_skewed(random, sizes.boards, sizes.pins)),
            "owner_id": _names("o", sizes.owners).gather(_skewed(random, sizes.owners, sizes.pins)),
            "domain": domains.gather(domain),
            # 64ths, so that sums of scores are exact in any order
            "search_score": random.integers(0, 64_000, sizes.pins) / 64,
        }
    )


def _boards(sizes: Sizes, seed: int) -> pl.DataFrame:
    random = _random(seed, 3)
    return pl.DataFrame(
        {
            "board_id": _names("b", sizes.boards),
            "owner_id": _names("o", sizes.owners).gather(random.integers(0, sizes.owners, sizes.boards)),
            "name": _names("Board ", sizes.boards),
        }
    )


def _users(sizes: Sizes, seed: int) -> pl.DataFrame:
    random = _random(seed, 4)
    return pl.DataFrame(
        {
            "user_id": _names("u", sizes.users),
            "country": _pick(random, COUNTRIES, USER_COUNTRY_WEIGHTS, sizes.users),
            "gender": _pick(random, GENDERS, GENDER_WEIGHTS, sizes.users),
        }
    )


def _events(sizes: Sizes, popularity: Popularity, seed: int, day: date, first: int, end: int) -> pl.DataFrame:
    """The events numbered `first` to `end` of the day: its slice of the day's seconds, sorted by time."""
    random = _random(seed, 5, day.toordinal(), first)
    count = end - first
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    span = np.array([first, end]) / max(1, sizes.events) * SECONDS_PER_DAY
    seconds = np.sort(random.random(count)) * (span[1] - span[0]) + span[0]
    return pl.DataFrame(
        {
            "event_type": _pick(random, EVENT_TYPES, TYPE_WEIGHTS, count),
            "timestamp": midnight + np.minimum(seconds, SECONDS_PER_DAY - 1).astype(np.int64),
            "user_id": _ids("u", (random.random(count) ** 1.5 * sizes.users).astype(np.int64)),
            "pin_id": popularity.draw(random, count),
            "app": _pick(random, APPS, APP_WEIGHTS, count),
            "country": _pick(random, COUNTRIES, EVENT_COUNTRY_WEIGHTS, count),
            "metro": _pick(random, METROS, METRO_WEIGHTS, count),
            "network": _pick(random, NETWORKS, NETWORK_WEIGHTS, count),
        }
    )


def _write(frame: pl.DataFrame, folder: Path, kind: str, day: date, number: int) -> Path:
    path = folder / kind / f"date={day}" / f"part-{number:05d}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_ndjson(path)
    return path


def _remove_others(written: Sequence[Path]) -> None:
    for parent in {path.parent for path in written}:
        for stale in set(parent.iterdir()) - set(written):
            stale.unlink()


@click.command(context_settings={"show_default": True})
@click.option("--events", type=float, default=2e6, help="Events of a day, such as 2e6.")
@click.option("--pins", type=float, help="Pins, such as 5e6; by default a twentieth of the events.")
@click.option("--seed", type=int, default=1, help="Same seed, same data.")
@click.option("--date", "first", type=click.DateTime(["%Y-%m-%d"]), default="2015-05-18", help="The (first) day.")
@click.option("--days", type=click.IntRange(1), default=1, help="So many days in a row.")
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), required=True, help="Input folder to write."
)
@click.option("--odd", is_flag=True, help="A small day full of odd ids, ties, repeated rows and broken lines.")
@click.option("--truncated", is_flag=True, help="With --odd: also a .gz file that was cut.")
def main(
    events: float, pins: float | None, seed: int, first: datetime, days: int, output: Path, odd: bool, truncated: bool
) -> None:
    """Generate canonical input for pinflow."""
    for day in (first.date() + timedelta(days=offset) for offset in range(days)):
        made: OddDay | GeneratedDay
        if odd:
            made = generate_odd_day(output, day, seed, events=min(int(events), 20_000), truncated=truncated)
        else:
            made = generate_day(output, day, events=int(events), pins=None if pins is None else int(pins), seed=seed)
        click.echo(made)


if __name__ == "__main__":
    main()
