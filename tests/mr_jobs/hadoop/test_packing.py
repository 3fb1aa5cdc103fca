import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinflow.errors import ConfigurationError
from pinflow.mr_jobs.hadoop import start
from pinflow.mr_jobs.hadoop.packing import pack
from pinflow.mr_jobs.hadoop.streaming import PYTHON

Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's package, with data, that imports a module beside it and an installed distribution."""
    package = tmp_path / "acme_of_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "jobs.py").write_text("import json\nimport acme_beside\nfrom iniconfig import IniConfig\n")
    (package / "rates.csv").write_text("1,2\n")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "jobs.pyc").write_bytes(b"")
    (tmp_path / "acme_beside.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield package
    for name in ("acme_of_test", "acme_of_test.jobs", "acme_beside"):
        sys.modules.pop(name, None)


def names(archive: Path) -> set[str]:
    with zipfile.ZipFile(archive) as file:
        return set(file.namelist())


def test_code_and_libraries_are_packed_apart(cache: Path, project: Path) -> None:
    libraries, code = (archive.path for archive in pack(["acme_of_test.jobs"], cache))
    mine = {name for name in names(code) if name.startswith("acme")}
    assert mine == {"acme_of_test/__init__.py", "acme_of_test/jobs.py", "acme_of_test/rates.csv", "acme_beside.py"}
    assert {"pinflow/mr_jobs/hadoop/task.py", "pinflow/stats_engine/stats.thrift"} <= names(code)
    found = {name.partition("/")[0] for name in names(libraries)}
    assert {"polars", "_polars_runtime_32", "pyarrow", "mrjob", "ua_parser_rs", "iniconfig"} <= found
    # of the environment of developers, which nobody imports here
    assert not {"hypothesis", "mypy", "ruff", "moto", "pinflow"} & found


def test_a_change_of_code_leaves_the_libraries(cache: Path, project: Path) -> None:
    before = pack(["acme_of_test.jobs"], cache)
    assert pack(["acme_of_test.jobs"], cache) == before
    (project / "jobs.py").write_text("import acme_beside\nfrom iniconfig import IniConfig\n")
    after = pack(["acme_of_test.jobs"], cache)
    assert after[0] == before[0]
    assert after[1].path != before[1].path
    assert [path for archive in before for path in [archive.path] if path.exists()] == [before[0].path]


def test_a_module_that_is_not_there_is_told(cache: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot pack the module 'acme_nowhere'.*PYTHONPATH"):
        pack(["acme_nowhere.jobs"], cache)


def start_task(folder: Path, *arguments: str, python: str = PYTHON, **variables: str) -> Done:
    command = [sys.executable, "-I", "-S", start.__file__, python, *arguments]
    environment = os.environ | variables
    return subprocess.run(
        command, cwd=folder, env=environment, input="a\n", capture_output=True, text=True, check=False, timeout=120
    )


def test_another_python_is_refused(tmp_path: Path) -> None:
    done = start_task(tmp_path, "libraries.zip", "code.zip", "mapper", "0", python="3.99")
    assert done.returncode == start.WRONG_PYTHON
    assert f"runs Python {PYTHON}" in done.stderr
    assert "packed with Python 3.99" in done.stderr


JOB = """
import sys, polars, acme_beside, iniconfig
from mrjob.job import MRJob

class Job(MRJob):
    def mapper(self, _, line):
        yield line, [polars.__file__, acme_beside.__file__, *sys.path]
"""


def test_a_task_sees_only_the_archives_which_a_node_unpacks_once(cache: Path, project: Path, tmp_path: Path) -> None:
    (project / "jobs.py").write_text(JOB)
    archives = pack(["acme_of_test.jobs"], cache)
    user = tmp_path / "usercache" / "hadoop"
    application = user / "appcache" / "application_1_2"
    application.mkdir(parents=True)
    for archive in archives:
        (application / archive.path.name).symlink_to(archive.path)
    (application / "pinflow-job.json").write_text('{"job": "acme_of_test.jobs:Job", "arguments": [], "folder": ""}')
    names = [archive.path.name for archive in archives]
    arguments = [*names, "mapper", "0"]

    done = start_task(application, *arguments, LOCAL_DIRS=f"{application},/other")
    assert done.returncode == 0, done.stderr
    key, value = done.stdout.split("\t")
    polars, beside, *path = json.loads(value)
    libraries, code = (user / "pinflow" / name.removesuffix(".zip") for name in names)
    assert json.loads(key) == "a"
    assert "reporter:counter:pinflow,input_rows,1" in done.stderr.splitlines()
    assert polars == str(libraries / "polars" / "__init__.py")
    assert beside == str(code / "acme_beside.py")
    assert not [place for place in path if "site-packages" in place or str(tmp_path / "acme") in place]

    unpacked = (libraries / "polars").stat().st_ino
    assert start_task(application, *arguments, LOCAL_DIRS=str(application)).stdout == done.stdout
    assert (libraries / "polars").stat().st_ino == unpacked


def test_what_a_node_has_not_used_for_long_is_removed(tmp_path: Path, project: Path) -> None:
    user = tmp_path / "usercache" / "hadoop"
    for name, age in (("pinflow-code-old", start.KEPT_SECONDS + 60), ("pinflow-code-new", 60)):
        (user / "pinflow" / name).mkdir(parents=True)
        mark = user / "pinflow" / f"{name}.used"
        mark.touch()
        os.utime(mark, (time.time() - age,) * 2)
    for name in ("libraries.zip", "code.zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as file:
            file.writestr("nothing.txt", "")
    local = str(user / "appcache" / "application_1_2")
    assert start_task(tmp_path, "libraries.zip", "code.zip", "mapper", "0", LOCAL_DIRS=local).returncode == 1
    kept = {path.name for path in (user / "pinflow").iterdir() if path.is_dir()}
    assert kept == {"pinflow-code-new", "libraries", "code"}


def test_tasks_that_start_at_once_unpack_once(tmp_path: Path) -> None:
    """All find nothing unpacked at the same moment; a folder that is made again has another inode."""
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as file:
        for number in range(300):
            file.writestr(f"{number}.txt", "")
    script = (
        "import os, sys, time; sys.path.insert(0, sys.argv[1]); import start\n"
        "time.sleep(float(sys.argv[4]) - time.time())\n"
        "print(os.stat(start._unpacked(sys.argv[2], sys.argv[3]) + '/299.txt').st_ino)"
    )
    for turn in range(5):
        root = tmp_path / str(turn)
        root.mkdir()
        places = [str(Path(start.__file__).parent), str(tmp_path / "code.zip"), str(root), str(time.time() + 1.5)]
        command = [sys.executable, "-c", script, *places]
        tasks = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
        assert len({task.communicate(timeout=60)[0] for task in tasks}) == 1
