"""What the tasks of test_task_processes do: a small module, so that they import it fast."""

import os
import sys
import threading
import time
from pathlib import Path

_held: list[bytearray] = []


def speak() -> None:
    print(os.environ["WORD"], os.environ.get("LEFT"), Path.cwd(), os.getpid())
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
