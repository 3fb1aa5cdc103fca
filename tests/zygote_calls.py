"""What the children of test_zygote do: a small module, so that they import it fast."""

import os
import random
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping
from pathlib import Path

from pinflow.zygote import JSON, Call, Zygote, connect

HERE = str(Path(__file__).parent)


def call(
    name: str, *, output: int = 2, group: int = 0, environment: Mapping[str, str] | None = None, **arguments: JSON
) -> Call:
    variables = {**os.environ, "PYTHONPATH": HERE, **(environment or {})}
    return Call(f"zygote_calls:{name}", arguments, variables, "/", output, group)


def give(code: int | None = None) -> int | None:
    return code


def leave(code: str | int) -> None:
    sys.exit(code)


def fail() -> None:
    raise ValueError("no such luck")


def finalize() -> None:
    weakref.finalize(finalize, print, "finalized")


def speak() -> None:
    print("out", os.environ["WORD"], os.environ.get("HOME"), Path.cwd())
    print("err ü", file=sys.stderr)
    os.system("echo shell $WORD")


def rest(ready: str = "", seconds: float = 60) -> None:
    if ready:
        Path(ready).write_text(str(os.getpid()))
    time.sleep(seconds)


def spawn_and_rest(ready: str) -> None:
    process = subprocess.Popen(["sleep", "60"])
    Path(ready).write_text(str(process.pid))
    time.sleep(60)


def spawn_and_leave(ready: str) -> None:
    Path(ready).write_text(str(subprocess.Popen(["sleep", "60"]).pid))


def burn(megabytes: int, seconds: float) -> None:
    block = bytearray(os.urandom(1024)) * (megabytes * 1024)
    end = time.process_time() + seconds
    while time.process_time() < end:
        block[0] ^= 1


def fork_two_and_rest(ready: str) -> None:
    forks = connect()
    pids = [forks.fork(call("rest", group=os.getpgrp())) for _ in range(2)]
    Path(ready).write_text(" ".join(map(str, pids)))
    time.sleep(60)


def tell_state() -> None:
    print("sockets", sum(path.is_socket() for path in Path("/proc/self/fd").iterdir()))
    print("int", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    print("term", signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
    print("blocked", len(signal.pthread_sigmask(signal.SIG_BLOCK, ())))
    print("group", os.getpgrp() == os.getpid())
    print("path", len(sys.path) == len(set(sys.path)), *(name for name in os.environ if name.endswith("REHEARSED")))
    print("random", random.random())


def has(module: str) -> int:
    return int(module in sys.modules)


def use_polars(path: str) -> int:
    import polars

    frame = polars.DataFrame({"a": [i % 7 for i in range(5000)], "b": range(5000)})
    frame.write_parquet(path)
    found = polars.scan_parquet(path).group_by("a").agg(polars.col("b").sum()).collect()
    print(polars.thread_pool_size())
    return 0 if found["b"].sum() == 4999 * 2500 else 1


def hold_zygote(ready: str) -> None:
    """The life of a command that gets killed: it starts a zygote, and forks below it."""
    with Zygote.start([]) as started, connect() as forks:
        pids = [forks.fork(call("rest")) for _ in range(2)]
        pids.append(forks.fork(call("spawn_and_rest", ready=ready + ".child")))
        while not Path(ready + ".child").exists():
            time.sleep(0.005)
        Path(ready).write_text(" ".join(map(str, [started.pid, *pids])))
        time.sleep(60)
