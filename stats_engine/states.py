"""The states of an alert and what leads from one to the other: the one table of it."""

from collections.abc import Mapping
from typing import Literal

from pinflow.errors import ConfigurationError
from pinflow.stats_engine.alerts import AlertState

Verb = Literal["acknowledge", "accept", "mute", "unmute", "resolve", "reopen"]
"""What people, and pinflow itself, do with an alert."""

TRANSITIONS: Mapping[tuple[AlertState, Verb], AlertState] = {
    ("open", "acknowledge"): "acknowledged",
    ("open", "accept"): "accepted",
    ("open", "mute"): "muted",
    ("open", "resolve"): "resolved",
    ("acknowledged", "accept"): "accepted",
    ("acknowledged", "mute"): "muted",
    ("acknowledged", "resolve"): "resolved",
    ("acknowledged", "reopen"): "open",
    ("muted", "accept"): "accepted",
    ("muted", "mute"): "muted",
    ("muted", "unmute"): "open",
    ("muted", "resolve"): "resolved",
    ("accepted", "reopen"): "open",
    ("accepted", "unmute"): "accepted",
    ("resolved", "reopen"): "open",
    ("resolved", "unmute"): "resolved",
}
"""To unmute ends the mute of the rule, which may outlast the state of the alert that it began with."""

PENDING: tuple[AlertState, ...] = ("open", "acknowledged", "muted")
"""Somebody may still have to do something."""


def after(number: int, state: AlertState, verb: Verb) -> AlertState:
    """The state that follows; ConfigurationError, with what can be done instead, where the verb leads nowhere."""
    following = TRANSITIONS.get((state, verb))
    if following is None:
        possible = [other for before, other in TRANSITIONS if before == state]
        raise ConfigurationError(
            f"alert {number} is {state}, so you cannot {verb} it; possible is: {', '.join(possible)}. "
            f"See: pinflow alerts show {number}"
        )
    return following
