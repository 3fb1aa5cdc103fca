"""What differs between the statistics of two days, or of two runs of a day."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pinflow.stats_engine.statistics import Item, Statistics

QUANTILES = (0.5, 0.99)


class Numbers(Protocol):
    """Statistics, and all that are single numbers by name."""

    @property
    def statistics(self) -> "Statistics":
        """All of them."""

    @property
    def numbers(self) -> dict[str, float]:
        """Counts, sums and distinct counts."""


@dataclass(frozen=True)
class Difference:
    """A number and what it was; None where it was not counted. `percent` of what it was, None of zero."""

    name: str
    value: float | None
    before: float | None
    change: float
    percent: float | None


@dataclass(frozen=True)
class ItemsChange:
    """Items that came into a list (`side`: highest or lowest) and that went, in the lists' order."""

    name: str
    side: str
    came: tuple[str, ...]
    went: tuple[str, ...]


@dataclass(frozen=True)
class Differences:
    """All that differs; numbers by how much they changed, the most first."""

    numbers: tuple[Difference, ...]
    items: tuple[ItemsChange, ...]


def differences(now: Numbers, before: Numbers) -> Differences:
    """Compare counts, sums, distinct counts, numbers and quantiles of histograms, and lists of items."""
    ours, theirs = _numbers(now), _numbers(before)
    changed = [_difference(name, ours.get(name), theirs.get(name)) for name in sorted({*ours, *theirs})]
    numbers = sorted(
        (one for one in changed if one.change or None in (one.value, one.before)), key=_share, reverse=True
    )
    return Differences(tuple(numbers), tuple(_items(now.statistics, before.statistics)))


def _numbers(shown: Numbers) -> dict[str, float]:
    found = dict(shown.numbers)
    for name, histogram in shown.statistics.histograms.items():
        found[f"{name} (values)"] = histogram.count
        found |= {f"{name} (p{share * 100:g})": histogram.quantile(share) for share in QUANTILES}
    return found


def _difference(name: str, value: float | None, before: float | None) -> Difference:
    change = (value or 0) - (before or 0)
    return Difference(name, value, before, change, 100 * change / abs(before) if before else None)


def _share(difference: Difference) -> float:
    return float("inf") if difference.percent is None else abs(difference.percent)


def _items(now: "Statistics", before: "Statistics") -> list[ItemsChange]:
    changes = []
    for name in sorted(now.items.keys() & before.items.keys()):
        ours, theirs = now.items[name], before.items[name]
        for side, one, two in (("highest", ours.top, theirs.top), ("lowest", ours.bottom, theirs.bottom)):
            came, went = _only(one, two), _only(two, one)
            if came or went:
                changes.append(ItemsChange(name, side, came, went))
    return changes


def _only(one: "tuple[Item, ...]", two: "tuple[Item, ...]") -> tuple[str, ...]:
    others = {item for item, _ in two}
    return tuple(item for item, _ in one if item not in others)
