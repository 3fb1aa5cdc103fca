"""The `pinflow` command: global options, and its commands, which are imported when they are called."""

import atexit
import gc
import importlib
import os
import sys
from pathlib import Path
from typing import Any

import click

from pinflow.errors import ExitCode, PinflowError

_GARBAGE = 100_000
"""After how many new objects to look for garbage: more than most commands make, which are all imports."""
COMMANDS = {
    "run": "running",
    "backfill": "backfilling",
    "runs": "looking",
    "show": "looking",
    "logs": "looking",
    "explain": "explaining",
    "events": "explaining",
    "retry": "steering",
    "redo": "steering",
    "poison": "steering",
    "skip": "steering",
    "disable": "steering",
    "enable": "steering",
    "pause": "steering",
    "resume": "steering",
    "drain": "steering",
    "abort": "steering",
    "signals": "steering",
    "worker": "working",
    "pools": "working",
    "workflows": "declaring",
    "graph": "looking",
    "schedules": "scheduling",
    "scheduler": "scheduling",
    "up": "working",
    "stats": "statistics",
    "alerts": "alerting",
    "rules": "predicting",
    "expect": "predicting",
    "metrics": "serving",
    "top": "serving",
    "audience": "serving",
    "subjects": "serving",
    "datasets": "keeping",
    "clean": "keeping",
    "db": "database",
    "init": "starting",
    "pack": "starting",
    "doctor": "starting",
}

HELP = ("-h", "--help")
EPILOG = """\b
Examples:
  pinflow run analytics --date 2015-05-18     run the main job on the configured input
  pinflow metrics d:example.com               what the run found out about a domain
  pinflow show analytics-2015-05-18-1         how a run went, job by job
  pinflow --home /data/pinflow runs --json    another home, output for programs

\b
Exit codes: 0 all succeeded, 1 a job failed, 2 usage or configuration,
3 stopped by a fatal alert, 4 input not there."""


class LazyGroup(click.Group):
    """Commands that are imported when they are needed, so that light ones start fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order in which a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, None when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"pinflow.commands.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command to call. For `run` the process that forks its jobs is started before all else is imported."""
        if args[0] == "run" and not ctx.resilient_parsing and not set(args).intersection((*HELP, "--detach")):
            from pinflow.workflows import preload

            preload.begin()
            ctx.call_on_close(preload.leave)
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": HELP})
@click.option("--config", type=click.Path(), help="Configuration file; default: pinflow.toml, here or above.")
@click.option("--home", type=click.Path(), help="Folder of all embedded state; default: .pinflow beside pinflow.toml.")
@click.option("--input", type=click.Path(), help="Folder of raw events and objects, or of access logs.")
@click.option("--warehouse", help="Folder of the datasets; default: HOME/warehouse.")
@click.option("--serving", help="Serving store; default: HOME/serving.db.")
@click.option("--runner", help="Where MapReduce jobs run: local, inline, hadoop or emr.")
@click.version_option(package_name="pinflow")
def cli(**options: Any) -> None:
    """Turn event logs into daily data products: per-domain and per-profile analytics, top items.

    Each option can also be set as PINFLOW_HOME, PINFLOW_INPUT, … or in pinflow.toml.
    """
    from pinflow.config import PATH_SETTINGS  # takes longer to import than all of the above

    for name, value in options.items():
        if value is not None:
            is_path = name in (*PATH_SETTINGS, "config") and "://" not in value
            os.environ[f"PINFLOW_{name.upper()}"] = str(Path(value).absolute()) if is_path else value


def main() -> None:
    """Run the command; a `PinflowError` becomes one message on standard error and its exit code."""
    gc.set_threshold(_GARBAGE)
    atexit.register(gc.freeze)  # no search for garbage at the end: that takes a quarter of a short command's time
    try:
        cli.main(standalone_mode=False, prog_name="pinflow")
    except PinflowError as error:
        _fail(str(error), error.exit_code)
    except click.exceptions.Abort:
        _fail("stopped; the same command goes on where this one ended", ExitCode.FAILED)
    except click.ClickException as error:
        error.show()
        sys.exit(ExitCode.USAGE)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - nobody reads on, also not at exit
        sys.exit(ExitCode.SUCCEEDED)
    except OSError as error:
        message = f"{error.strerror or error}: {error.filename or ''}. Check the disk with: pinflow doctor"
        _fail(message, ExitCode.FAILED)


def _fail(message: str, code: ExitCode) -> None:
    telling = sys.modules.get("pinflow.commands.telling")
    if telling is not None and telling.is_json():
        telling.tell(message, "error")
        sys.exit(code)
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(message, err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
