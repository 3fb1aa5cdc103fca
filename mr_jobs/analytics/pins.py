"""Stage 1: the pins of a day (AN-09)."""

from pinflow.mr_jobs.analytics.objects import ReadObjects


class Pins(ReadObjects):
    """Pins with board, owner, domain and their numeric columns."""

    kind = "pins"
    cluster_by = ("pin_id",)


if __name__ == "__main__":
    Pins.run()
