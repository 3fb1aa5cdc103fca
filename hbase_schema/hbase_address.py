"""What an `hbase://` URL says: the Thrift servers, and how tables are to be named and made."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from happybase.connection import Connection

from pinflow.config import hide_secrets, parse_duration
from pinflow.errors import ConfigurationError

DEFAULT_PORT = 9090
FOREVER = 2**31 - 1
"""HBase's own number of seconds for cells that are never dropped."""

TIMEOUT_MILLISECONDS = 60_000
"""How long an answer is waited for."""
_CHOICES = {"transport": ("buffered", "framed"), "protocol": ("binary", "compact")}
_VALID = (
    "valid: hbase://host:port, or hbase://host:port,host:port?thrift2=host:port&prefix=prod:&ttl=400d"
    "&transport=framed&protocol=compact, of which all after the first host can be left out"
)

Host = tuple[str, int]


@dataclass(frozen=True)
class Address:
    """Thrift servers that serve the same HBase; `thrift2` is the one that can make tables with split keys.

    `prefix` comes before each table's name (`prod:` names a namespace, which must be there); `ttl`, in seconds, is
    after how long HBase drops a cell of the tables that are made.
    """

    hosts: tuple[Host, ...]
    thrift2: Host | None = None
    prefix: str = ""
    ttl: int = FOREVER
    transport: str = "buffered"
    protocol: str = "binary"

    def __str__(self) -> str:
        return ", ".join(f"{host}:{port}" for host, port in self.hosts)


def parse_address(url: str) -> Address:
    """The address that a URL says; raises `ConfigurationError` saying what is valid.

    >>> parse_address("hbase://a,b:9091?prefix=test_").hosts
    (('a', 9090), ('b', 9091))
    """
    try:
        parts = urlsplit(url)
        if parts.path.strip("/") or parts.fragment or parts.username is not None:
            raise ValueError(parts.path)
        given: dict[str, Any] = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        if "thrift2" in given:
            given["thrift2"] = _host(given["thrift2"])
        if "ttl" in given:
            given["ttl"] = min(int(parse_duration(given["ttl"]).total_seconds()), FOREVER)
        for name, choices in _CHOICES.items():
            if given.get(name, choices[0]) not in choices:
                raise ValueError(given[name])
        return Address(tuple(_host(text) for text in parts.netloc.split(",")), **given)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"`serving` cannot be {hide_secrets(url)!r}; {_VALID}") from error


def connect(address: Address, host: Host) -> Any:
    """A happybase connection to one of the hosts, that gives up waiting for an answer after a minute."""
    return Connection(  # type: ignore[no-untyped-call]
        *host, timeout=TIMEOUT_MILLISECONDS, transport=address.transport, protocol=address.protocol
    )


def _host(text: str) -> Host:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.netloc != text or "@" in text:
        raise ValueError(text)
    return parts.hostname, parts.port or DEFAULT_PORT
