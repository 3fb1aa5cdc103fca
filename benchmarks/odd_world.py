"""The objects of an odd day: pins, boards and users with every kind of id, some changed from day to day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from random import Random
from typing import Any

Row = dict[str, Any]

HEAVY_DOMAIN = "half.example"
TIED_DOMAIN = "tied.example"
TIED_OWNER = "tied owner"

ODD_IDS = (
    *(
        "a_b",
        "_",
        "__",
        "_other",
        "100%",
        "%5F",
        "%",
        "tab\tid",
        "\t",
        "line\nend",
        "back\\slash",
        "sl/ash",
        "/",
    ),
    *(
        'quo"te',
        "it's",
        "`tick`",
        "com,ma;semi",
        "sp ace",
        " lead",
        "trail ",
        "a  b",
        "007",
        "1e5",
        "0x1F",
        "1.50",
    ),
    *(
        "null",
        "NaN",
        "true",
        "[]",
        "{}",
        "d:odd",
        "ünï",
        "u\u0308ni",
        "日本語",
        "пин",
        "😀",
        "👩‍👩‍👧",
        "line\u2028sep",
    ),
    *("עברית", "\u200bzero", "nbsp\u00a0x", "A_B", "a-b", "x" * 300),
)
"""Ids of pins, boards, owners and users. All differ, also after Unicode case folding is left undone."""

ODD_DOMAINS = (
    *("münchen.example", "MÜNCHEN.example", "xn--mnchen-3ya.example", "例え.jp", "пример.рф", "ПРИМЕР.рф"),
    *("www.example.org", "example.org", "WWW.Example.ORG", "a_b.example", "100%.example", "tab\t.example"),
    *(
        'q"uote.example',
        "sp ace.example",
        "slash.example/path",
        "co:lon.example:8080",
        "😀.example",
        "p:owner",
    ),
)
"""Domains; some are equal once they are in lower case."""

ODD_COUNTRIES = ("US", "DE", "us", "Côte d'Ivoire", "x/y", "tab\there", "%", "_", "日本", "")
GENDERS = ("female", "male", "a/b %_", "", None)
METROS = ("501", "New York/NJ", "Köln\t", "_", None, None, None)

# Code points put U+FF5E before U+1F600; UTF-16 code units would swap the two around the cut at 100.
TIED_IDS = (
    *(f"tie-{number:03d}" for number in range(97)),
    *("tie-Z", "tie-a", "tie-\uff5e", "tie-\U0001f600", "tie-\U0001f601"),
    *(f"tie-\U0001f602{number:02d}" for number in range(23)),
)
"""Pins, and boards of the same names, that have equal numbers."""


@dataclass(frozen=True)
class World:
    """All objects of one day. The lists have one row for each id."""

    pins: list[Row]
    boards: list[Row]
    users: list[Row]

    @classmethod
    def of(cls, seed: int, day: date, events: int) -> "World":
        """The objects that go with a number of events."""
        random = Random(f"{seed} objects")
        plain = max(60, events // 20)
        pins = [*_heavy_pins(), *_tied_pins(), *_odd_pins(random), *_plain_pins(random, plain, day)]
        users = _users(random, max(80, events // 8), day)
        boards = sorted({str(pin["board_id"]) for pin in pins if pin.get("board_id")})
        return cls(pins, [{"board_id": board, "owner_id": "o1", "name": f"{board}!"} for board in boards], users)

    def pins_of(self, domain: str) -> list[Row]:
        """The pins whose row has exactly this domain."""
        return [pin for pin in self.pins if pin.get("domain") == domain]

    def kinds(self) -> dict[str, list[Row]]:
        """Rows by kind: pins, boards, users."""
        return {"pins": self.pins, "boards": self.boards, "users": self.users}


def _heavy_pins() -> list[Row]:
    return [
        {
            "pin_id": f"half-{number}",
            "board_id": f"half-board-{number % 7}",
            "owner_id": f"half-owner-{number % 3}",
            "domain": HEAVY_DOMAIN,
            "search_score": number % 11 / 4,
        }
        for number in range(140)
    ]


def _tied_pins() -> list[Row]:
    fixed = {"owner_id": TIED_OWNER, "domain": TIED_DOMAIN, "search_score": 7}
    return [{"pin_id": name, "board_id": name} | fixed for name in TIED_IDS]


def _odd_pins(random: Random) -> list[Row]:
    """A pin with each odd id, also one for each odd domain, and a few with numbers as ids."""
    rows = [
        {
            "pin_id": name,
            "board_id": ODD_IDS[-1 - number],
            "owner_id": ODD_IDS[number * 7 % len(ODD_IDS)],
            "domain": ODD_DOMAINS[number % len(ODD_DOMAINS)],
            "search_score": random.randrange(-640, 640) / 64,
        }
        for number, name in enumerate(ODD_IDS)
    ]
    rows += [
        {"pin_id": 7, "board_id": 70, "owner_id": 700, "domain": "number.example", "search_score": 1},
        {
            "pin_id": 2**53 + 1,
            "board_id": "70",
            "owner_id": "700",
            "domain": "number.example",
            "search_score": 2.5,
        },
        {"pin_id": "no-domain", "board_id": "b-no", "owner_id": "o-no", "domain": None, "search_score": 3},
        {
            "pin_id": "no-owner",
            "board_id": "b-no",
            "owner_id": "",
            "domain": "no-owner.example",
            "search_score": 4,
        },
        {"pin_id": "no-board", "owner_id": "o-no", "domain": "no-owner.example", "search_score": 0},
        {"pin_id": "no-score", "board_id": "b-no", "owner_id": "o-no", "domain": "no-owner.example"},
        {"pin_id": "nothing"},
    ]
    return rows


def _plain_pins(random: Random, count: int, day: date) -> list[Row]:
    """Ordinary pins. From day to day a third changes its score, a tenth its board and a tenth its domain.

    Pins that change board or domain keep their score.
    """
    rows = []
    for number in range(count):
        score = random.randrange(0, 6400) / 64
        change = day.toordinal() % 5
        moved_board = number % 10 == 1
        moved_domain = number % 10 == 2
        if number % 3 == 0 and not (moved_board or moved_domain):
            score = (number * 37 + change * 101) % 997 / 64
        rows.append(
            {
                "pin_id": f"pin{number}",
                "board_id": f"board{(number + moved_board * change) % (count // 4)}",
                "owner_id": f"owner{number % (count // 6)}",
                "domain": f"site{(number + moved_domain * change) % (count // 5)}.example",
                "search_score": int(score) if score.is_integer() else score,
            }
        )
    return rows


def _users(random: Random, count: int, day: date) -> list[Row]:
    """Users, one in ten with another country on every other day, one in nine without a row."""
    names: Sequence[Any] = (*ODD_IDS, 12, 34, *(f"user{number}" for number in range(count)))
    rows = []
    for number, name in enumerate(names):
        country = random.choice(ODD_COUNTRIES)
        row = {
            "user_id": name,
            "country": country,
            "gender": random.choice(GENDERS),
            "metro": random.choice(METROS),
        }
        if number % 10 == 3:
            row["country"] = ("BR", "FR")[day.toordinal() % 2]
        if number % 9:
            rows.append(row)
    return rows
