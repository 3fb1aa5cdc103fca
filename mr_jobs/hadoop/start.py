"""Starts a task on a node of the cluster; it travels alone, and needs no library.

    python3.11 -I -S start.py 3.11 LIBRARIES.zip CODE.zip KIND STEP

The archives are unpacked once on each node, beside YARN's own files of the user: YARN would do it with a process for
each file, where Hadoop's native library is missing. This may run under any Python 3, to say that it is the wrong one.
"""

import fcntl
import os
import platform
import shutil
import site
import sys
import time
import zipfile

WRONG_PYTHON = 97
KEPT_SECONDS = 7 * 86400
"""Archives that no task has used for so long are removed when another is unpacked."""


def main() -> int:
    """Check Python, put the archives on the import path, run the task."""
    wanted, libraries, code, *arguments = sys.argv[1:]
    found = "%d.%d" % sys.version_info[:2]  # noqa: UP031
    if found != wanted:
        message = "error: the node %s runs Python %s at %s; this job was packed with Python %s\n"
        sys.stderr.write(message % (platform.node(), found, sys.executable, wanted))
        return WRONG_PYTHON
    root = _root()
    site.addsitedir(_unpacked(libraries, root))
    sys.path.insert(0, _unpacked(code, root))
    from pinflow.mr_jobs.hadoop.task import main as run

    return run(arguments)


def _root() -> str:
    """A folder of the user that outlives the application, else that of the task."""
    above, application = os.path.split(os.environ.get("LOCAL_DIRS", "").split(",")[0])
    user, name = os.path.split(above)
    if application and name == "appcache":
        try:
            root = os.path.join(user, "pinflow")  # noqa: PTH118
            os.makedirs(root, mode=0o700, exist_ok=True)  # noqa: PTH103
        except OSError:
            pass
        else:
            return root
    return os.getcwd()  # noqa: PTH109


def _unpacked(archive: str, root: str) -> str:
    """The folder with what the archive holds; the first task that needs it unpacks it."""
    folder = os.path.join(root, os.path.basename(archive)[: -len(".zip")])  # noqa: PTH118, PTH119
    mark = folder + ".used"
    if not os.path.exists(mark):  # noqa: PTH110
        with open(os.path.join(root, ".lock"), "w") as lock:  # noqa: PTH118, PTH123
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not os.path.exists(mark):  # noqa: PTH110
                _remove_old(root)
                shutil.rmtree(folder, ignore_errors=True)
                with zipfile.ZipFile(archive) as file:
                    file.extractall(folder)
                open(mark, "w").close()  # noqa: PTH123 - before the lock is let go
    os.utime(mark)
    return folder


def _remove_old(root: str) -> None:
    for name in os.listdir(root):  # noqa: PTH208
        mark = os.path.join(root, name)  # noqa: PTH118
        if name.endswith(".used") and time.time() - os.path.getmtime(mark) > KEPT_SECONDS:  # noqa: PTH204
            os.remove(mark)  # noqa: PTH107
            shutil.rmtree(mark[: -len(".used")], ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
