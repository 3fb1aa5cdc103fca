"""One configuration: `pinflow.toml`, overridden by `PINFLOW_*` variables and by options of the command line.

Each setting is described once, here; docs/reference/configuration.md is tested against it. Relative paths
count from pinflow.toml when they stand in it, else from the working folder.
"""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_origin
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from pinflow.errors import ConfigurationError

FILE_NAME = "pinflow.toml"
PREFIX = "pinflow_"
PATH_SETTINGS = ("home", "input", "warehouse", "serving", "mail")
_NO_PLUGINS = "PYDANTIC_DISABLE_PLUGINS"
_DURATION = re.compile(r"\s*(\d+)\s*([smhdw])\s*")
_SIZE = re.compile(r"\s*(\d+)\s*([KMG])i?B?\s*", re.IGNORECASE)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_duration(text: str) -> timedelta:
    """Read a length of time such as `90s`, `15m`, `6h`, `35d` or `2w`.

    >>> parse_duration("6h")
    datetime.timedelta(seconds=21600)
    """
    match = _DURATION.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not a length of time; write a number and a unit: 90s, 15m, 6h, 35d, 2w")
    try:
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    except OverflowError:
        raise ValueError(f"{text!r} is too long") from None


class SourceSettings(BaseModel):
    """How the files below `input` are to be read."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    format: Literal["auto", "canonical", "access_log"] = Field(
        "auto", description="`auto`: a folder with `events/` below it is canonical, else it holds access logs."
    )
    paths: dict[Literal["events", "pins", "boards", "users"], str] = Field(
        default_factory=dict,
        description="Path templates below `input`, such as `topic/dt={date}/*`; default `KIND/date={date}/*`.",
    )
    fields: dict[Literal["events", "pins", "boards", "users"], dict[str, str]] = Field(
        default_factory=dict, description="Per kind: pinflow's field name = the name in your files."
    )
    ready: str = Field("", description="A file, such as `_SUCCESS`, that must be in a day's folder before it is read.")
    bad_share: float = Field(0.01, ge=0, le=1, description="Bad lines above this share of an input are fatal.")
    site: str = Field("localhost", description="Access logs: the site's own host, the domain of its pages.")
    country_database: str = Field("", description="Access logs: a .mmdb file that gives the country of an address.")


class _Form(NamedTuple):
    """What the text of a place must begin with, and how it looks."""

    pattern: re.Pattern[str]
    example: str


URL_FORMS = {
    # each process has a database in memory to itself
    "database": _Form(re.compile(r"(?!sqlite:/*(:memory:)?$)"), "sqlite:///FILE, mysql+pymysql://USER@HOST:PORT/NAME"),
    "serving": _Form(re.compile(r"hbase://.|(?!.*://)"), "a file, hbase://HOST:PORT"),
    "mail": _Form(re.compile(r"smtps?://.|(?!.*://)"), "a folder, smtp://HOST:PORT, smtps://HOST:PORT"),
}


def hide_secrets(url: str) -> str:
    """A URL as it may be shown: without user and password, and of an http URL without path and query.

    >>> hide_secrets("smtp://ann:secret@mail.example.com:587"), hide_secrets("https://hooks.example.com/T0/secret")
    ('smtp://***@mail.example.com:587', 'https://hooks.example.com/…')
    """
    shown = re.sub(r"//.*@", "//***@", url, count=1, flags=re.DOTALL)
    return re.sub(r"^(https?://[^/?#]*)[/?#].+", r"\1/…", shown, flags=re.DOTALL)


class Settings(BaseModel):
    """All settings of one invocation."""

    model_config = ConfigDict(extra="forbid", validate_default=True, defer_build=True)

    home: str = Field(".pinflow", description="Folder of all embedded state.")
    input: str = Field("", description="Folder of the raw events and objects; also s3:// and hdfs://.")
    source: SourceSettings = Field(default_factory=lambda: SourceSettings())
    warehouse: str = Field("", description="Folder of the datasets; also s3:// and hdfs://; default `HOME/warehouse`.")
    database: str = Field("", description="SQLAlchemy URL of scheduler and statistics; default `HOME/pinflow.db`.")
    serving: str = Field("", description="File of the table store, or `hbase://host:port`; default `HOME/serving.db`.")
    mail: str = Field("", description="A Maildir folder or `smtp://user:password@host:port`; default `HOME/mail`.")
    webhooks: list[str] = Field([], description="URLs that get each mail as JSON too; in PINFLOW_WEBHOOKS by comma.")
    mail_from: str = Field("pinflow@localhost", description="Sender of all mail.")
    owner: str = Field("owner@localhost", description="Owner of the built-in workflows' jobs: who gets the mail.")
    country: str = Field("", description="Whose public holidays forecasts expect: `US`, or a part of it, `GB-ENG`.")
    warnings_a_year: float = Field(12, gt=0, description="False warnings of forecasts that a workflow may raise.")
    fatals_a_year: float = Field(1, gt=0, description="False fatal alerts of forecasts that a workflow may raise.")
    runner: Literal["local", "inline", "hadoop", "emr"] = Field("local", description="Where MapReduce jobs run.")
    slots: int = Field(0, ge=0, description="Processes at once; 0: one for each core.")
    memory: str = Field("512MB", description="What one task may hold of its data before it splits or spills.")
    keep: str = Field("35d", description="How long datasets, serving rows and bad lines are kept.")
    keep_statistics: str = Field(
        "800d", description="How long the statistics of jobs, and runs with their events and logs, are kept."
    )
    top: int = Field(100, ge=1, le=999, description="Length of the top lists.")
    workflows: list[str] = Field(
        ["pinflow.workflows.analytics"], description="Modules that declare workflows; in PINFLOW_WORKFLOWS by comma."
    )
    connections: dict[str, str] = Field(
        default_factory=dict, description="Other databases that conditions ask: a name = an SQLAlchemy URL."
    )

    @field_validator("workflows", "webhooks", mode="before")
    @classmethod
    def _by_comma(cls, value: Any) -> Any:
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value

    @field_validator(*URL_FORMS)
    @classmethod
    def _is_place(cls, value: str, info: ValidationInfo) -> str:
        form = URL_FORMS[info.field_name or ""]
        if value and not form.pattern.match(value):
            raise ValueError(f"valid: {form.example}")
        return value

    @field_validator("webhooks")
    @classmethod
    def _are_urls(cls, value: list[str]) -> list[str]:
        if not all(re.match(r"https?://.", url) for url in value):
            raise ValueError("valid: a list of URLs such as https://HOST/PATH")
        return value

    @field_validator("owner")
    @classmethod
    def _is_somebody(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("it gets the mail: give an address")
        return value

    @field_validator("keep", "keep_statistics")
    @classmethod
    def _is_duration(cls, value: str) -> str:
        parse_duration(value)
        return value

    @field_validator("memory")
    @classmethod
    def _is_size(cls, value: str) -> str:
        parse_size(value)
        return value

    @cached_property
    def home_path(self) -> Path:
        """`home` as an absolute path."""
        return Path(self.home).absolute()

    @property
    def warehouse_url(self) -> str:
        """Where datasets lie."""
        return self.warehouse or str(self.home_path / "warehouse")

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the scheduler's and the statistics' tables."""
        return self.database or f"sqlite:///{self.home_path / 'pinflow.db'}"

    @property
    def serving_url(self) -> str:
        """Where serving rows lie."""
        return self.serving or str(self.home_path / "serving.db")

    @property
    def mail_url(self) -> str:
        """Where mail goes."""
        return self.mail or str(self.home_path / "mail")

    @property
    def slot_count(self) -> int:
        """Processes at once."""
        return self.slots or len(os.sched_getaffinity(0))

    @property
    def memory_bytes(self) -> int:
        """`memory` in bytes."""
        return parse_size(self.memory)

    @property
    def logs_path(self) -> Path:
        """The folder with a folder of logs for each run."""
        return self.home_path / "logs"

    @property
    def staging_path(self) -> Path:
        """The folder where attempts write what then goes to a remote warehouse as a whole."""
        return self.home_path / "staging"

    @property
    def keep_statistics_for(self) -> timedelta:
        """`keep_statistics` as a length of time."""
        return parse_duration(self.keep_statistics)

    @property
    def keep_for(self) -> timedelta:
        """`keep` as a length of time."""
        return parse_duration(self.keep)


