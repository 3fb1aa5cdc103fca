"""The calls of WebHDFS, HDFS's interface over HTTP: each made again for minutes while it can pass.

`hdfs://host:port` names the NameNode's RPC port, of which nothing tells the HTTP one: WEBHDFS_URL does, one URL or,
for several NameNodes, more by comma; without it, port 9870 of the same host. `webhdfs://` and `swebhdfs://` name the
HTTP or HTTPS port themselves. HADOOP_USER_NAME is who asks; Kerberos needs the package requests-kerberos.
"""

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, urlsplit

import requests
import tenacity

from pinflow.errors import ConfigurationError
from pinflow.storage_remote import retrying

DEFAULT_PORT = 9870
_TIMEOUT = (10, 60)
_PIECE_BYTES = 1 << 20
"""What of a file is taken off the network at once; requests by itself takes ten kilobytes."""
_PASSING = ("StandbyException", "RetriableException", "SafeModeException", "NoRouteToHostException")
_PASSING_WORDS = (
    "could only be written to 0 of the",
    # a NameNode that was just started, and knows of none yet
    "Failed to find datanode",
    "No active nodes contain this block",
    "Not enough replicas",
    "lease recovery is in progress",
    # a DataNode that has lost the NameNode: what Hadoop's NetUtils.wrapException says
    "failed on connection exception",
    "failed on socket timeout exception",
    "failed on socket exception",
    "End of File Exception between local host",
    "Failed on local exception",
)


class WebHdfsError(Exception):
    """What HDFS answered: `kind` is the name of the Java exception; empty when the network failed."""

    def __init__(self, kind: str, message: str, *, can_pass: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.can_pass = can_pass


@lru_cache(maxsize=4)
def session(_process: int) -> requests.Session:
    """The connections of this process; they are not shared over a fork. No proxy stands before HDFS."""
    made = requests.Session()
    made.trust_env = False
    made.verify = os.environ.get("REQUESTS_CA_BUNDLE", True)
    if os.environ.get("WEBHDFS_KERBEROS"):
        from requests_kerberos import HTTPKerberosAuth  # type: ignore[import-not-found]

        made.auth = HTTPKerberosAuth()
    return made


class WebHdfs:
    """A client of the NameNodes that serve a URL."""

    def __init__(self, environment: Mapping[str, str], *, patience: float) -> None:
        self._environment = environment
        self._patience = patience
        self._retrying = retrying(lambda error: isinstance(error, WebHdfsError) and error.can_pass, patience)
        self._turn = 0

    def get(self, url: str, operation: str, **parameters: Any) -> Any:
        """The JSON that an operation gives."""
        return self._retrying(lambda: self._asked("GET", url, operation, parameters).json())

    def put(self, url: str, operation: str, seconds: float = math.inf, **parameters: Any) -> None:
        """An operation that changes something; it is not begun again, or waited for, longer than so many `seconds`."""
        stop = tenacity.stop_before_delay(min(self._patience, seconds))
        timeout = tuple(min(seconds, limit) for limit in _TIMEOUT)
        self._retrying.copy(stop=stop)(lambda: self._asked("PUT", url, operation, parameters, timeout=timeout))

    def delete(self, url: str, **parameters: Any) -> bool:
        """Whether something was there to be deleted."""
        return bool(self._retrying(lambda: self._asked("DELETE", url, "DELETE", parameters).json()["boolean"]))

    def read(self, url: str) -> bytes:
        """All bytes of a file."""
        content: bytes = self._retrying(lambda: self._asked("GET", url, "OPEN", {}).content)
        return content

    def read_into(self, url: str, offset: int, into: memoryview) -> None:
        """Fill `into` with the bytes of a file from `offset` on."""
        wanted = {"offset": offset, "length": len(into)}

        def fill() -> None:
            at = 0
            with self._asked("GET", url, "OPEN", wanted, stream=True) as answer, _passing_errors():
                for piece in answer.iter_content(_PIECE_BYTES):
                    into[at : at + len(piece)] = piece
                    at += len(piece)
            if at < len(into):
                raise WebHdfsError("", f"{at} bytes came of {len(into)}", can_pass=True)

        self._retrying(fill)

    def create(self, url: str, data: bytes | Path, *, overwrite: bool) -> None:
        """Write a file, bytes or what a file of this machine holds: the NameNode says to which DataNode."""

        def write() -> None:
            parameters = {"overwrite": str(overwrite).lower(), "noredirect": "true"}
            place = self._asked("PUT", url, "CREATE", parameters).json()["Location"]
            with data.open("rb") if isinstance(data, Path) else nullcontext(data) as body:
                self._send("PUT", place, data=body)

        self._retrying(write)

    def _asked(
        self, method: str, url: str, operation: str, parameters: Mapping[str, Any], **options: Any
    ) -> requests.Response:
        bases = addresses(url, self._environment)
        base = bases[self._turn % len(bases)]
        user = self._environment.get("HADOOP_USER_NAME")
        asked = {"op": operation, **({"user.name": user} if user else {}), **parameters}
        try:
            return self._send(method, f"{base}/webhdfs/v1{quote(path_of(url))}", params=asked, **options)
        except WebHdfsError as error:
            self._turn += error.can_pass
            raise

    @staticmethod
    def _send(method: str, url: str, **options: Any) -> requests.Response:
        with _passing_errors():
            answer = session(os.getpid()).request(method, url, **{"timeout": _TIMEOUT} | options)
            if answer.status_code >= 400:
                _refuse(answer)
            return answer


@contextmanager
def _passing_errors() -> Iterator[None]:
    """What happens on the way becomes a `WebHdfsError`, most of which can pass."""
    try:
        yield
    except requests.RequestException as error:
        can_pass = not isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.SSLError)
        raise WebHdfsError("", f"{type(error).__name__}: {error}", can_pass=can_pass) from error


def addresses(url: str, environment: Mapping[str, str]) -> list[str]:
    """Where the NameNodes of a URL are asked over HTTP.

    >>> addresses("hdfs://nn:8020/a", {}), addresses("swebhdfs://nn:9871/a", {})
    (['http://nn:9870'], ['https://nn:9871'])
    """
    parts = urlsplit(url)
    if parts.scheme in ("webhdfs", "swebhdfs"):
        return [f"{'https' if parts.scheme == 'swebhdfs' else 'http'}://{parts.netloc}"]
    given = environment.get("WEBHDFS_URL", "")
    if given:
        return [base.strip().rstrip("/") for base in given.split(",")]
    if parts.scheme != "hdfs" or not parts.hostname:
        raise ConfigurationError(
            f"{url!r} is no place in HDFS; valid: hdfs://namenode:8020/folder. See: pinflow doctor"
        )
    return [f"http://{parts.hostname}:{DEFAULT_PORT}"]


def path_of(url: str) -> str:
    """The path within HDFS.

    >>> path_of("hdfs://nn:8020/a b/c/"), path_of("hdfs://nn:8020")
    ('/a b/c', '/')
    """
    _, _, rest = url.partition("://")
    return "/" + rest.partition("/")[2].strip("/")


def _refuse(answer: requests.Response) -> NoReturn:
    try:
        remote = answer.json()["RemoteException"]
        kind, message = str(remote["exception"]), str(remote["message"]).partition("\n")[0]
    except (ValueError, KeyError, TypeError):
        kind, message = f"HTTP {answer.status_code}", answer.text[:300]
    can_pass = kind in _PASSING or any(word in message for word in (*_PASSING, *_PASSING_WORDS))
    raise WebHdfsError(kind, message, can_pass=can_pass or answer.status_code in (502, 503, 504))
