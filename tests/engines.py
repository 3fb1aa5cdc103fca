"""The real engines that `bin/engines` started; a test that needs one fails when it does not serve."""

import os
import shlex
import subprocess
from pathlib import Path

COMMAND = str(Path(__file__).parents[1] / "bin" / "engines")
TIMEOUT = 900


def engines(*arguments: str) -> str:
    """What `bin/engines` prints."""
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, f"bin/engines {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def variables(name: str) -> dict[str, str]:
    """The variables that point pinflow at an engine."""
    found = dict(line.partition("=")[::2] for line in shlex.split(engines("env", name)) if "=" in line)
    assert found, f"{name} does not serve; start it with: bin/engines start --install {name}"
    return found


def processes(engine: str) -> int:
    """Process id of a daemon by the name of its pid file."""
    folder = Path(os.environ.get("PINFLOW_ENGINES", Path(COMMAND).parents[1] / ".engines"))
    return int((folder / "run" / f"{engine}.pid").read_text())
