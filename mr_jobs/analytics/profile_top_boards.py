"""Stage 3: the top boards of each profile (AN-12)."""

from pinflow.mr_jobs.analytics.top_items import TopItems


class ProfileTopBoards(TopItems):
    """Top boards of each profile."""

    subject, prefix, item, items = "owner_id", "p:", "board_id", "boards"


if __name__ == "__main__":
    ProfileTopBoards.run()
