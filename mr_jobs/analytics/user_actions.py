"""Stage 2: who did what with whose content, once a user: the base of every distinct count (AN-11)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow as pa

from pinflow.mr_jobs.analytics.columns import EVENT_TYPES
from pinflow.mr_jobs.coded import CodedRows, table_of
from pinflow.mr_jobs.coded_job import CodedJob
from pinflow.mr_jobs.codes import Coded, Integers, SortedRows, coalesced, code, spread

EVENT_COLUMNS = ("domain", "owner_id", "app", "country", "metro")
USER_COLUMNS = ("country", "metro", "gender")
KEYS = ("user_id", *USER_COLUMNS, "app", "domain", "owner_id")


class UserActions(CodedJob):
    """Distinct users by domain, owner and app, with a bit for each event type in `mask`, in the order of users.

    Bucketed by user, so that distinct users add up over buckets, and joined there with the users (AN-18). Country,
    metro and gender are the user's own; where the user has none, the event's. Counts `events`, `actions`, `users`
    and `unknown_users`.
    """

    cluster_by = ("user_id",)
    plain = ("user_id",)
    bucket_share = 6
    bytes_a_file = 10 << 20

    def wanted(self, dataset: str) -> Sequence[str]:
        """All of an event but its pin, board and network."""
        return ("event_type", "user_id", *EVENT_COLUMNS)

    def map(self, batch: CodedRows) -> pa.Table | None:
        """One block of events, all of one type."""
        if not batch.height:
            return None
        self.stats.incr_count("events", batch.height)
        (event,) = batch.texts["event_type"].values
        bit = pl.Series(np.full(batch.height, 1 << EVENT_TYPES.index(event), np.uint8))
        columns = {name: batch.texts[name] for name in EVENT_COLUMNS}
        return table_of(columns, user_id=batch.others["user_id"], mask=bit)

    def reduce_rows(self, rows: CodedRows) -> pa.Table:
        """The bucket's distinct actions."""
        users = code(rows.others["user_id"])
        own = self._own_values(users.values)
        columns = {"user_id": users, "gender": spread(own["gender"], users)}
        columns |= {name: rows.texts[name] for name in ("app", "domain", "owner_id")}
        for name in ("country", "metro"):
            columns[name] = coalesced(spread(own[name], users), rows.texts[name])
        actions = _distinct({name: columns[name] for name in KEYS}, rows.others["mask"].to_numpy())
        self.stats.incr_count("actions", len(actions))
        self.stats.incr_count("users", len(users.values))
        self.stats.incr_count("unknown_users", int(own["known"].null_count()))
        return actions

    def _own_values(self, names: pl.Series) -> pl.DataFrame:
        """`country`, `metro` and `gender` of users, in the order of `names`; `known` is null where there is no such."""
        users = self.table_bucket("users", self.bucket)
        if not users.width:
            users = pl.DataFrame(schema={"user_id": pl.String})
        missing = [pl.lit(None, pl.String).alias(name) for name in USER_COLUMNS if name not in users.columns]
        known = users.with_columns(missing).select("user_id", *USER_COLUMNS, known=pl.lit(True))
        return names.to_frame("user_id").join(known, on="user_id", how="left", maintain_order="left").drop("user_id")


def _distinct(columns: Mapping[str, Coded], masks: Integers) -> pa.Table:
    """One row for equal ones, in the order of the columns, their masks OR-ed."""
    ordered = [column.in_order() for column in columns.values()]
    rows = SortedRows([*((c.codes, c.bits) for c in ordered), (masks, len(EVENT_TYPES))])
    starts = rows.starts(len(ordered))
    fields = enumerate(zip(columns, ordered, strict=True))
    texts = {name: replace(column, codes=rows.field(number, starts)) for number, (name, column) in fields}
    return table_of(texts, mask=pl.Series(np.bitwise_or.reduceat(rows.field(len(ordered)), starts), dtype=pl.UInt8))


if __name__ == "__main__":
    UserActions.run()
