"""Slots that the processes below one command share."""

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from pinflow.mr_jobs.slots import Slots
from pinflow.zygote import ADDRESS_VARIABLE

HOLD = """
import sys
from pinflow.mr_jobs.slots import Slots
slots = Slots(1)
slots.take(wait=True)
print("taken", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def scope(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ADDRESS_VARIABLE, f"test-{os.urandom(8).hex()}")


def test_no_more_are_taken_than_there_are() -> None:
    with Slots(2) as one, Slots(2) as other:
        assert one.take(wait=False)
        assert other.take(wait=False)
        assert not one.take(wait=False)
        assert not other.take(wait=False)
        one.give_back()
        assert other.take(wait=False)
        assert not one.take(wait=False)


def test_those_of_a_job_that_failed_are_free() -> None:
    with Slots(1) as other:
        with suppress(ZeroDivisionError), Slots(1) as one:
            assert one.take(wait=True)
            assert not other.take(wait=False)
            raise ZeroDivisionError
        assert other.take(wait=False)


def test_a_job_that_waits_for_its_first_comes_before_the_next_of_others() -> None:
    with Slots(1) as large, Slots(1) as small:
        assert large.take(wait=True)
        thread = threading.Thread(target=small.take, kwargs={"wait": True})
        thread.start()
        end = time.monotonic() + 60
        while thread.is_alive() and time.monotonic() < end:  # a task ends and the next starts, as fast as can be
            large.give_back()
            if not large.take(wait=False):
                break
        thread.join(60)
        assert not large.take(wait=False)
        small.give_back()
        assert large.take(wait=False)


def test_other_commands_have_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with Slots(1) as one:
        assert one.take(wait=True)
        monkeypatch.setenv(ADDRESS_VARIABLE, "test-other")
        with Slots(1) as other:
            assert other.take(wait=False)


def test_what_a_killed_process_held_is_free() -> None:
    with (
        subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process,
        Slots(1) as slots,
    ):
        assert process.stdout
        assert process.stdout.readline() == b"taken\n"
        assert not slots.take(wait=False)
        process.kill()
        assert slots.take(wait=True)
