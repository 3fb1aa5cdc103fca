"""What the jobs that read raw input share: their options, and parsed blocks of a split or of plain lines."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import polars as pl

from pinflow.mr_jobs.inputs import access_log, canonical
from pinflow.mr_jobs.inputs.blocks import BLOCK_BYTES, Block
from pinflow.mr_jobs.inputs.parsed import Parsed
from pinflow.mr_jobs.inputs.splits import Split
from pinflow.mr_jobs.inputs.visitors import CountryOf, country_lookup, load_secret
from pinflow.mr_jobs.job import DatasetJob
from pinflow.mr_jobs.output import bad_line
from pinflow.mr_jobs.splits import DatasetSplit, read_split

STANDARD_INPUT = "-"


class ParsedBlock(NamedTuple):
    """Rows of one block of a file, and what was lost in it."""

    path: str
    parsed: Parsed


class RawInputJob(DatasetJob):
    """A job whose map tasks read raw files of one kind: events, pins, boards or users.

    Access logs name no objects: there these are what the day's page views show (`page_views_read`).
    """

    kind: str

    def configure_args(self) -> None:
        """Declare how the files are to be read."""
        super().configure_args()
        self.add_passthru_arg("--format", choices=("canonical", "access_log"), default="canonical")
        self.add_passthru_arg("--fields", default="{}", help="JSON: pinflow's field name = name in the files")
        self.add_passthru_arg("--columns", default="", help="numeric columns of pins, by comma")
        self.add_passthru_arg("--site", default="localhost", help="access logs: the site's host")
        self.add_passthru_arg("--home", default=".", help="access logs: folder of the key that hides addresses")
        self.add_passthru_arg("--country-database", default="", help="access logs: a .mmdb file")

    def parsed_blocks(self, lines: Iterator[bytes]) -> Iterator[ParsedBlock]:
        """Everything that the input lines hold, parsed block by block, with its counts taken.

        With `--splits` a line names a split; else the lines are the data, as under Hadoop Streaming.
        """
        for name in ("lines_read", "bad_lines"):
            self.stats.incr_count(name, 0)
        of_views = self.options.format == "access_log" and self.kind != "events"
        for path, parsed in self._of_page_views(lines) if of_views else self._parse(lines):
            for name, number in parsed.counts.items():
                self.stats.incr_count(name, number)
            yield ParsedBlock(path, parsed)

    def rows_of(self, batch: ParsedBlock) -> int:
        """The lines of the block."""
        counts = batch.parsed.counts
        return counts.get("lines_read", counts.get("page_views_read", 0))

    def bad_lines(self, block: ParsedBlock) -> bytes:
        """The block's bad lines as they are kept in `_bad/`."""
        return b"".join(bad_line(block.path, bad.offset, bad.reason, bad.text) for bad in block.parsed.bad)

    def _of_page_views(self, lines: Iterator[bytes]) -> Iterator[ParsedBlock]:
        for number, line in enumerate(lines):
            views = read_split(DatasetSplit.from_line(line)).with_columns(event_type=pl.lit("impression"))
            objects = access_log.log_objects(self.kind, views, file=number)
            yield ParsedBlock("", Parsed(objects, [], {"page_views_read": views.height}))

    def _parse(self, lines: Iterator[bytes]) -> Iterator[ParsedBlock]:
        if not self.options.splits:
            # Without splits a task knows only its number: the rows of a later task count as later ones.
            for number, data in enumerate(_gather(lines), self.partition << 16):
                yield ParsedBlock(STANDARD_INPUT, self._parse_block(Block(data), number))
            return
        for line in lines:
            split = Split.from_json(json.loads(line))
            for parsed in self._parse_split(split):
                yield ParsedBlock(split.path, parsed)

    def _parse_split(self, split: Split) -> Iterator[Parsed]:
        if self.options.format == "access_log":
            return access_log.read_log(split, *self._log())
        if self.kind == "events":
            return canonical.read_events(split, self._mapping())
        return canonical.read_objects(self.kind, split, self._mapping(), self._columns())

    def _parse_block(self, block: Block, number: int) -> Parsed:
        if self.options.format == "access_log":
            return access_log.parse_log(block, *self._log())
        if self.kind == "events":
            return canonical.parse_events(block, self._mapping())
        return canonical.parse_objects(self.kind, block, self._mapping(), self._columns(), file=number)

    def _log(self) -> tuple[str, bytes, CountryOf]:
        if not hasattr(self, "_log_options"):
            countries = country_lookup(self.options.country_database)
            self._log_options = (self.options.site, load_secret(Path(self.options.home)), countries)
        return self._log_options

    def _mapping(self) -> dict[str, str]:
        mapping: dict[str, str] = json.loads(self.options.fields)
        return mapping

    def _columns(self) -> list[str]:
        return [name for name in self.options.columns.split(",") if name]


def _gather(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Lines in blocks of about `BLOCK_BYTES`."""
    held: list[bytes] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= BLOCK_BYTES:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)
