"""The whole life of a child of the zygote: it is forked ahead, waits for its call, does it and ends.

What most calls need is done before the call comes. Each page of the zygote's memory that a child touches has to be
copied for it, which is most of what a short job costs; so little Python runs here as can be.
"""

import _signal  # type: ignore[import-not-found]  # what `signal` wraps in enums
import atexit
import ctypes
import importlib
import json
import os
import random
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
"""The signals that the zygote handles; blocked while a child is forked."""

_PR_SET_PDEATHSIG = ctypes.c_int(1)
_SIGKILL = ctypes.c_ulong(signal.SIGKILL)
_prctl = ctypes.CDLL(None).prctl
_TERM, _INT, _CHLD = map(int, HANDLED)
_DEFAULT, _SET = int(signal.SIG_DFL), int(signal.SIG_SETMASK)
_decode = json.JSONDecoder().raw_decode
_REHEARSALS = 20
"""More than Python 3.11 to 3.13 need until they have specialised a function."""
_LENGTH = struct.Struct("!I")
_DESCRIPTOR = struct.Struct("i")
_FIRST_BYTES = 1 << 13
_ROOM = socket.CMSG_LEN(_DESCRIPTOR.size)


def open_streams() -> None:
    """Make the standard streams those of a child, whatever its descriptors will be; in the zygote, which uses none."""
    sys.stdin = open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = open(descriptor, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)


def changes_to(environment: Mapping[str, str]) -> dict[str, str | None]:
    """What makes this process's environment the given one: new values, None for what is to go."""
    gone: dict[str, str | None] = {name: None for name in os.environ if name not in environment}
    return gone | {name: value for name, value in environment.items() if os.environ.get(name) != value}


def send_call(stream: socket.socket, call: Mapping[str, Any], output: int) -> None:
    """Give a waiting child its call; `environment` holds changes to its own, see `changes_to`."""
    body = json.dumps(call).encode()
    data = _LENGTH.pack(len(body)) + body
    sent = socket.send_fds(stream, [data], [output])
    if sent < len(data):  # a child that has all of it closes its end
        stream.sendall(data[sent:])


def live(stream: socket.socket, parent: int, owned: Sequence[int]) -> NoReturn:
    """The life of a child that was just forked; never returns into the zygote's loop.

    Of the zygote's descriptors `owned` it keeps only that of `stream`. The objects that hold the others stay as they
    are: the frames of the zygote's loop keep them to the end, so that none closes what has its number later.
    """
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        kept = stream.fileno()
        for descriptor in owned:
            if descriptor != kept:
                os.close(descriptor)
        _bind_to_parent(parent)
        _reset_signals()
        tempfile.tempdir = None
        if "numpy.random" in sys.modules:
            sys.modules["numpy.random"].seed()
        call, output = _receive_call(stream)
        _redirect(output)
        enter(call["environment"], call["folder"], call["function"])
        code = exit_code(call["function"], call["arguments"])
        _finish()
    except BaseException:
        code = 1
        traceback.print_exc()
    finally:
        os._exit(code)


def rehearse() -> None:
    """Do in the zygote what each child does: what Python and the loader look up for it once, they find from then on."""
    path, folder = sys.path[:], str(Path.cwd())
    for _ in range(_REHEARSALS):
        random.seed()
        threading._after_fork()  # type: ignore[attr-defined]
        ours, its = socket.socketpair()
        with ours, its:
            send_call(ours, {"environment": {"PINFLOW_REHEARSED": "1"}, "function": "gc:enable", "arguments": {}}, 2)
            call, output = _receive_call(its)
        os.close(output)
        enter(call["environment"], folder, call["function"])
        exit_code(call["function"], call["arguments"])
        enter(dict.fromkeys(call["environment"]), folder, "")
        threading.enumerate()
        sys.stdout.flush()
        sys.path[:] = path


def find(name: str) -> Any:
    """The function `package.module:name`."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _bind_to_parent(parent: int) -> None:
    _prctl(_PR_SET_PDEATHSIG, _SIGKILL, None, None, None)
    if os.getppid() != parent:
        os._exit(1)


def _reset_signals() -> None:
    _signal.signal(_TERM, _DEFAULT)
    _signal.signal(_CHLD, _DEFAULT)
    _signal.signal(_INT, _signal.default_int_handler)
    _signal.pthread_sigmask(_SET, ())


def _receive_call(stream: socket.socket) -> tuple[dict[str, Any], int]:
    """Wait for the call, and for the descriptor of its output; ends with the zygote."""
    data, passed, _, _ = stream.recvmsg(_FIRST_BYTES, _ROOM)
    if not data:  # the zygote was killed, and so this process will be
        os._exit(1)
    ((_, _, descriptor),) = passed
    while len(data) < _LENGTH.size + _LENGTH.unpack_from(data)[0]:
        data += stream.recv(_FIRST_BYTES)
    stream.close()
    call, _ = _decode(data[_LENGTH.size :].decode())
    return call, _DESCRIPTOR.unpack(descriptor)[0]


def _redirect(output: int) -> None:
    """Let stdout and stderr go to `output`."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)


def enter(changes: Mapping[str, str | None], folder: str, name: str) -> None:
    """Take on the environment, folder and import path of a call."""
    for variable, value in changes.items():
        if value is not None:
            os.environ[variable] = value
        else:
            os.environ.pop(variable, None)
    os.chdir(folder)
    folders = [folder, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    sys.path[:0] = folders
    for each in folders:  # what was found there before may be old
        sys.path_importer_cache.pop(each, None)
    sys.argv = [name]
    if "TZ" in changes:
        time.tzset()
    if "polars" in sys.modules and any(variable.startswith("POLARS_") for variable in changes):
        # Polars has read its variables at import; this public call reads them again.
        sys.modules["polars"].Config.load('{"environment": {}}')


def exit_code(name: str, arguments: Mapping[str, Any]) -> int:
    """Call the function `package.module:name`; gives the code that a process ends with which does no more."""
    try:
        result = find(name)(**arguments)
    except SystemExit as error:
        result = error.code
    if result is None or isinstance(result, int):
        return int(result or 0) & 0xFF
    print(result, file=sys.stderr)
    return 1


def _finish() -> None:
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
