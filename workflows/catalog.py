"""Finds the workflows that the configuration names, and freezes one for a day."""

import importlib
from collections.abc import Mapping
from datetime import date
from typing import Any

from pinflow.config import Settings
from pinflow.errors import ConfigurationError, PinflowError, UnknownNameError
from pinflow.mr_jobs.inputs.discover import Source
from pinflow.scheduler.declare import Workflow
from pinflow.scheduler.definition import Definition, define
from pinflow.workflows.checking import check_rules, share_budget


def catalog(settings: Settings) -> dict[str, Workflow]:
    """All workflows by name. Raises `ConfigurationError` naming a module that cannot be used."""
    found: dict[str, Workflow] = {}
    for name in settings.workflows:
        for workflow in _declared(name, settings.owner):
            if workflow.name in found:
                raise ConfigurationError(f"two modules declare a workflow {workflow.name!r}; the second is {name}")
            found[workflow.name] = workflow
    return found


def parameters(settings: Settings, *, rebuild: bool = False) -> dict[str, Any]:
    """What of the configuration changes a workflow's jobs: a run is frozen with it."""
    return _parameters(settings, Source.from_settings(settings).format, rebuild=rebuild)


def definition(
    settings: Settings, name: str, day: date, *, stage: str | None = None, given: Mapping[str, Any] | None = None
) -> Definition:
    """One workflow of one day, checked. Raises `UnknownNameError` for a workflow or stage that is not there.

    Without parameters `given` it is for a look only: input that cannot be looked into is taken as canonical.
    """
    known = catalog(settings)
    if name not in known:
        raise UnknownNameError("workflow", name, known, "pinflow workflows")
    defined = define(known[name], day, given or _for_a_look(settings))
    check_rules(defined)
    defined = share_budget(known[name], settings, defined)
    return defined.only(stage) if stage else defined


def _for_a_look(settings: Settings) -> dict[str, Any]:
    try:
        return parameters(settings)
    except PinflowError:
        return _parameters(settings, "canonical", rebuild=False)


def _parameters(settings: Settings, form: str, *, rebuild: bool) -> dict[str, Any]:
    return {
        "owner": settings.owner,
        "format": form,
        "bad_share": settings.source.bad_share,
        "top": settings.top,
        "rebuild": rebuild,
    }


def _declared(name: str, owner: str) -> list[Workflow]:
    try:
        module = importlib.import_module(name)
        declared: list[Workflow] = module.workflows(owner)
    except Exception as error:
        raise ConfigurationError(
            f"the module {name!r} of the setting workflows cannot be used: {type(error).__name__}: {error}; "
            "it must have a function workflows(owner) that gives a list of Workflow"
        ) from error
    return declared
