"""Stage 2: who did what with whose content, once a user: the base of every distinct count (AN-11)."""

import numpy as np
import polars as pl

from pinflow.mr_jobs.analytics.codes import changes, code, pack_columns, sort_order
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
        of_event = own.drop("known")[users.codes].rename(lambda name: f"{name}_own")
        actions = _distinct(_with_own_values(frame, of_event))
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


def _with_own_values(events: pl.DataFrame, own: pl.DataFrame) -> pl.DataFrame:
    """The user's own value first, else the event's; gender is always the user's."""
    return events.hstack(own).with_columns(
        country=pl.coalesce("country_own", "country"),
        metro=pl.coalesce("metro_own", "metro"),
        gender=pl.col("gender_own"),
    )


def _distinct(events: pl.DataFrame) -> pl.DataFrame:
    """One row for equal ones, in the order of `KEYS`, their masks OR-ed."""
    keys = pack_columns([code(events[name]).in_order() for name in KEYS])
    order = sort_order(keys)
    starts = np.flatnonzero(changes(*(key[order] for key in keys)))
    masks = np.bitwise_or.reduceat(events["mask"].to_numpy()[order], starts)
    return events.select(KEYS)[order[starts]].with_columns(mask=masks)


if __name__ == "__main__":
    UserActions.run()
