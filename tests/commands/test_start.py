"""What commands import decides how fast they start: those that need no engine do without all that is heavy."""

import json
import os
import subprocess
import sys
from pathlib import Path

HEAVY = [
    "alembic",
    "boto3",
    "fastapi",
    "mrjob",
    "networkx",
    "numpy",
    "polars",
    "psutil",
    "pyarrow",
    "pymysql",
    "sqlalchemy.dialects.mysql",
    "tenacity",
    "thriftpy2",
]
LIGHT = ["runs", "signals", "pools", "schedules", "alerts"]
CODE = """
import json, sys
from pinflow.cli import cli
light, heavy = map(json.loads, sys.argv[1:])
for command in light:
    cli.main([command], standalone_mode=False)
print(*(name for name in heavy if name in sys.modules), file=sys.stderr)
"""


def test_light_commands_import_nothing_heavy(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", CODE, json.dumps(LIGHT), json.dumps(HEAVY)]
    environment = os.environ | {"PINFLOW_HOME": str(tmp_path)}
    ran = subprocess.run(arguments, capture_output=True, text=True, check=True, env=environment)
    assert ran.stderr.split() == []
