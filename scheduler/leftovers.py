"""What a worker of this machine that was killed may have left running is ended before its jobs start again."""

import contextlib
import time

from pinflow.scheduler import identity

_SECONDS = 5.0


def end_leftovers(zygote: str | None, own: str) -> None:
    """Kill a zygote of this machine with all that it forked, unless it is `own`; return when they are dead."""
    if zygote in (None, own) or not identity.is_here(zygote) or identity.is_dead(zygote):
        return
    import psutil  # of the commands that import this, few have leftovers to end

    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(identity.pid_of(zygote))
        doomed = [process, *process.children(recursive=True)]
        names = [identity.process_id(each.pid) for each in doomed]
        for each in doomed:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        # A frozen driver does not reap its zygote: a process that only waits for that is dead enough.
        end = time.monotonic() + _SECONDS
        while time.monotonic() < end and not all(map(identity.is_dead, names)):
            time.sleep(0.002)
