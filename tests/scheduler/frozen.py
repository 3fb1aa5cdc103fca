"""Processes that are frozen, as those of a machine that is suspended."""

import signal
import sqlite3
import subprocess
import time
from contextlib import closing

import sqlalchemy as sa


def freeze(process: "subprocess.Popen[str]", engine: sa.Engine) -> None:
    """Stop it between two transactions: one that has an SQLite file locked lets nobody else go on."""
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.05)
    while engine.dialect.name == "sqlite" and _is_locked(str(engine.url.database)):
        process.send_signal(signal.SIGCONT)
        time.sleep(0.05)
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.05)


def _is_locked(file: str) -> bool:
    with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        connection.execute("ROLLBACK")
    return False
