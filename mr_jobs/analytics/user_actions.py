"""Stage 2: who did what with whose content, once a user: the base of every distinct count (AN-11)."""

import polars as pl

from pinflow.mr_jobs.analytics.columns import EVENT_TYPES
from pinflow.mr_jobs.batch_job import BatchJob

EVENT_COLUMNS = ("domain", "owner_id", "app", "user_id", "country", "metro")
USER_COLUMNS = ("country", "metro", "gender")
KEYS = (*EVENT_COLUMNS, "gender")


class UserActions(BatchJob):
    """Distinct users by domain, owner and app, with a bit for each event type in `mask`.

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
        own = self._own_values()
        actions = _with_own_values(frame, own).group_by(KEYS).agg(pl.col("mask").bitwise_or())
        users = actions.select("user_id").unique()
        self.stats.incr_count("actions", actions.height)
        self.stats.incr_count("users", users.height)
        self.stats.incr_count("unknown_users", users.join(own, on="user_id", how="anti").height)
        return actions

    def _own_values(self) -> pl.DataFrame:
        """The bucket's users, with `country_own`, `metro_own` and `gender_own`."""
        users = self.table_bucket("users", self.bucket)
        if not users.width:
            users = pl.DataFrame(schema={"user_id": pl.String})
        missing = [pl.lit(None, pl.String).alias(name) for name in USER_COLUMNS if name not in users.columns]
        own = [pl.col(name).alias(f"{name}_own") for name in USER_COLUMNS]
        return users.with_columns(missing).select("user_id", *own)


def _with_own_values(events: pl.DataFrame, own: pl.DataFrame) -> pl.DataFrame:
    return events.join(own, on="user_id", how="left").with_columns(
        country=pl.coalesce("country_own", "country"),
        metro=pl.coalesce("metro_own", "metro"),
        gender=pl.col("gender_own"),
    )


if __name__ == "__main__":
    UserActions.run()
