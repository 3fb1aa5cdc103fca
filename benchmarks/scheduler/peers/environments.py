"""A virtual environment for each peer, made when it is first needed and kept in the temporary folder."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click

CACHE = Path(tempfile.gettempdir()) / "pinflow-benchmarks" / "peers"
COMPLETE = "complete"
"""A file of an environment in which everything is installed."""


class NotInstalledError(Exception):
    """An engine cannot be installed; the text says why."""


def environment_of(distribution: str, version: str, cache: Path = CACHE) -> Path:
    """The folder of programs of an environment with this version. Raises `NotInstalledError`."""
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folder = cache / f"{distribution}-{version}-{python}"
    cache.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / COMPLETE).exists():
            shutil.rmtree(folder, ignore_errors=True)
            click.echo(f"{distribution} {version}: installing it into {folder} …", err=True)
            _run(sys.executable, "-m", "venv", str(folder))
            _run(str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", f"{distribution}=={version}")
            (folder / COMPLETE).touch()
    return folder / "bin"


def _run(*command: str) -> None:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    found = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if found.returncode:
        lines = [line for line in (found.stderr or found.stdout).splitlines() if line.strip()]
        raise NotInstalledError(lines[-1] if lines else f"{' '.join(command)} ended with {found.returncode}")
