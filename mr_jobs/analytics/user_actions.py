"""Stage 2: who did what with whose content, once a user: the base of every distinct count (AN-11)."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from pinflow.mr_jobs.analytics.codes import Coded, Integers, changes, code, sorted_fields
from pinflow.mr_jobs.analytics.columns import EVENT_TYPES
from pinflow.mr_jobs.batch_job import BatchJob

EVENT_COLUMNS = ("domain", "owner_id", "app", "user_id", "country", "metro")
USER_COLUMNS = ("country", "metro", "gender")
KEYS = ("user_id", *USER_COLUMNS, "app", "domain", "owner_id")


class UserActions(BatchJob):
    """Distinct users by domain, owner and app, with a bit for each event type in `mask`, in the order of users.

    Bucketed by user, so that distinct users add up over buckets, and joined there with the users (AN-18). Country,
    metro and gender are the user's own; where the user has none, the event's. Counts `events`, `actions`, `users`
    and `unknown_users`.
    """

    cluster_by = ("user_id",)
    columns = ("event_type", *EVENT_COLUMNS)

    def map(self, batch: pl.DataFrame) -> pl.DataFrame | None:
        """One block of events, all of one type."""
        if batch.is_empty():
            return None
        self.stats.incr_count("events", batch.height)
        bit = 1 << EVENT_TYPES.index(batch["event_type"][0])
        return batch.select(*EVENT_COLUMNS, pl.lit(bit, pl.UInt8).alias("mask"))

    def reduce(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The bucket's distinct actions."""
        users = code(frame["user_id"])
        own = self._own_values(users.values)
        columns = {name: code(frame[name]) for name in ("app", "domain", "owner_id")} | {"user_id": users}
        columns |= {name: _own_first(own[name], users, code(frame[name])) for name in ("country", "metro")}
        columns["gender"] = _of_users(own["gender"], users)
        actions = _distinct({name: columns[name] for name in KEYS}, frame["mask"].to_numpy())
        self.stats.incr_count("actions", actions.height)
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


def _of_users(values: pl.Series, users: Coded) -> Coded:
    """The column that gives each row its user's value."""
    coded = code(values)
    return Coded(coded.codes[users.codes], coded.values)


def _own_first(own: pl.Series, users: Coded, of_event: Coded) -> Coded:
    """The user's own value where there is one, else the event's."""
    both = code(pl.concat([own, of_event.values]))
    of_user, of_value = both.codes[: len(own)], both.codes[len(own) :]
    has_none = own.is_null().to_numpy()[users.codes]
    return Coded(np.where(has_none, of_value[of_event.codes], of_user[users.codes]), both.values)


def _distinct(columns: Mapping[str, Coded], masks: Integers) -> pl.DataFrame:
    """One row for equal ones, in the order of the columns, their masks OR-ed."""
    ordered = [column.in_order() for column in columns.values()]
    *codes, masks = sorted_fields([*((c.codes, c.bits) for c in ordered), (masks, len(EVENT_TYPES))])
    starts = np.flatnonzero(changes(*codes))
    rows = {n: c.decode(found[starts]) for n, c, found in zip(columns, ordered, codes, strict=True)}
    return pl.DataFrame(rows).with_columns(mask=np.bitwise_or.reduceat(masks, starts).astype(np.uint8))


if __name__ == "__main__":
    UserActions.run()
