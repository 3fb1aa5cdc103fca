"""The channels that the configuration names: where every mail of the outbox goes."""

from pinflow.config import Settings
from pinflow.stats_engine.mail import mail_channel
from pinflow.stats_engine.outbox import Channel
from pinflow.stats_engine.webhooks import Webhook


def channels_of(settings: Settings) -> list[Channel]:
    """The mail folder or server, then the webhooks. ConfigurationError for one that cannot be used."""
    return [mail_channel(settings.mail_url, settings.mail_from), *map(Webhook, settings.webhooks)]
