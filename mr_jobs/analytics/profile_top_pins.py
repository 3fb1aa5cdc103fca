"""Stage 3: the top pins of each profile (AN-12)."""

from pinflow.mr_jobs.analytics.top_items import TopItems


class ProfileTopPins(TopItems):
    """Top pins of each profile."""

    subject, prefix, item, items = "owner_id", "p:", "pin_id", "pins"


if __name__ == "__main__":
    ProfileTopPins.run()
