"""Commands that prepare: `init`, `doctor` and `pack`."""

import shlex
import sys
from pathlib import Path

import click

from pinflow import config
from pinflow.commands.output import json_option, print_json
from pinflow.errors import ConfigurationError, ExitCode

TEMPLATE = """\
# Settings of pinflow; each can also be set as PINFLOW_NAME or, the common ones, as an option.
# All of them are described in docs/reference/configuration.md.

input = "{input}"            # folder of your events (events/date=YYYY-MM-DD/…) or of access logs
owner = "{owner}"            # who gets mail when something looks wrong
keep = "35d"                 # how long results are kept
# home = ".pinflow"          # all state of pinflow, if nothing else is said
# mail = "smtp://user:password@mail.example.com:587?starttls=1"

[source]
format = "auto"              # canonical, access_log, or auto: canonical when there is an events folder
# site = "www.example.com"   # access logs: your own host
# ready = "_SUCCESS"         # canonical: a day is complete when this file is there

# [source.paths]
# events = "topic/dt={{date}}/*"

# [source.fields.events]
# user_id = "uid"            # pinflow's name = the name in your files
"""


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
@click.option("--input", "input_folder", default="input", show_default=True, help="Folder of your events or logs.")
@click.option("--owner", default="owner@localhost", show_default=True, help="Address for mail.")
@click.option("--force", is_flag=True, help="Replace a pinflow.toml that is there; it is kept as pinflow.toml.old.")
@json_option
def init(folder: Path, input_folder: str, owner: str, force: bool, as_json: bool) -> None:
    """Write a pinflow.toml for your own data into FOLDER."""
    path = folder / config.FILE_NAME
    if path.exists() and not force:
        again = shlex.join(["pinflow", "init", str(folder), "--input", input_folder, "--owner", owner, "--force"])
        raise ConfigurationError(f"{path} exists already; replace it (the old one is kept beside it) with: {again}")
    folder.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.replace(path.with_name(f"{path.name}.old"))
    quoted = {"input": _toml(input_folder), "owner": _toml(owner)}
    path.write_text(TEMPLATE.format(**quoted), encoding="utf-8")
    if as_json:
        print_json({"path": str(path)})
    else:
        click.echo(f"wrote {path}; put your data into {input_folder}, then try: pinflow doctor")


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Try everything that is configured, and say what to do where it fails."""
    from pinflow.workflows.doctor import examine

    settings = config.load()
    findings = []
    for finding in examine(settings):
        findings.append(finding)
        if not as_json:
            mark = click.style("ok  ", fg="green") if finding.ok else click.style("FAIL", fg="red", bold=True)
            click.echo(f"{mark} {finding.what}: {finding.detail}")
    if as_json:
        print_json(findings)
    sys.exit(ExitCode.SUCCEEDED if all(finding.ok for finding in findings) else ExitCode.USAGE)


@click.command()
@json_option
def pack(as_json: bool) -> None:
    """Pack the installed distributions and your code for the nodes of a cluster.

    The runner hadoop does so by itself. The archives are named by their content and made once.
    """
    from pinflow.mr_jobs.hadoop.packing import pack as make_archives
    from pinflow.workflows.on_cluster import environment_cache

    settings = config.load()
    archives = make_archives(settings.workflows, environment_cache(settings))
    if as_json:
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        print_json({"python": python, "archives": {archive.kind: str(archive.path) for archive in archives}})
    else:
        for archive in archives:
            click.echo(f"{archive.path}  {archive.path.stat().st_size / 1e6:.1f} MB")


def _toml(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
