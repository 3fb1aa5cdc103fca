"""Rules on the past of a declared job: trials, and the history that suggestions come from."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import sqlalchemy as sa

from pinflow.errors import PinflowError
from pinflow.stats_engine.history import NO_HISTORY, History, names_counted, newest_day, read_history
from pinflow.stats_engine.rules import FALSE_ALARMS, Rule
from pinflow.stats_engine.trial import Recorded, Trial, names_of, try_rule
from pinflow.workflows.audit import numbers_for
from pinflow.workflows.declared import Declared


def try_rules(
    database: sa.Engine, job: Declared, rules: Sequence[Rule], last: timedelta
) -> tuple[int, list[tuple[Rule, Trial]]]:
    """How many days were judged, and the trial of each rule and day. `PinflowError` for a job that never published."""
    for name in names_of(rules):
        job.check_name(name)
    history = _history(database, job, names_of(rules))
    if not history.dates:
        raise PinflowError(f"{job.job} has published nothing yet, so there are no days to try a rule on")
    since = history.dates[-1] - last + timedelta(days=1)

    def others(day: date) -> Mapping[str, Mapping[str, float]]:
        return numbers_for(database, job.workflow, rules, day)

    recorded = Recorded(history, others, job.node.country, job.node.allowed or FALSE_ALARMS)
    trials = [(rule, trial) for rule in rules for trial in try_rule(rule, recorded, since)]
    return sum(day >= since for day in history.dates), trials


def whole_history(database: sa.Engine, job: Declared) -> History:
    """All that the job ever counted."""
    return _history(database, job, names_counted(database, job.workflow, job.job))


def _history(database: sa.Engine, job: Declared, names: set[str]) -> History:
    newest = newest_day(database, job.workflow, job.job)
    if newest is None:
        return NO_HISTORY
    return read_history(database, job.workflow, job.job, names, newest + timedelta(days=1))
