"""A MariaDB server of one test process, started with bin/engines in a folder of its own."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from itertools import count
from pathlib import Path

import pymysql

COMMAND = str(Path(__file__).parents[1] / "bin" / "engines")
PORT_OF_MARIADB = 60
"""What bin/engines adds to PINFLOW_ENGINES_PORT."""


class MariaDb:
    def __init__(self) -> None:
        # Short: a socket's path may have 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="mariadb-"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._numbers = count(1)

    def start(self) -> None:
        own = {
            "PINFLOW_ENGINES": str(self.folder),
            "PINFLOW_ENGINES_PORT": str(self.port - PORT_OF_MARIADB),
            "PINFLOW_MARIADB_FLUSH": "2",
        }
        done = subprocess.run(
            [COMMAND, "start", "mariadb"], env=os.environ | own, capture_output=True, text=True, timeout=400
        )
        if done.returncode:
            raise RuntimeError(f"MariaDB did not start:\n{done.stdout}{done.stderr}")

    def kill(self) -> None:
        pid = int((self.folder / "run" / "mariadb.pid").read_text())
        os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + 20
        while self._is_alive(pid):
            assert time.monotonic() < end
            time.sleep(0.01)

    def create(self, *, port: int | None = None) -> str:
        """The URL of a new, empty database, at another port than the server's own if one is given."""
        name = f"test_{next(self._numbers)}"
        with self.connect() as connection, connection.cursor() as cursor:
            # Neither its character set nor its collation are what pinflow needs.
            cursor.execute(f"CREATE DATABASE {name} CHARACTER SET latin1 COLLATE latin1_swedish_ci")
        return f"mysql+pymysql://root@127.0.0.1:{port or self.port}/{name}"

    def connect(self, name: str | None = None) -> pymysql.Connection:
        return pymysql.connect(host="127.0.0.1", port=self.port, user="root", database=name)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _is_alive(self, pid: int) -> bool:
        try:
            return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return False
