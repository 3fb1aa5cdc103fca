"""Access logs of a web site as events: page views are impressions, and those that another site referred clickthroughs.

Each line is counted once, under the first that fits: `blank_lines`, `bad_lines`, `dropped_method` (not GET),
`dropped_status` (neither 200 nor 304), `dropped_asset`, `dropped_bot`, `page_views`.
"""

from collections.abc import Callable, Iterator

import polars as pl

from pinflow.errors import UnknownNameError
from pinflow.mr_jobs.inputs.blocks import BLOCK_BYTES, MAX_TEXT, BadLine, Block, read_blocks
from pinflow.mr_jobs.inputs.canonical import FILE, MAX_TEXT_BYTES, OBJECT_FIELDS, OFFSET
from pinflow.mr_jobs.inputs.log_lines import read_log_lines
from pinflow.mr_jobs.inputs.parsed import EVENT_COLUMNS, Parsed, Rows, line_counts
from pinflow.mr_jobs.inputs.splits import Split
from pinflow.mr_jobs.inputs.visitors import CountryOf, app_of, is_bot, no_country, user_id

ASSETS = frozenset(
    extension
    for group in (
        "css js mjs map json wasm",
        "png jpg jpeg gif svg svgz ico webp avif bmp tif tiff apng heic",
        "woff woff2 ttf otf eot",
        "rss atom rdf xml txt",
        "mp3 mp4 m4a m4v ogg oga ogv wav flac avi mov mkv mpg mpeg webm swf flv",
        "zip gz tgz bz2 xz zst 7z rar tar jar iso dmg exe msi deb rpm apk bin",
        "pdf doc docx xls xlsx ppt pptx csv",
    )
    for extension in group.split()
)
"""File extensions (lower case) of what a page view is not."""

DROPPED = ("dropped_method", "dropped_status", "dropped_asset", "dropped_bot")
"""Counts of lines that can be read but are no page view, in the order in which they are decided."""

_HOST = r"^(?i:https?)://(?:[^/?#@]*@)?(\[[^\]/?#]*\]|[^/?#:@\[\]]+)(?::[0-9]*)?(?:[/?#]|$)"
_OWN_ORIGIN = r"^((?i:https?)://[^/?#]+)"
_NO_PATH = f"the request names no path of at most {MAX_TEXT_BYTES} bytes"
_MAX_HOST = 253  # of a name in the DNS


def parse_log(lines: Block | Rows, site: str, secret: bytes, country_of: CountryOf = no_country) -> Parsed:
    """Turn a block of log lines into events with `EVENT_COLUMNS`, of any day.

    A page view is an impression: pin = path without query and fragment, board = its first two segments, owner = its
    first segment (`/` for the start page), domain = `site`. Referred by another host it is also a clickthrough with
    that host as domain. User = keyed hash of the address, app from the user agent, country from `country_of`.
    """
    rows = lines if isinstance(lines, Rows) else read_log_lines(lines)
    frame = _with_paths(rows.frame)
    verdict = _verdicts(frame)
    no_path = verdict == "bad"
    bad = sorted((*rows.bad, *_without_path(rows, no_path)))
    views = _views(frame.filter(verdict == "view"), site, secret, country_of)
    counts = line_counts(rows, len(bad))
    counts |= {name: int((verdict == name).sum()) for name in DROPPED}
    counts["page_views"] = views.height
    impressions = views.with_columns(event_type=pl.lit("impression"), domain=pl.lit(_lower(site), pl.String))
    clicks = views.filter(pl.col("domain").is_not_null()).with_columns(event_type=pl.lit("clickthrough"))
    return Parsed(pl.concat([impressions.select(EVENT_COLUMNS), clicks.select(EVENT_COLUMNS)]), bad, counts)


def log_objects(kind: str, events: pl.DataFrame, *, file: int = 0) -> pl.DataFrame:
    """The pins, boards or users that the events of `parse_log` show, each once, in the columns of `parse_objects`.

    A board's name is its id; users have the country of their address. Equal objects in several blocks are no
    repeated rows: a log says the same of each on every line.
    """
    if kind not in OBJECT_FIELDS:
        raise UnknownNameError("kind of object", kind, OBJECT_FIELDS, "pinflow datasets")
    views = events.filter(pl.col("event_type") == "impression").with_columns(
        name=pl.col("board_id"), gender=pl.lit(None, pl.String)
    )
    distinct = views.select(OBJECT_FIELDS[kind]).unique(OBJECT_FIELDS[kind][0], keep="first", maintain_order=True)
    place = pl.int_range(distinct.height, dtype=pl.Int64, eager=True).alias(OFFSET)
    return distinct.with_columns(pl.lit(file, pl.UInt32).alias(FILE), place)


