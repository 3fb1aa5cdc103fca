"""What the tasks of test_task_processes do: a small module, so that they import it fast."""

import atexit
import os
import random
import signal
import sys
import threading
import time
import weakref
from pathlib import Path


class Held(list[bytearray]):
    """What a task keeps."""


_held = Held()


def speak() -> None:
    print(os.environ["WORD"], os.environ.get("LEFT"), Path.cwd(), os.getpid(), *sys.argv)
    print("error", file=sys.stderr)
    os.environ["LEFT"] = "behind"
    os.chdir("/")


def rest(seconds: float = 0.0) -> None:
    time.sleep(seconds)


def leave(code: int) -> int:
    return code


def fail() -> None:
    raise ValueError("no such luck")


def stop() -> None:
    os._exit(0)


def hold(size: int) -> None:
    _held.append(bytearray(b"x") * size)


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def leave_thread(file: str) -> None:
    threading.Thread(target=lambda: (time.sleep(0.2), Path(file).touch())).start()


def write(file: str, text: str) -> None:
    Path(file).write_text(text)


def fork_and_rest(seconds: float) -> None:
    if os.fork():
        time.sleep(seconds)


def leave_daemon(file: str) -> None:
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()


def leave_alarm(file: str) -> None:
    signal.alarm(60)


def leave_handler(file: str) -> None:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def leave_at_exit(file: str) -> None:
    atexit.register(Path(file).touch)


def leave_finalizer(file: str) -> None:
    weakref.finalize(_held, Path(file).touch)


def draw(file: str) -> None:
    Path(file).write_text(str(random.random()))
    random.seed(1)
