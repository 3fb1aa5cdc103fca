"""A clock that is set forwards and backwards while two drivers work on one run: each job is still done once."""

import random
from collections import Counter

import pytest

from pinflow.errors import StaleFenceError
from pinflow.scheduler import reading
from pinflow.scheduler.definition import Definition
from pinflow.scheduler.records import Claim, Lease, Outcome
from pinflow.scheduler.states import AttemptState, RunState
from pinflow.scheduler.store import Store
from tests.scheduler.conftest import Clock
from tests.scheduler.drive import SHAPES
from tests.scheduler.stories import check_story

TREE = SHAPES["tree"]
HOUR = 3600
JUMPS = 4
"""So few that no job loses its worker as often as it may."""


class Driver:
    """One of those that want to drive the run, doing a step of it when told."""

    def __init__(self, name: str, store: Store, definition: Definition) -> None:
        self.name, self.store, self.definition = name, store, definition
        self.lease: Lease | None = None
        self.claims: list[Claim] = []
        self.done: list[Claim] = []

    def step(self, chance: random.Random) -> None:
        try:
            if self.lease is None:
                self.lease = self.store.open_run(self.definition, self.name).lease
                return
            if chance.random() < 0.3:
                self.store.renew(self.lease, [(claim, 1) for claim in self.claims])
                return
            ended = [claim for claim in self.claims if chance.random() < 0.5]
            outcomes = [Outcome(claim, AttemptState.SUCCEEDED) for claim in ended]
            claims = self.store.advance(self.lease, outcomes, 2 - len(self.claims) + len(ended)).claims
            self.done += ended
            self.claims = [claim for claim in self.claims if claim not in ended] + claims
            if not self.claims:
                self.store.close_run(self.lease)
        except StaleFenceError:
            self.lease, self.claims = None, []


def jump_at_random_moments(stores: list[Store], definition: Definition, clock: Clock, seed: int) -> None:
    chance = random.Random(seed)
    drivers = [Driver(f"driver-{number}", store, definition) for number, store in enumerate(stores)]
    jumps, store = chance.sample(range(60), JUMPS), stores[0]
    for step in range(2_000):
        clock.advance(chance.uniform(-48 * HOUR, 48 * HOUR) if step in jumps else chance.uniform(0, 2))
        chance.choice(drivers).step(chance)
        runs = reading.list_runs(store)
        if runs and runs[0].state is not RunState.RUNNING:
            break
    (run,) = reading.list_runs(store)
    assert run.state is RunState.SUCCEEDED
    attempts = {job: reading.attempts(store, run.run_id, job) for job in TREE}
    assert all([a.state for a in found].count("succeeded") == 1 for found in attempts.values())
    assert {a.state for found in attempts.values() for a in found} <= {"succeeded", "lost"}
    # what a driver was told is stored is what is stored
    stored = [(job, a.attempt) for job, found in attempts.items() for a in found if a.state == "succeeded"]
    assert sorted((claim.job, claim.attempt) for driver in drivers for claim in driver.done) == sorted(stored)
    ends = Counter(event.job for _, event in store.events(run.run_id) if event.state == "succeeded" and event.job)
    assert ends == Counter(TREE.keys())
    check_story(store.engine, run.run_id)


@pytest.mark.parametrize("seed", range(3))
def test_a_clock_that_jumps_in_the_middle_of_a_run(make_store, make, clock, seed) -> None:
    jump_at_random_moments([make_store(), make_store()], make(TREE), clock, seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3, 53))
def test_a_clock_that_jumps_at_many_moments(make_store, make, clock, seed) -> None:
    jump_at_random_moments([make_store(), make_store()], make(TREE), clock, seed)
