"""Stage 2: the audience of each domain (AN-03)."""

from pinflow.mr_jobs.analytics.audience import Audience


class DomainAudience(Audience):
    """Audience of each domain."""

    subject, prefix = "domain", "a:d:"


if __name__ == "__main__":
    DomainAudience.run()
