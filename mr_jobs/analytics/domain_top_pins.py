"""Stage 3: the top pins of each domain (AN-12)."""

from pinflow.mr_jobs.analytics.top_items import TopItems


class DomainTopPins(TopItems):
    """Top pins of each domain."""

    subject, prefix, item, items = "domain", "d:", "pin_id", "pins"


if __name__ == "__main__":
    DomainTopPins.run()
