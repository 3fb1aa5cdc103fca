"""Damaged shards give the same values or an error with the file's name: no crash, no hang, no more memory."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.soak)])
def test_mutated_shards_are_refused_by_name(count: int) -> None:
    command = [sys.executable, str(Path(__file__).with_name("mutations.py")), str(count), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 + count / 50, check=False)
    *wrong, refused = done.stdout.splitlines()
    assert (done.returncode, wrong) == (0, []), done.stderr
    assert int(refused.split()[0]) > 0.7 * count