def parse_size(text: str) -> int:
    """Read a size such as `64MB`, `512MB` or `2GB`, in bytes (powers of 1,024).

    >>> parse_size("2GB")
    2147483648
    """
    match = _SIZE.fullmatch(text)
    if not match or int(match[1]) == 0:
        raise ValueError(f"{text!r} is not a size; write a number and a unit: 256MB, 2GB")
    factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[match[2].upper()]
    return int(match[1]) * factor


def find_file(folder: Path) -> Path | None:
    """The pinflow.toml of `folder` or of the nearest folder above it."""
    return next((f / FILE_NAME for f in (folder, *folder.parents) if (f / FILE_NAME).is_file()), None)


def project_folder() -> Path:
    """The folder of the pinflow.toml that counts; without one the working folder."""
    given = os.environ.get("PINFLOW_CONFIG")
    file = Path(given) if given else find_file(Path.cwd())
    return file.absolute().parent if file else Path.cwd()


def _build() -> None:
    """Build what checks settings, without pydantic's search for plugins in every distribution that is installed."""
    before = os.environ.get(_NO_PLUGINS)
    os.environ[_NO_PLUGINS] = "true"
    try:
        for model in (SourceSettings, Settings):
            model.model_rebuild(force=True)
    finally:
        del os.environ[_NO_PLUGINS]
        if before is not None:
            os.environ[_NO_PLUGINS] = before


