"""In place of EMR's nodes: runs the streaming steps that moto has received, one task after the other."""

import os
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from moto.core import DEFAULT_ACCOUNT_ID
from moto.emr.models import Cluster, emr_backends
from moto.emr.models import Step as EmrStep

from pinflow.storage import open_storage

REGION = "us-east-1"
PASSED = ("PATH", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION")


class EmrNodes:
    """A thread that runs each step once and says how it ended; `bootstrapped` are the clusters' bootstrap scripts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bootstrapped: dict[str, str] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    @staticmethod
    def clusters() -> list[Cluster]:
        return list(emr_backends[DEFAULT_ACCOUNT_ID][REGION].clusters.values())

    def _run(self) -> None:
        while not self._ended.wait(0.1):
            for cluster in self.clusters():
                for step in [step for step in cluster.steps if step.state in ("PENDING", "RUNNING")]:
                    scripts = [read(action.script_path) for action in cluster.bootstrap_actions]
                    self.bootstrapped[cluster.id] = "\n".join(scripts)
                    step.state = "COMPLETED" if self._run_step(step) else "FAILED"

    def _run_step(self, step: EmrStep) -> bool:
        assert (step.jar, step.args[0]) == ("command-runner.jar", "hadoop-streaming")
        options: dict[str, list[str]] = {}
        arguments = iter(step.args[1:])
        for name in arguments:
            options.setdefault(name, []).append("" if name == "-lazyOutput" else next(arguments))
        task = _Task(self.folder / step.id, options)
        lines: list[bytes] = []
        for number, entry in enumerate(open_storage("s3://b").list(options["-input"][0])):
            data = task.run("m", number, options["-mapper"][0], open_storage("s3://b").read_bytes(entry.path))
            if data is None:
                return False
            lines += data.splitlines(keepends=True)
        if "-reducer" not in options:
            return task.publish(lines)
        data = task.run("r", 0, options["-reducer"][0], b"".join(sorted(lines)))
        return data is not None and task.publish(data.splitlines(keepends=True))


class _Task:
    """The tasks of a step, in a folder with what was sent; what each wrote becomes the output when it ends well."""

    def __init__(self, folder: Path, options: Mapping[str, list[str]]) -> None:
        self.output = options["-output"][0]
        self.folder = folder / "usercache" / "hadoop" / "appcache" / "application_1_2"
        self.folder.mkdir(parents=True)
        for url in options["-files"][0].split(","):
            path, _, name = url.partition("#")
            (self.folder / (name or Path(urlsplit(path).path).name)).write_bytes(open_storage(path).read_bytes(path))
        self.variables = dict(pair.split("=", 1) for pair in options["-cmdenv"])

    def run(self, kind: str, number: int, command: str, data: bytes) -> bytes | None:
        attempt = f"attempt_1_2_{kind}_{number:06}_0"
        written = f"{self.output}/_temporary/1/_temporary/{attempt}"
        own = {
            "mapreduce_task_partition": str(number),
            "mapreduce_task_attempt_id": attempt,
            "mapreduce_task_output_dir": written,
            "LOCAL_DIRS": str(self.folder),
        }
        variables = {name: os.environ[name] for name in PASSED} | self.variables | own
        done = subprocess.run(command.split(), input=data, env=variables, cwd=self.folder, capture_output=True)
        if done.returncode:
            return None
        storage = open_storage(written)
        for entry in list(storage.walk(written)):
            storage.write_bytes(f"{self.output}{entry.path.removeprefix(written)}", storage.read_bytes(entry.path))
        storage.delete(written, recursive=True)
        return done.stdout

    def publish(self, lines: list[bytes]) -> bool:
        if lines:
            open_storage(self.output).write_bytes(f"{self.output}/part-00000", b"".join(lines))
        return True


def read(url: str) -> str:
    return open_storage(url).read_bytes(url).decode()
