"""Who stands behind a line of an access log: the hidden user, the app, and whether it is a bot."""

import hashlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from pinflow.errors import ConfigurationError

SECRET_NAME = "secret"
CountryOf = Callable[[str], str | None]

_SECRET_BYTES = 32
_ID_DIGITS = 16
_AGENTS = 100_000


def load_secret(home: Path) -> bytes:
    """The key that hides addresses, kept in `home`/secret (mode 0600) and made when it is not there.

    Two processes that make it at once end up with the same key. Raises `ConfigurationError` when the file is damaged
    or cannot be read.
    """
    path = home / SECRET_NAME
    try:
        if not path.exists():
            _make_secret(path)
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the key of user ids, {path}, cannot be used: {error}. See: pinflow doctor"
        ) from error
    if len(key) < _SECRET_BYTES:
        raise ConfigurationError(
            f"the key of user ids, {path}, has {len(key)} bytes; valid are {_SECRET_BYTES} in hexadecimal. Put it back "
            "from a backup, or remove it: then a new one is made, and all user ids change. See: pinflow doctor"
        )
    return key


def _make_secret(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{SECRET_NAME}.")  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_SECRET_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(name, path)  # fails when another was first: a rename would replace a key already in use
    except FileExistsError:
        pass
    finally:
        Path(name).unlink(missing_ok=True)


def user_id(address: str, secret: bytes) -> str:
    """The id of who comes from `address`: the first 16 hex digits of HMAC-SHA256 with the key.

    >>> user_id("192.0.2.1", b"key")
    '0d01cd1f8c54f86c'
    """
    return hmac.new(secret, address.encode(), hashlib.sha256).hexdigest()[:_ID_DIGITS]


@lru_cache(maxsize=_AGENTS)
def is_bot(agent: str) -> bool:
    """Whether a user agent is a crawler, by crawler-user-agents or by ua-parser.

    >>> is_bot("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)")
    True
    """
    import crawleruseragents
    import ua_parser

    if crawleruseragents.is_crawler(agent):
        return True
    device = ua_parser.parse_device(agent)
    return device is not None and device.family == "Spider"


@lru_cache(maxsize=_AGENTS)
def app_of(agent: str) -> str:
    """The app of a user agent: `iphone`, `ipad`, `android` or, for all else, `web`.

    >>> app_of("Mozilla/5.0 (iPad; CPU OS 7_0_4 like Mac OS X) AppleWebKit/537.51.1 Mobile/11B554a Safari/9537.53")
    'ipad'
    """
    import ua_parser

    system = ua_parser.parse_os(agent)
    if system is None or system.family not in ("iOS", "Android"):
        return "web"
    if system.family == "Android":
        return "android"
    device = ua_parser.parse_device(agent)
    return "ipad" if device is not None and device.family.startswith("iPad") else "iphone"


def no_country(address: str) -> str | None:  # noqa: ARG001
    """The country of an address where nothing tells it: None."""
    return None


def country_lookup(database: str) -> CountryOf:
    """A function address -> ISO country code or None, from a .mmdb file; always None without one.

    Raises `ConfigurationError` when the file cannot be opened.
    """
    if not database:
        return no_country
    import maxminddb

    try:
        reader = maxminddb.open_database(database)
    except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
        raise ConfigurationError(
            f"source.country_database cannot be {database!r}: {error}. Valid is a .mmdb file with countries, or '' for "
            "none. See: pinflow doctor"
        ) from error

    def country_of(address: str) -> str | None:
        try:
            found = reader.get(address)
        except ValueError:  # a host name in place of an address
            return None
        country = found.get("country") if isinstance(found, dict) else None
        code = country.get("iso_code") if isinstance(country, dict) else None
        return code if isinstance(code, str) else None

    return country_of