_build()


def load(
    options: Mapping[str, Any] | None = None, *, file: Path | None = None, working_folder: Path | None = None
) -> Settings:
    """Read pinflow.toml, then the environment, then `options`; the last to name a setting wins.

    Raises `ConfigurationError` naming the setting, its value and what would be valid.
    """
    folder = (working_folder or Path.cwd()).absolute()
    file = file or (Path(os.environ["PINFLOW_CONFIG"]) if os.environ.get("PINFLOW_CONFIG") else find_file(folder))
    values: dict[str, Any] = {}
    base = folder
    if file is not None:
        base = file.absolute().parent
        values = _anchor(_read(file), base)
    for layer in (_environment(), dict(options or {})):
        values = _merge(values, _anchor(layer, folder))
    values.setdefault("home", str(base / ".pinflow"))
    try:
        return Settings(**values)
    except ValidationError as error:
        raise ConfigurationError(_explain(error, file)) from error


def _environment() -> dict[str, Any]:
    """The settings of PINFLOW_* variables, whose names are not told apart by case.

    One in a section is named by all names on the way to it, joined by `__`; a section as a whole is a JSON object.
    """
    found: dict[str, Any] = {}
    for variable, value in sorted(os.environ.items()):
        first, *rest = variable.lower().removeprefix(PREFIX).split("__")
        if variable.lower().startswith(PREFIX) and first in Settings.model_fields:
            is_whole = not rest and _is_section(first)
            read = _read_variable(variable, value, is_whole=is_whole) if rest or is_whole else value
            for name in reversed(rest):
                read = {name: read}
            found = _merge(found, {first: read})
    return found


def _is_section(name: str) -> bool:
    kind = Settings.model_fields[name].annotation
    return get_origin(kind) is dict or (isinstance(kind, type) and issubclass(kind, BaseModel))


def _read_variable(variable: str, value: str, *, is_whole: bool) -> Any:
    """JSON, or text; a setting within a section may be a text that only begins as JSON does, such as a pattern."""
    if not value.lstrip().startswith("{"):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        if not is_whole:
            return value
        raise ConfigurationError(f"cannot read {variable}: {error}; write a JSON object, or plain text") from error


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"there is no configuration file {file}; write one with: pinflow init") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(
            f"cannot read the configuration {file}: {error}; correct it, then: pinflow doctor"
        ) from error


def _anchor(values: dict[str, Any], base: Path) -> dict[str, Any]:
    anchored = dict(values)
    for name in PATH_SETTINGS:
        value = anchored.get(name)
        if isinstance(value, str) and value:
            anchored[name] = _place(value, base)
    source = anchored.get("source")
    if isinstance(source, dict) and source.get("country_database"):
        anchored["source"] = source | {"country_database": _place(source["country_database"], base)}
    return anchored


def _place(value: str, base: Path) -> str:
    """A path as an absolute one, also when it is given as a file URL; other URLs as they are."""
    scheme, separator, rest = value.partition("://")
    if not separator:
        return str(base / Path(value).expanduser())
    host, _, below = rest.partition("/")
    return f"/{unquote(below)}" if scheme == "file" and host in ("", "localhost") else value


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        merged[name] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _explain(error: ValidationError, file: Path | None) -> str:
    lines = []
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            lines.append(f"unknown setting {name!r}; known: {', '.join(_known_beside(problem['loc']))}")
        else:
            reason = problem["msg"].removeprefix("Value error, ")
            # the path of a webhook is a secret, also where its scheme was forgotten
            shown = "'***'" if name.startswith("webhooks") else repr(_shown(problem["input"]))
            lines.append(f"setting {name!r} cannot be {shown}: {reason}")
    where = f" (file {file})" if file else ""
    return f"cannot use the configuration{where}: " + "; ".join(lines) + ". See: pinflow doctor"


def _shown(value: Any) -> Any:
    if isinstance(value, list):
        return [_shown(one) for one in value]
    return hide_secrets(value) if isinstance(value, str) else value


def _known_beside(place: tuple[int | str, ...]) -> list[str]:
    """The full names of the settings in the section of an unknown one."""
    *sections, _ = place
    model: Any = Settings
    for section in sections:
        model = model.model_fields[section].annotation
    return [".".join(map(str, (*sections, name))) for name in model.model_fields]
