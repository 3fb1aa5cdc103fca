"""Stage 3: the top boards of each domain (AN-12)."""

from pinflow.mr_jobs.analytics.top_items import TopItems


class DomainTopBoards(TopItems):
    """Top boards of each domain."""

    subject, prefix, item, items = "domain", "d:", "board_id", "boards"


if __name__ == "__main__":
    DomainTopBoards.run()
