"""Processes that stay: `pinflow worker`, and the limits that all of them keep to."""

from contextlib import ExitStack

import click

from pinflow import config
from pinflow.commands.output import json_option, open_store, print_json, print_table
from pinflow.commands.telling import log_format_option, tell, tell_event
from pinflow.errors import ConfigurationError
from pinflow.scheduler.identity import user_name

EPILOG = """\b
Examples:
  pinflow worker                               jobs of all runs, as many at once as there are cores
  pinflow worker --slots 4 --pool hbase        only jobs of the pool hbase, four at once
  pinflow worker list                          the workers that are there
  pinflow worker exit --generation 8           let all of a generation below 8 end what they run, then themselves

\b
SIGTERM (or Ctrl-C) lets running jobs end and starts nothing new; a second one
stops them, and other workers start them again. A run comes here with:
  pinflow run WORKFLOW --date DAY --detach"""


@click.group(epilog=EPILOG, invoke_without_command=True)
@click.option("--slots", type=click.IntRange(1), help="Jobs at once; default: the setting slots.")
@click.option("--pool", "pools", multiple=True, help="Take only jobs of this pool; may be given again.")
@click.option("--generation", type=click.IntRange(0), default=0, show_default=True, help="For rolling upgrades.")
@log_format_option
@click.pass_context
def worker(context: click.Context, slots: int | None, pools: tuple[str, ...], generation: int) -> None:
    """Stay, and work on the jobs of all runs that are not driven by a command."""
    if context.invoked_subcommand is None:
        _work(config.load(), slots or 0, pools, generation)


@click.command()
@click.option("--slots", type=click.IntRange(1), help="Jobs at once; default: the setting slots.")
@click.option("--generation", type=click.IntRange(0), default=0, show_default=True, help="For rolling upgrades.")
@log_format_option
def up(slots: int | None, generation: int) -> None:
    """Stay, start the runs that are due by their schedules, and work on them: all that one machine needs.

    The same as `pinflow scheduler` and `pinflow worker` in one process.
    """
    _work(config.load(), slots or 0, (), generation, fire=True)


def _work(
    settings: config.Settings, slots: int, pools: tuple[str, ...], generation: int, *, fire: bool = False
) -> None:
    from pinflow.workflows.preload import start_zygote

    with start_zygote(settings) as zygote, ExitStack() as stack:
        from pinflow.scheduler.service import Hooks, Service, post_of
        from pinflow.workflows.run import place_of, prepare_home
        from pinflow.workflows.scheduling import firing
        from pinflow.workflows.watching import watching
        from pinflow.zygote import connect

        prepare_home(settings)
        place = place_of(settings, slots=slots)
        with open_store(settings) as store, connect(zygote.path) as forks, watching(settings):
            own = post_of(zygote.pid, place.slots, generation, pools)
            tell(f"worker {own.worker}: {place.slots} slots, generation {generation}")
            hooks = Hooks(tell_event, stack.enter_context(firing(settings)).set) if fire else Hooks(tell_event)
            reason = Service(store, forks, place, own, hooks).serve()
    tell(reason)


@worker.command("list")
@json_option
def list_workers(as_json: bool) -> None:
    """List the workers that are there."""
    import json

    from pinflow.scheduler.sharing import workers_present

    with open_store(config.load()) as store:
        found = [
            {
                "worker": row.worker,
                "slots": row.slots,
                "pools": json.loads(row.pools or "[]"),
                "generation": row.generation,
                "started_at": row.started_at,
                "lease_until": row.lease_until,
            }
            for row in workers_present(store)
        ]
    if as_json:
        print_json(found)
        return
    rows = [(w["worker"], w["slots"], ", ".join(w["pools"]) or "all", w["generation"], w["started_at"]) for w in found]
    print_table(
        ("worker", "slots", "pools", "generation", "since (UTC)"), rows, empty="none; start one: pinflow worker"
    )


@worker.command("exit")
@click.option("--generation", type=click.IntRange(1), help="Workers of a lower generation leave.")
@click.option("--undo", is_flag=True, help="Let workers of all generations stay again.")
@click.option("--reason", default="", help="Why; it is shown.")
@json_option
def exit_workers(generation: int | None, undo: bool, reason: str, as_json: bool) -> None:
    """Let workers of an older generation end what they run, then themselves; those that start later, too."""
    from pinflow.scheduler.signals import ask_to_exit, take_back_exit

    if undo == (generation is not None):
        raise ConfigurationError("give --generation N or --undo, one of them; see: pinflow worker list")
    with open_store(config.load()) as store:
        if generation is None:
            take_back_exit(store)
        else:
            ask_to_exit(store, generation, author=user_name(), reason=reason)
    if as_json:
        print_json({"generation": generation})
    elif generation is None:
        click.echo("workers of all generations stay")
    else:
        click.echo(f"workers of a generation below {generation} leave within seconds of their last job's end")


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def pools(context: click.Context, as_json: bool) -> None:
    """Show and set how many jobs of a pool, or of a workflow, may run at once, over all runs."""
    if context.invoked_subcommand is not None:
        return
    from pinflow.scheduler.pools import list_limits

    with open_store(config.load()) as store:
        found = [limit._asdict() for limit in list_limits(store)]
    if as_json:
        print_json(found)
        return
    rows = [(limit["kind"], limit["name"], limit["slots"]) for limit in found]
    print_table(("kind", "name", "slots"), rows, empty="no limits are set; set one with: pinflow pools set NAME SLOTS")


@pools.command("set")
@click.argument("name")
@click.argument("slots", type=click.IntRange(0))
@click.option("--workflow", is_flag=True, help="NAME is a workflow: limit its running jobs.")
def set_pool(name: str, slots: int, workflow: bool) -> None:
    """Let at most SLOTS jobs of the pool NAME run at once; 0: none."""
    from pinflow.scheduler.declare import check_name
    from pinflow.scheduler.pools import Limit, set_limit
    from pinflow.workflows.steering import scope_of

    check_name("workflow" if workflow else "pool", name)
    settings = config.load()
    with open_store(settings) as store:
        if workflow:
            scope_of(settings, store, None, name, everything=False)  # refuses one that is not known
        set_limit(store, Limit("workflow" if workflow else "pool", name, slots))
    click.echo(f"at most {slots} jobs of {name} run at once; those that run already are not stopped")


@pools.command("remove")
@click.argument("name")
@click.option("--workflow", is_flag=True, help="NAME is a workflow.")
def remove_pool(name: str, workflow: bool) -> None:
    """Take the limit of the pool NAME away."""
    from pinflow.scheduler.pools import remove_limit

    kind = "workflow" if workflow else "pool"
    with open_store(config.load()) as store:
        if not remove_limit(store, kind, name):
            raise ConfigurationError(f"the {kind} {name!r} has no limit; see: pinflow pools")
    click.echo(f"{name} has no limit any more")
