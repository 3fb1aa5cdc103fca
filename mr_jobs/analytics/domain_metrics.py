"""Stage 2: the metrics of each domain (AN-11)."""

from pinflow.mr_jobs.analytics.subject_metrics import SubjectMetrics


class DomainMetrics(SubjectMetrics):
    """Metrics of each domain."""

    subject, prefix = "domain", "d:"


if __name__ == "__main__":
    DomainMetrics.run()
