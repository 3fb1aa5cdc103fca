import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from random import Random

import pytest

from pinflow.scheduler import identity
from pinflow.scheduler.child import leave_result
from pinflow.scheduler.declare import Condition, Job, Workflow
from pinflow.scheduler.definition import define
from pinflow.scheduler.outcomes import backoff, judge, last_line, read_result
from pinflow.scheduler.polls import AT_ONCE, Poll, Polls
from pinflow.scheduler.records import Claim, Held, Lease
from pinflow.scheduler.states import JOB_MOVES, RUN_MOVES, JobState, RunState
from pinflow.zygote import Exit

NOW = datetime(2015, 5, 19, tzinfo=UTC)
DEMO = define(Workflow("demo", "o", lambda _day, _parameters: []), date(2015, 5, 18))
HELD = Held(Lease("r", "w", 1), DEMO, 0.0, timedelta(0))


def outcome(code=None, signal=None, retries=2, failures=0, stopped=None):
    node = Job("j", call="m:f", retries=retries, retry_delay="10s")
    ended = Exit(1, code, signal, 0, 0, 0)
    return judge(node, Claim("r", "j", 1, 1, failures), ended, now=NOW, random=Random(1), stopped=stopped)


@pytest.mark.parametrize(
    ("code", "signal", "failures", "state", "again"),
    [
        (0, None, 0, "succeeded", False),
        (10, None, 0, "skipped", False),
        (3, None, 0, "failed", False),
        (4, None, 0, "failed", False),
        (1, None, 0, "failed", True),
        (1, None, 1, "failed", True),
        (1, None, 2, "failed", False),
        (None, 9, 0, "failed", True),
    ],
)
def test_what_an_exit_means(code, signal, failures, state, again):
    found = outcome(code, signal, failures=failures)
    assert found.state.value == state
    assert (found.retry_at is not None) == again
    assert found.job_state is (JobState.READY if again else JobState(state))


def test_what_was_stopped_did_not_succeed():
    assert outcome(0, stopped="stopped after its timeout of 1s").state.value == "failed"


def test_backoff_doubles_up_to_an_hour():
    delays = [backoff(timedelta(seconds=10), n, Random(n)).total_seconds() for n in range(40)]
    assert all(10 * 2**n <= delay <= 11 * 2**n for n, delay in enumerate(delays[:8]))
    assert all(3600 <= delay <= 3960 for delay in delays[9:])
    assert backoff(timedelta(hours=2), 3, Random(1)) >= timedelta(hours=2)


def test_results_are_read_once_and_limited(tmp_path):
    file = tmp_path / "result.json"
    environment = {"PINFLOW_RESULT": str(file)}
    leave_result({"reason": "r", "rows": 1}, environment)
    leave_result({"rows": 2}, environment)
    assert read_result(file) == ('{"reason": "r", "rows": 2}', None)
    assert read_result(file) == (None, None)
    for bad in (b"[1]", b"{", b"\xff"):
        file.write_bytes(bad)
        assert read_result(file) == (None, "what it left is no JSON object")
    file.write_bytes(b'{"x": "' + b"x" * 65_536 + b'"}')
    values, refused = read_result(file)
    assert values is None
    assert refused is not None
    assert refused.startswith("what it left has 65545 bytes, at most 65536 are read")
    assert not file.exists()
    leave_result({"x": 1}, {})


def test_the_last_line_of_a_log(tmp_path):
    log = tmp_path / "log"
    assert last_line(log) is None
    log.write_bytes(b"x" * 9000 + b"\nfirst \xff\nValueError: no\n\n  \n")
    assert last_line(log) == "ValueError: no"
    log.write_bytes(b"")
    assert last_line(log) is None


def test_a_poll_asks_less_and_less_often_and_a_last_time_at_the_end():
    poll = Poll(HELD, Claim("r", "c", 1, 1, 0), Condition("c", call="m:f", poll="10s"), 0, 200, 10)
    asked = []
    while not poll.is_over:
        asked.append(poll.next_at)
        poll = poll.again(poll.next_at)
    gaps = [b - a for a, b in pairwise(asked)]
    assert gaps[:5] == [10, 15, 22.5, 33.75, 50.625]
    assert max(gaps) <= 60
    assert asked[-1] == 200


def test_a_question_may_be_answered_until_the_end_of_the_wait_and_for_a_minute():
    poll = Poll(HELD, Claim("r", "c", 1, 1, 0), Condition("c", call="m:f"), 0, 200, 10)
    assert [poll.answered_by(asked) for asked in (0, 139, 141, 200)] == [200, 200, 201, 260]


def test_only_a_few_conditions_are_asked_at_once():
    polls = Polls()
    for n in range(AT_ONCE + 2):
        polls.add(HELD, Claim("r", str(n), 1, n, 0), Condition(str(n), call="m:f"))
    due = polls.due(float("inf"))
    assert len(due) == AT_ONCE
    polls.asking = dict(enumerate(due))
    assert polls.due(float("inf")) == []
    assert polls.wakes_at is None
    assert len(polls) == AT_ONCE + 2


def test_a_process_is_known_dead_only_when_it_is():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        name = identity.process_id(process.pid)
        assert not identity.is_dead(name)
        assert identity.is_dead(name + "1")
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert identity.is_dead(name)
    assert not identity.is_dead("elsewhere-12345678:1:1")
    assert not identity.is_dead(identity.process_id())


def test_every_state_has_its_moves():
    assert JOB_MOVES.keys() == set(JobState)
    assert RUN_MOVES.keys() == set(RunState)
