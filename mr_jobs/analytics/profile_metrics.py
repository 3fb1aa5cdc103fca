"""Stage 2: the metrics of each profile (AN-11)."""

from pinflow.mr_jobs.analytics.subject_metrics import SubjectMetrics


class ProfileMetrics(SubjectMetrics):
    """Metrics of each profile: the owner of pins."""

    subject, prefix = "owner_id", "p:"


if __name__ == "__main__":
    ProfileMetrics.run()
