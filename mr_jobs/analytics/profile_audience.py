"""Stage 2: the audience of each profile (AN-03)."""

from pinflow.mr_jobs.analytics.audience import Audience


class ProfileAudience(Audience):
    """Audience of each profile."""

    subject, prefix = "owner_id", "a:p:"


if __name__ == "__main__":
    ProfileAudience.run()
