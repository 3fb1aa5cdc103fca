"""Stage 1: the boards of a day (AN-09)."""

from pinflow.mr_jobs.analytics.objects import ReadObjects


class Boards(ReadObjects):
    """Boards with owner and name."""

    kind = "boards"
    cluster_by = ("board_id",)


if __name__ == "__main__":
    Boards.run()
