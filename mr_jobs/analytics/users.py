"""Stage 1: the users of a day (AN-09)."""

from pinflow.mr_jobs.analytics.objects import ReadObjects


class Users(ReadObjects):
    """Users with country, gender and metro."""

    kind = "users"
    cluster_by = ("user_id",)


if __name__ == "__main__":
    Users.run()
