"""Conditions of workflows: what must be there before jobs start (AN-07)."""

from datetime import date

from pinflow import config
from pinflow.mr_jobs.inputs.discover import Source


def input_is_ready(date_text: str) -> bool:
    """Whether the day's raw input is there. Raises `InputMissingError`, saying what was looked for, when it is not."""
    source = Source.from_settings(config.load())
    source.require(date.fromisoformat(date_text))
    return True
