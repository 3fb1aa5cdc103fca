"""Starts a task on a node of the cluster; alone in its archive's root, without any library.

    python3.11 -I -S pinflow-code/start.py 3.11 KIND STEP

It may run under any Python 3, to say that it is the wrong one (exit code 97).
"""

import os
import platform
import site
import sys

WRONG_PYTHON = 97


def main() -> int:
    """Check Python, put the archives on the import path, run the task."""
    wanted, arguments = sys.argv[1], sys.argv[2:]
    found = "%d.%d" % sys.version_info[:2]  # noqa: UP031
    if found != wanted:
        message = "error: the node %s runs Python %s at %s; this job was packed with Python %s\n"
        sys.stderr.write(message % (platform.node(), found, sys.executable, wanted))
        return WRONG_PYTHON
    code = os.path.dirname(os.path.abspath(sys.argv[0]))  # noqa: PTH100, PTH120
    sys.path.insert(0, code)
    site.addsitedir(os.path.join(os.path.dirname(code), "pinflow-libraries"))  # noqa: PTH118, PTH120
    from pinflow.mr_jobs.hadoop.task import main as run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
