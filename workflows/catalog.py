"""Finds the workflows that the configuration names, and freezes one for a day.

A module that cannot be used does not take the workflows of the others down; it is shown with its traceback.
"""

import importlib
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any

from pinflow import config
from pinflow.config import Settings
from pinflow.errors import ConfigurationError, PinflowError, UnknownNameError
from pinflow.mr_jobs.inputs.discover import Source
from pinflow.scheduler.declare import Workflow
from pinflow.scheduler.definition import Definition, define
from pinflow.scheduler.timetable import Timetable
from pinflow.workflows.checking import check_rules, share_budget


@dataclass(frozen=True)
class BrokenModule:
    """A module of the setting `workflows` that cannot be used: why in one line, and the traceback."""

    module: str
    reason: str
    traceback: str

    def __str__(self) -> str:
        return f"the module {self.module!r} of the setting workflows cannot be used: {self.reason}"


@dataclass(frozen=True)
class Catalog:
    """The workflows by name, the module of each, and the modules that are broken."""

    workflows: dict[str, Workflow] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)
    broken: list[BrokenModule] = field(default_factory=list)

    def find(self, name: str) -> Workflow:
        """The workflow of this name; raises `ConfigurationError`, which names the broken modules, if there is none."""
        if name in self.workflows:
            return self.workflows[name]
        error = UnknownNameError("workflow", name, self.workflows, "pinflow workflows")
        if not self.broken:
            raise error
        raise ConfigurationError(f"{error}. It may be in a module that is broken; see: pinflow workflows check")


def catalog(settings: Settings) -> Catalog:
    """All workflows that are declared; what a module's code raises makes that module a broken one.

    Modules are looked for where Python looks, then in the folder of pinflow.toml.
    """
    folder = str(config.project_folder())
    if folder not in sys.path:
        sys.path.append(folder)
    found = Catalog()
    for module in dict.fromkeys(settings.workflows):
        try:
            _add(found, module, _declared(module, settings.owner))
        except (Exception, SystemExit) as error:  # it is the code of whoever wrote the module
            reason = str(error) if isinstance(error, ConfigurationError) else f"{type(error).__name__}: {error}"
            found.broken.append(BrokenModule(module, reason, traceback.format_exc()))
    return found


def parameters(settings: Settings, *, rebuild: bool = False) -> dict[str, Any]:
    """What of the configuration changes a workflow's jobs: a run is frozen with it."""
    form = {"format": Source.from_settings(settings).format} if settings.input else {}
    return form | _settings_of_jobs(settings, rebuild=rebuild)


def definition(
    settings: Settings,
    name: str,
    day: date,
    *,
    stage: str | None = None,
    rebuild: bool = False,
    given: Mapping[str, Any] | None = None,
) -> Definition:
    """One workflow of one day, checked, with what of the configuration changes it and the parameters `given`.

    Raises `ConfigurationError` for a workflow, stage or parameter that is not there, and for one that is broken.
    """
    defined = _define(settings, catalog(settings).find(name), day, given or {}, rebuild=rebuild)
    return defined.only(stage) if stage else defined


def look(settings: Settings, workflow: Workflow, day: date, given: Mapping[str, Any] | None = None) -> Definition:
    """The workflow of a day to be shown, not run: input that cannot be looked into is taken as canonical."""
    try:
        return _define(settings, workflow, day, given or {})
    except PinflowError:
        frozen = {"format": "canonical"} | _settings_of_jobs(settings, rebuild=False)
        return _checked(settings, workflow, define(workflow, day, frozen | workflow.typed(given or {})))


def timetable(settings: Settings) -> Timetable:
    """The schedules of all workflows that can be used, as `fire_due` needs them."""
    return timetable_of(settings, catalog(settings))


def timetable_of(settings: Settings, found: Catalog) -> Timetable:
    """The same of workflows that were found."""
    schedules = {name: w.schedule for name, w in found.workflows.items() if w.schedule is not None}

    def defined(name: str, day: date, given: Mapping[str, Any]) -> Definition:
        return _define(settings, found.find(name), day, given)

    return Timetable(schedules, defined)


def trial(settings: Settings, workflow: Workflow, day: date) -> Definition:
    """A look at the workflow with the parameters of its schedule, else those that it cannot do without made up.

    Whatever its code raises becomes a `ConfigurationError` with the traceback.
    """
    schedule = workflow.schedule
    examples = {"text": "x", "whole number": 1, "number": 1.0, "yes or no": True, "day": day.isoformat()}
    try:
        if schedule is not None:
            given = schedule.parameters_of(datetime.combine(day, time(), UTC))
        else:
            needed = (p for p in workflow.parameters if p.required)
            given = {p.name: p.choices[0] if p.choices else examples[p.kind] for p in needed}
        return look(settings, workflow, day, given)
    except PinflowError:
        raise
    except (Exception, SystemExit) as error:
        reason = f"its stages cannot be made: {type(error).__name__}: {error}\n{traceback.format_exc()}"
        raise ConfigurationError(reason) from error


def _define(
    settings: Settings, workflow: Workflow, day: date, given: Mapping[str, Any], *, rebuild: bool = False
) -> Definition:
    frozen = parameters(settings, rebuild=rebuild) | workflow.typed(given)
    return _checked(settings, workflow, define(workflow, day, frozen))


def _checked(settings: Settings, workflow: Workflow, defined: Definition) -> Definition:
    check_rules(defined)
    return share_budget(workflow, settings, defined)


def _settings_of_jobs(settings: Settings, *, rebuild: bool) -> dict[str, Any]:
    return {"owner": settings.owner, "bad_share": settings.source.bad_share, "top": settings.top, "rebuild": rebuild}


def _declared(name: str, owner: str) -> list[Workflow]:
    module = importlib.import_module(name)
    if not callable(getattr(module, "workflows", None)):
        raise ConfigurationError("it has no function workflows(owner) that gives a list of Workflow")
    declared = list(module.workflows(owner))
    for workflow in declared:
        if not isinstance(workflow, Workflow):
            raise ConfigurationError(f"its workflows(owner) must give a list of Workflow, not one of {workflow!r}")
    return declared


def _add(found: Catalog, module: str, declared: list[Workflow]) -> None:
    for workflow in declared:
        if workflow.name in found.workflows:
            first = found.modules[workflow.name]
            raise ConfigurationError(f"it declares a workflow {workflow.name!r}, and so does {first!r}; rename one")
    for workflow in declared:
        found.workflows[workflow.name] = workflow
        found.modules[workflow.name] = module