def read_log(
    split: Split,
    site: str,
    secret: bytes,
    country_of: CountryOf = no_country,
    *,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[Parsed]:
    """Read the events of a split of an access log, a block at a time."""
    for block in read_blocks(split, block_bytes):
        yield parse_log(block, site, secret, country_of)


def _with_paths(frame: pl.DataFrame) -> pl.DataFrame:
    """Add `path`: the target without query and fragment; null where there is none."""
    target = frame["target"]
    if not target.str.starts_with("/").all():
        host = target.str.extract(_OWN_ORIGIN)
        rest = target.str.replace(_OWN_ORIGIN, "")
        start_page = host.is_not_null() & ~rest.str.starts_with("/")  # http://host?query
        target = rest.zip_with(~start_page.fill_null(False), "/" + rest)
    path = target
    for mark in "?#":
        path = path.str.splitn(mark, 2).struct.field("field_0")
    unusable = ~path.str.starts_with("/") | (path.str.len_bytes() > MAX_TEXT_BYTES)
    return frame.with_columns(path.set(unusable, None).alias("path"))


def _verdicts(frame: pl.DataFrame) -> pl.Series:
    """What becomes of each line: `bad`, one of `DROPPED`, or `view`."""
    extension = pl.col("path").str.extract(r"\.([A-Za-z0-9]+)$").str.to_lowercase()
    bots = _each(frame["agent"], is_bot, pl.Boolean).fill_null(False)
    verdict = (
        pl.when(pl.col("method").ne_missing("GET"))
        .then(pl.lit("dropped_method"))
        .when(~pl.col("status").is_in(["200", "304"]))
        .then(pl.lit("dropped_status"))
        .when(pl.col("path").is_null())
        .then(pl.lit("bad"))
        .when(extension.is_in(list(ASSETS)))
        .then(pl.lit("dropped_asset"))
        .when(bots)
        .then(pl.lit("dropped_bot"))
        .otherwise(pl.lit("view"))
    )
    return frame.select(verdict.alias("verdict")).to_series()


def _without_path(rows: Rows, mask: pl.Series) -> list[BadLine]:
    if not mask.any():
        return []
    offsets = rows.offsets()
    return [BadLine(int(offsets[row]), _NO_PATH, rows.text(row)[:MAX_TEXT]) for row in mask.arg_true().to_list()]


def _views(frame: pl.DataFrame, site: str, secret: bytes, country_of: CountryOf) -> pl.DataFrame:
    """Columns of page views; `domain` is the host that referred it, null when that is none or the site itself."""
    segments = pl.col("path").str.extract_groups(r"^/+([^/]+)(?:/+([^/]+))?")
    owner, second = segments.struct.field("1"), segments.struct.field("2")
    board = pl.when(second.is_not_null()).then("/" + owner + "/" + second).otherwise("/" + owner)
    host = pl.col("referrer").str.extract(_HOST).str.to_lowercase().str.strip_chars_end(".")
    own = _bare(_lower(site))
    other = (host.str.strip_prefix("www.") != own) & host.str.len_bytes().is_between(1, _MAX_HOST)
    addresses = frame["address"]
    return frame.select(
        pl.col("time").alias("timestamp"),
        _each(addresses, lambda address: user_id(address, secret), pl.String).alias("user_id"),
        pl.col("path").alias("pin_id"),
        _each(frame["agent"].fill_null("-"), app_of, pl.String).alias("app"),
        _each(addresses, country_of, pl.String).alias("country"),
        pl.lit(None, pl.String).alias("metro"),
        pl.lit(None, pl.String).alias("network"),
        pl.when(other).then(host).alias("domain"),
        owner.fill_null("/").alias("owner_id"),
        board.fill_null("/").alias("board_id"),
    )


def _each(values: pl.Series, function: Callable[[str], object], dtype: type[pl.DataType]) -> pl.Series:
    """`function` of each value, called once for each different one; null stays null."""
    different = values.drop_nulls().unique()
    if different.is_empty():
        return pl.Series(values.name, [None] * values.len(), dtype=dtype)
    results = pl.Series([function(value) for value in different.to_list()], dtype=dtype)
    return values.replace_strict(different, results, default=None, return_dtype=dtype)


def _lower(site: str) -> str:
    return site.strip().lower()


def _bare(host: str) -> str:
    return host.partition(":")[0].removeprefix("www.")
