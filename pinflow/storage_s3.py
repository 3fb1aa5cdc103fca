"""S3 as a storage, by boto3: `s3://bucket/key`, keys as they are, without quoting.

Credentials, region and endpoint are boto3's own matter (variables, ~/.aws, the role of the machine). What several
writers compete for is written with S3's conditional writes.
"""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
)

from pinflow.errors import ConfigurationError, PinflowError
from pinflow.storage import OWN_PREFIX, PATIENCE_SECONDS, Entry, Storage, explained
from pinflow.storage_remote import open_ranges, retrying

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Result = TypeVar("Result")

NEVER = datetime.min.replace(tzinfo=UTC)
_TOKEN = "pinflow-write"
_PIECES = TransferConfig(max_concurrency=2)
_MISSING = {"NoSuchKey", "404", "NotFound"}
_CHANGED = {"PreconditionFailed", "ConditionalRequestConflict"}
_NO_RIGHTS = {"AccessDenied", "403", "Forbidden", "AllAccessDisabled"}
_BAD_KEYS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"}
_PASSING = {"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "RequestTimeTooSkewed", "Throttling"}
_RIGHTS = {
    "read": "s3:GetObject",
    "write": "s3:PutObject and s3:GetObject",
    "look for": "s3:GetObject and s3:ListBucket",
    "list": "s3:ListBucket",
    "delete": "s3:DeleteObject and s3:ListBucket",
}


@lru_cache(maxsize=4)
def client(_process: int) -> "S3Client":
    """The S3 client of this process; one is not shared over a fork."""
    config = Config(
        retries={"mode": "standard", "max_attempts": 3}, connect_timeout=10, read_timeout=60, max_pool_connections=16
    )
    return boto3.client("s3", config=config)


class S3Storage(Storage):
    """Objects of S3; the contract is that of `Storage`. A call is tried again for `patience` seconds.

    There are no folders but those that objects' keys imply: their time of change is `NEVER`.
    """

    def __init__(self, *, patience: float = PATIENCE_SECONDS) -> None:
        self._retrying = retrying(_can_pass, patience)

    def read_bytes(self, path: str) -> bytes:
        """See Storage."""
        return self._get("read", path)[0]

    def read_if_exists(self, path: str) -> bytes | None:
        """See Storage."""
        found = self._get_if_exists(path)
        return found[0] if found else None

    def write_bytes(self, path: str, data: bytes) -> None:
        """See Storage."""
        bucket, key = split(path)
        self._call("write", path, lambda s3: s3.put_object(Bucket=bucket, Key=key, Body=data))

    def write_file(self, path: str, file: Path) -> None:
        """See Storage. Sent in pieces, whatever its size; they become the object together."""
        bucket, key = split(path)

        def send(s3: "S3Client") -> None:
            with explained("read", str(file)), file.open("rb") as stream:
                s3.upload_fileobj(stream, bucket, key, Config=_PIECES)

        self._call("write", path, send)

    def write_if(self, path: str, check: Callable[[bytes | None], bytes]) -> None:
        """See Storage. A write is refused when the object is no longer the one that was checked: then again."""
        bucket, key = split(path)
        token = secrets.token_hex(16)
        while True:
            old = self._get_if_exists(path)
            if old and old[2].get(_TOKEN) == token:
                return  # the answer to this very write was lost
            data = check(old[0] if old else None)
            condition: dict[str, Any] = {"IfMatch": old[1]} if old else {"IfNoneMatch": "*"}
            try:
                put = {"Bucket": bucket, "Key": key, "Body": data, "Metadata": {_TOKEN: token}, **condition}
                self._call("write", path, lambda s3, put=put: s3.put_object(**put))  # type: ignore[misc]
            except PinflowError as error:
                code = _code(error.__cause__)
                if code not in _CHANGED and not (old and code in _MISSING):
                    raise
            else:
                return

    def open_input(self, path: str) -> BinaryIO:
        """See Storage. Read by ranges of 8 MiB, of the object as it was when it was opened."""
        bucket, key = split(path)
        head = self._call("read", path, lambda s3: s3.head_object(Bucket=bucket, Key=key))

        def read_range(start: int, into: memoryview) -> None:
            span, tag = f"bytes={start}-{start + len(into) - 1}", head["ETag"]
            into[:] = self._call(
                "read",
                path,
                lambda s3: s3.get_object(Bucket=bucket, Key=key, Range=span, IfMatch=tag)["Body"].read(),
            )

        return open_ranges(head["ContentLength"], read_range)

    def exists(self, path: str) -> bool:
        """See Storage."""
        bucket, key = split(path)
        if key:
            try:
                self._call("look for", path, lambda s3: s3.head_object(Bucket=bucket, Key=key))
            except PinflowError as error:
                if _code(error.__cause__) not in _MISSING:
                    raise
            else:
                return True
        return self._has_below(path)

    def list(self, folder: str) -> "list[Entry]":
        """See Storage."""
        bucket, _ = split(folder)
        entries = []
        for page in self._pages(folder, Delimiter="/"):
            for prefix in page.get("CommonPrefixes", ()):
                path = f"s3://{bucket}/{prefix['Prefix'].rstrip('/')}"
                entries.append(Entry(path, _name(path), 0, NEVER, is_folder=True))
            entries += self._files(bucket, page)
        return sorted(entries, key=lambda entry: entry.name)

    def walk(self, folder: str) -> Iterator[Entry]:
        """See Storage. A page of 1,000 is asked for when the one before it was used up."""
        bucket, _ = split(folder)
        for page in self._pages(folder):
            yield from self._files(bucket, page)

    def make_folder(self, path: str) -> None:
        """See Storage."""

    def delete(self, path: str, *, recursive: bool = False) -> None:
        """See Storage."""
        bucket, key = split(path)
        if recursive:
            for page in self._pages(path):
                keys = [{"Key": found["Key"]} for found in page.get("Contents", ())]
                if keys:
                    self._call("delete", path, lambda s3, keys=keys: _delete_all(s3, bucket, keys))  # type: ignore[misc]
        elif self._has_below(path):
            raise PinflowError(f"cannot delete {path}: the folder is not empty; delete what is in it first")
        if key:
            self._call("delete", path, lambda s3: s3.delete_object(Bucket=bucket, Key=key))

    def _has_below(self, path: str) -> bool:
        bucket, _ = split(path)
        below = {"Bucket": bucket, "Prefix": _prefix(path), "MaxKeys": 1}
        found = self._call("look for", path, lambda s3: s3.list_objects_v2(**below))  # type: ignore[arg-type]
        return bool(found.get("KeyCount"))

    def _pages(self, folder: str, **options: str) -> Iterator[Any]:
        asked: dict[str, Any] = {"Bucket": split(folder)[0], "Prefix": _prefix(folder), **options}
        while True:
            page = self._call("list", folder, lambda s3: s3.list_objects_v2(**asked))
            yield page
            if not page.get("IsTruncated"):
                return
            asked["ContinuationToken"] = page["NextContinuationToken"]

    @staticmethod
    def _files(bucket: str, page: Any) -> Iterator[Entry]:
        for found in page.get("Contents", ()):
            path = f"s3://{bucket}/{found['Key']}"
            # consoles make empty objects that end with a slash, to show folders
            if not path.endswith("/") and not _name(path).startswith(OWN_PREFIX):
                yield Entry(path, _name(path), found["Size"], found["LastModified"].astimezone(UTC), is_folder=False)

    def _get(self, action: str, path: str) -> tuple[bytes, str, dict[str, str]]:
        """Content, tag and metadata."""
        bucket, key = split(path)

        def get(s3: "S3Client") -> tuple[bytes, str, dict[str, str]]:
            found = s3.get_object(Bucket=bucket, Key=key)
            return found["Body"].read(), found["ETag"], found["Metadata"]

        return self._call(action, path, get)

    def _get_if_exists(self, path: str) -> tuple[bytes, str, dict[str, str]] | None:
        try:
            return self._get("read", path)
        except PinflowError as error:
            if _code(error.__cause__) in _MISSING:
                return None
            raise

    def _call(self, action: str, path: str, function: Callable[["S3Client"], Result]) -> Result:
        with _explained(action, path):
            result: Result = self._retrying(lambda: function(client(os.getpid())))
            return result


def split(path: str) -> tuple[str, str]:
    """Bucket and key of a URL.

    >>> split("s3://bucket/a/b")
    ('bucket', 'a/b')
    """
    scheme, _, rest = path.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise ConfigurationError(f"{path!r} is no place in S3; valid: s3://bucket/folder. See: pinflow doctor")
    return bucket, key.rstrip("/")


def _prefix(folder: str) -> str:
    _, key = split(folder)
    return f"{key}/" if key else ""


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _delete_all(s3: "S3Client", bucket: str, keys: Any) -> None:
    failed = s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True}).get("Errors")
    if failed:
        first = {"Code": failed[0].get("Code", ""), "Message": failed[0].get("Message", "")}
        raise ClientError({"Error": first}, "DeleteObjects")  # type: ignore[typeddict-item]


def _code(error: BaseException | None) -> str:
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def _can_pass(error: BaseException) -> bool:
    """Whether the same call may succeed later: the network, or what the server says of its own state."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return _code(error) in _PASSING or status >= 500
    return isinstance(error, HTTPClientError | ConnectionError)


@contextmanager
def _explained(action: str, path: str) -> Iterator[None]:
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise PinflowError(f"cannot {action} {path}: {_advice(action, path, error)}") from error


def _advice(action: str, path: str, error: Exception) -> str:
    code, bucket = _code(error), split(path)[0]
    if code in _MISSING:
        return "there is no such file; see what is there with: pinflow datasets"
    if code == "NoSuchBucket":
        return f"there is no bucket {bucket!r}; make it, or set another one in pinflow.toml"
    if code in _NO_RIGHTS:
        return f"the rights are missing; grant {_RIGHTS[action]} on {bucket} to the role or user. See: pinflow doctor"
    if code in _BAD_KEYS or isinstance(error, NoCredentialsError):
        return f"{error}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or use a role of the machine"
    if isinstance(error, NoRegionError):
        return "no region is known; set AWS_DEFAULT_REGION"
    return f"{error}; check the network and AWS_ENDPOINT_URL_S3 with: pinflow doctor"
