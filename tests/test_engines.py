"""The script bin/engines: what it exports of engines that serve, and what it says where one cannot start."""

import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pinflow import config
from pinflow.workflows.on_cluster import cluster_of
from tests.engines import COMMAND

# what `status` looks for: a process for each pid file, and open ports
DAEMONS = {
    "hadoop": ["hadoop-namenode", "hadoop-nodemanager"],
    "hbase": ["hbase-master", "hbase-thrift"],
    "mariadb": ["mariadb"],
    "s3": ["s3"],
    "smtp": ["smtp"],
}
PORTS = {"hadoop": 800, "hbase": 90, "mariadb": 60, "s3": 50, "smtp": 25}
BASES = range(21_000, 31_000)
"""Below the ports that the system gives to connections, which come and go."""
JAVA_PACKAGE = "openjdk-17-jre-headless"


class Machine:
    """A folder of engines of its own, and a PATH that begins with `bin`."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.bin = folder / "bin"
        self.variables = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "PINFLOW_ENGINES": str(folder / "engines"),
            "PINFLOW_ENGINES_PORT": str(port),
        }
        (folder / "engines" / "run").mkdir(parents=True)
        self.bin.mkdir()

    def command(self, path: str, text: str) -> Path:
        """Put an executable into the folder."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        # never through a link to a command of this machine, which would be overwritten
        file.unlink(missing_ok=True)
        file.write_text(f"#!/bin/bash\n{text}\n")
        file.chmod(0o755)
        return file

    def engines(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        inherited = {name: value for name, value in os.environ.items() if name not in ("JAVA_HOME", "HADOOP_HOME")}
        return subprocess.run(
            [COMMAND, *arguments],
            env=inherited | self.variables | variables,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def evaluated(self, *arguments: str) -> dict[str, str]:
        """The variables of a shell after `eval "$(bin/engines ARGUMENTS)"`, in the way the documentation has it."""
        line = f'eval "$({shlex.join([COMMAND, *arguments])})" && env -0'
        clean = {"HOME": str(self.folder), "PATH": os.environ["PATH"]} | self.variables
        done = subprocess.run(["bash", "-c", line], env=clean, capture_output=True, text=True, timeout=60, check=True)
        return dict(pair.partition("=")[::2] for pair in done.stdout.split("\0") if pair)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path, next(filter(_is_free, random.sample(BASES, len(BASES)))))


def _is_free(base: int) -> bool:
    """Whether all ports of the engines are free from this one on."""
    try:
        with ExitStack() as stack:
            for offset in PORTS.values():
                stack.enter_context(socket.create_server(("127.0.0.1", base + offset)))
    except OSError:
        return False
    return True


@pytest.fixture
def serving(machine: Machine) -> Iterator[Machine]:
    """All five serve, as far as `status` sees: processes with their marks sleep, and their ports are open."""
    machine.command("bin/mariadb", "exit 0")
    with ExitStack() as stack:
        for name, offset in PORTS.items():
            stack.enter_context(socket.create_server(("127.0.0.1", machine.port + offset)))
            for daemon in DAEMONS[name]:
                mark = {"PINFLOW_ENGINE": f"{daemon}@{machine.variables['PINFLOW_ENGINES']}"}
                process = stack.enter_context(subprocess.Popen(["sleep", "300"], env=os.environ | mark))
                stack.callback(process.kill)
                (machine.folder / "engines" / "run" / f"{daemon}.pid").write_text(str(process.pid))
        yield machine


def test_all_engines_together_are_a_configuration_that_works(serving: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = serving.evaluated("env")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = config.load(working_folder=serving.folder)
    assert settings.runner == "hadoop"
    # this refuses a warehouse that the tasks cannot write to
    assert cluster_of(settings, "x").folder == f"hdfs://127.0.0.1:{serving.port + 800}/warehouse/_hadoop"
    assert variables["PINFLOW_SERVING"].startswith(f"hbase://127.0.0.1:{serving.port + 90}?")
    assert variables["PINFLOW_DATABASE"] == f"mysql+pymysql://root@127.0.0.1:{serving.port + 60}/pinflow"
    assert variables["PINFLOW_MAIL"] == f"smtp://127.0.0.1:{serving.port + 25}"
    # the input can lie in S3 all the same
    assert variables["AWS_ENDPOINT_URL_S3"] == f"http://127.0.0.1:{serving.port + 50}"


def test_a_process_with_a_large_environment_is_known(serving: Machine) -> None:
    """Such as HBase's, whose script exports the names of all jars."""
    name = "s3"
    pid = serving.folder / "engines" / "run" / f"{name}.pid"
    # large at the end, where a reader that has found the mark no longer looks
    large = {"PINFLOW_ENGINE": f"{name}@{serving.variables['PINFLOW_ENGINES']}", "ZZZ": "x" * 120_000}
    with subprocess.Popen(["sleep", "300"], env=large) as process:
        try:
            pid.write_text(str(process.pid))
            assert serving.engines("status", name).stdout == "s3: serves\n"
        finally:
            process.kill()


def test_env_says_that_s3_leaves_the_warehouse_to_hadoop(serving: Machine) -> None:
    assert "the warehouse is in HDFS" in serving.engines("env", "s3", "hadoop").stderr
    assert serving.engines("env", "hadoop").stderr == ""


def test_s3_has_the_warehouse_where_hadoop_does_not_serve_or_is_not_asked_for(serving: Machine) -> None:
    assert serving.evaluated("env", "s3")["PINFLOW_WAREHOUSE"] == "s3://pinflow/warehouse"
    (serving.folder / "engines" / "run" / "hadoop-namenode.pid").unlink()
    variables = serving.evaluated("env")
    assert variables["PINFLOW_WAREHOUSE"] == "s3://pinflow/warehouse"
    assert "PINFLOW_RUNNER" not in variables


def distribution(machine: Machine, namenode: str) -> Path:
    """A distribution whose commands say what they are given; `hdfs`, which runs `namenode`, is linked into the PATH."""
    home = machine.folder / "opt" / "hadoop-3.4.2"
    for name in ("hadoop", "yarn", "mapred"):
        machine.command(f"opt/hadoop-3.4.2/bin/{name}", f'echo "$HADOOP_CONF_DIR:{home}/share/hadoop/common/*"')
    machine.command("opt/hadoop-3.4.2/bin/hdfs", namenode)
    jar = home / "share/hadoop/tools/lib/hadoop-streaming-3.4.2.jar"
    jar.parent.mkdir(parents=True)
    jar.touch()
    (machine.bin / "hdfs").symlink_to(home / "bin" / "hdfs")
    machine.command("bin/java", 'echo "    java.home = /opt/java-17" >&2')
    return home


def test_a_hadoop_of_the_path_is_used_as_a_whole(machine: Machine) -> None:
    home = distribution(machine, "exit 1")
    assert machine.engines("start", "hadoop").returncode != 0
    own = machine.folder / "engines" / "hadoop" / "etc" / "hadoop"
    for file, name in (("mapred-site.xml", "mapreduce"), ("yarn-site.xml", "yarn")):
        wanted = f"<name>{name}.application.classpath</name><value>{own},{home}/share/hadoop/common/*</value>"
        assert wanted in (own / file).read_text()
    # without JAVA_HOME the commands of a distribution do nothing
    assert "JAVA_HOME:-/opt/java-17}" in (own / "hadoop-env.sh").read_text()


def test_env_names_the_home_of_a_hadoop_that_is_linked_into_the_path(serving: Machine) -> None:
    home = distribution(serving, "exit 1")
    assert serving.evaluated("env", "hadoop")["HADOOP_HOME"] == str(home)


def test_a_hadoop_without_streaming_is_refused(machine: Machine) -> None:
    machine.command("bin/hdfs", "exit 0")
    done = machine.engines("start", "hadoop")
    assert done.returncode != 0
    assert f"{machine.bin}/hdfs on the PATH belongs to {machine.folder}, which has no" in done.stderr


def test_why_hdfs_is_not_formatted_is_told_and_nothing_of_it_stays(machine: Machine) -> None:
    """What is left half made would be taken for a file system by the next start."""
    name = machine.folder / "engines" / "hadoop" / "data" / "name"
    distribution(machine, f"mkdir -p {name}/current; echo 'java.io.IOException: No space left on device' >&2; exit 1")
    done = machine.engines("start", "hadoop")
    assert done.returncode != 0
    assert "error: hadoop-format failed; the end of " in done.stderr
    assert "No space left on device" in done.stderr
    assert not name.exists()


@pytest.fixture
def without_java(machine: Machine) -> Machine:
    """The commands of this machine, but no Java, and no apt-get that would install one."""
    for folder in ("/bin", "/usr/bin"):
        for file in Path(folder).iterdir():
            link = machine.bin / file.name
            if file.name not in ("java", "apt-get") and not link.is_symlink():
                link.symlink_to(file)
    machine.variables["PATH"] = str(machine.bin)
    return machine


@pytest.mark.parametrize("engine", ["hadoop", "hbase"])
def test_without_java_the_command_that_installs_it_is_told(without_java: Machine, engine: str) -> None:
    distribution_of(engine, without_java)
    done = without_java.engines("start", engine)
    assert done.returncode != 0
    assert done.stderr.splitlines() == [
        f"error: {engine} needs Java 17, and no java of the PATH runs; "
        f"install it with: bin/engines start --install {engine}"
    ]


@pytest.mark.parametrize("engine", ["hadoop", "hbase"])
def test_a_wrong_java_home_is_named(without_java: Machine, engine: str) -> None:
    distribution_of(engine, without_java)
    done = without_java.engines("start", engine, JAVA_HOME="/opt/no-java")
    assert "error: /opt/no-java/bin/java does not run; correct JAVA_HOME" in done.stderr


def distribution_of(engine: str, machine: Machine) -> None:
    if engine == "hadoop":
        distribution(machine, "exit 1")
        (machine.bin / "java").unlink()
    else:
        machine.command("bin/hbase", "exit 1")


def test_java_is_installed_though_all_jars_are_there(without_java: Machine) -> None:
    """As in a container that got only the folder of the engines from a cache."""
    asked = without_java.folder / "asked"
    without_java.command("bin/hbase", "exit 1")
    without_java.command("bin/apt-get", f'echo "$@" >> {asked}')
    without_java.command("bin/id", "echo 0")
    without_java.engines("start", "--install", "hbase")
    assert f"install -y -q --no-install-recommends {JAVA_PACKAGE}" in asked.read_text()


def test_what_a_killed_jvm_left_behind_ends_before_it_is_started_again(machine: Machine) -> None:
    spawner = shutil.copy(shutil.which("sleep") or "", machine.folder / "jspawnhelper")
    started = [
        subprocess.Popen([spawner, "300"], env=os.environ | {"PINFLOW_ENGINE": f"{name}@{machine.folder}/engines"})
        for name in ("a-master", "b-master")
    ]
    script = f". {Path(COMMAND).parent}/engines.d/daemons.sh; as_engine a-master true"
    subprocess.run(["bash", "-euc", script], env=os.environ | machine.variables, check=True, timeout=60)
    assert started[0].wait(10) == -signal.SIGKILL
    assert started[1].poll() is None
    started[1].kill()
    started[1].wait()
