"""What people do about alerts, and what pinflow does: the table of states, checked by a machine of random steps."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pinflow.database import open_database
from pinflow.errors import ConfigurationError
from pinflow.stats_engine import queries
from pinflow.stats_engine.alerts import Alert, JobKey
from pinflow.stats_engine.handling import act, end_mutes
from pinflow.stats_engine.record import mark_published, record
from pinflow.stats_engine.states import Verb
from pinflow.stats_engine.statistics import Statistics
from pinflow.stats_engine.tables import ALERTS, MAILS, METADATA

LOW = Alert("low(users)", "users", "fatal", "users is low", value=5, low=10)
HIGH = Alert("high(bytes)", "bytes", "warning", "bytes are many", value=90, high=50)


def _record(database: sa.Engine, key: JobKey, now: datetime, *alerts: Alert) -> frozenset[str]:
    return record(database, key, Statistics(), alerts, now)


def _act(database: sa.Engine, number: int, verb: Verb, now: datetime, *, days: int = 1) -> None:
    act(database, [number], verb, person="ann", why="so", now=now, until=now + timedelta(days=days))


def _states(database: sa.Engine) -> list[tuple[str, str]]:
    """Date and state, by number."""
    with database.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.select(ALERTS.c.date, ALERTS.c.state).order_by("id"))]


def _mails(database: sa.Engine) -> int:
    with database.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(MAILS)) or 0


def test_each_change_is_kept_with_who_when_and_why(database: sa.Engine, key: JobKey, now: datetime) -> None:
    _record(database, key, now, LOW)
    _act(database, 1, "acknowledge", now)
    later = now + timedelta(hours=1)
    act(database, [1], "accept", person="ben", why="a campaign", now=later, until=later)
    changes = queries.alert_changes(database, 1)
    assert [(c.at, c.person, c.before, c.state, c.why) for c in changes] == [
        (now, "ann", "open", "acknowledged", "so"),
        (later, "ben", "acknowledged", "accepted", "a campaign"),
    ]
    assert queries.alert_row(database, 1).changed_at == later


@pytest.mark.parametrize(
    ("verbs", "refused", "possible"),
    [
        (["accept"], "acknowledge", "reopen"),
        (["resolve"], "mute", "reopen"),
        ([], "unmute", "acknowledge, accept, mute, resolve"),
        (["acknowledge"], "acknowledge", "accept, mute, resolve, reopen"),
    ],
)
def test_what_leads_nowhere_is_refused_with_what_is_possible(
    database: sa.Engine, key: JobKey, now: datetime, verbs: list[Verb], refused: Verb, possible: str
) -> None:
    _record(database, key, now, LOW)
    for verb in verbs:
        _act(database, 1, verb, now)
    with pytest.raises(ConfigurationError, match=f"you cannot {refused} it; possible is: {possible}"):
        _act(database, 1, refused, now)


def test_several_change_together_or_not_at_all(database: sa.Engine, key: JobKey, now: datetime) -> None:
    _record(database, key, now, LOW, HIGH)
    with pytest.raises(ConfigurationError, match="there is no alert 99"):
        act(database, [1, 99], "resolve", person="ann", why="", now=now, until=now)
    assert [state for _, state in _states(database)] == ["open", "open"]


def test_a_mute_is_about_the_rule_for_a_time(database: sa.Engine, key: JobKey, now: datetime) -> None:
    _record(database, key, now, HIGH)
    _act(database, 1, "mute", now, days=2)
    for day in (1, 3):
        later = replace(key, run_id=f"later-{day}", date=f"2015-05-{18 + day}")
        _record(database, later, now + timedelta(days=day), HIGH, LOW)
    assert _states(database) == [
        ("2015-05-18", "muted"),
        ("2015-05-19", "muted"),
        ("2015-05-19", "open"),
        ("2015-05-21", "open"),
        ("2015-05-21", "open"),
    ]
    assert queries.alert_row(database, 2).muted_until == now + timedelta(days=2)
    assert _mails(database) == 3
    end_mutes(database, now + timedelta(days=2))
    assert {state for _, state in _states(database)} == {"open"}
    assert queries.alert_changes(database, 2)[-1].person == "pinflow"


def test_to_unmute_one_unmutes_its_rule(database: sa.Engine, key: JobKey, now: datetime) -> None:
    _record(database, key, now, HIGH)
    _act(database, 1, "mute", now, days=9)
    _record(database, replace(key, run_id="2", date="2015-05-19"), now, HIGH)
    _act(database, 2, "unmute", now)
    assert [state for _, state in _states(database)] == ["open", "open"]
    _record(database, replace(key, run_id="3", date="2015-05-20"), now, HIGH)
    assert _mails(database) == 2


@pytest.mark.parametrize(("value", "accepted"), [(5, True), (7, True), (4, False)])
def test_an_accepted_value_lets_the_date_pass(
    database: sa.Engine, key: JobKey, now: datetime, value: float, accepted: bool
) -> None:
    """5 of at least 10 was accepted: so are 5 and 7 of the same date, but not 4, and nothing of another date."""
    assert _record(database, key, now, LOW) == frozenset()
    _act(database, 1, "accept", now)
    again = replace(key, run_id="again")
    found = _record(database, again, now, replace(LOW, value=value))
    assert found == ({LOW.rule} if accepted else frozenset())
    assert queries.alert_row(database, 2).state == ("accepted" if accepted else "open")
    assert _mails(database) == (1 if accepted else 2)
    assert _record(database, replace(again, date="2015-05-19"), now, LOW) == frozenset()
    assert queries.alert_row(database, 1).state == "accepted"


def test_acceptance_survives_runs_without_the_alert(database: sa.Engine, key: JobKey, now: datetime) -> None:
    _record(database, key, now, LOW)
    _act(database, 1, "accept", now)
    fine = replace(key, run_id="fine")
    _record(database, fine, now + timedelta(minutes=1))
    mark_published(database, fine)
    assert _states(database) == [("2015-05-18", "accepted")]


def test_recording_again_keeps_what_people_did(database: sa.Engine, key: JobKey, now: datetime) -> None:
    """A transaction whose end was not known is done again; the mail names the alert by its number."""
    _record(database, key, now, LOW, HIGH)
    _act(database, 1, "acknowledge", now)
    _record(database, key, now, LOW)
    assert [(a.id, a.state) for a in queries.list_alerts(database)] == [(1, "acknowledged")]
    assert _mails(database) == 1


def test_one_mail_for_a_job_and_run_unless_there_is_news(database: sa.Engine, key: JobKey, now: datetime) -> None:
    _record(database, key, now, HIGH)
    _record(database, replace(key, attempt=2), now, HIGH)
    assert _mails(database) == 1
    _record(database, replace(key, attempt=3), now, HIGH, LOW)
    with database.connect() as connection:
        subjects = connection.scalars(sa.select(MAILS.c.subject).order_by(MAILS.c.subject)).all()
    assert subjects == [
        "[pinflow] FATAL: read_events 2015-05-18: users is low",
        "[pinflow] warning: read_events 2015-05-18: bytes are many",
    ]


class Alerts(RuleBasedStateMachine):
    """Runs of three dates, with or without an alert, and people who do anything to any alert; a model beside it.

    The table of states is written again here, as the documentation has it.
    """

    LEADS: ClassVar[dict[str, dict[str, str]]] = {
        "open": {"acknowledge": "acknowledged", "accept": "accepted", "mute": "muted", "resolve": "resolved"},
        "acknowledged": {"accept": "accepted", "mute": "muted", "resolve": "resolved", "reopen": "open"},
        "muted": {"accept": "accepted", "mute": "muted", "unmute": "open", "resolve": "resolved"},
        "accepted": {"reopen": "open", "unmute": "accepted"},
        "resolved": {"reopen": "open", "unmute": "resolved"},
    }
    PENDING = ("open", "acknowledged", "muted")
    KEY = JobKey("analytics", "", "read_events", 1, "", "ann@example.com")

    @initialize()
    def start(self) -> None:
        self.folder = TemporaryDirectory()
        url = f"sqlite:///{Path(self.folder.name, 'p.db')}"
        self.database = open_database(url).execution_options(writes=True)
        METADATA.create_all(self.database)
        self.now = datetime(2015, 5, 19, tzinfo=UTC)
        self.runs = 0
        self.state: list[str] = []
        self.date: list[str] = []
        self.muted_until = self.now
        self.mails = 0

    def teardown(self) -> None:
        self.database.dispose()
        self.folder.cleanup()

    def _is_muted(self) -> bool:
        return self.muted_until > self.now

    @rule(hours=st.integers(1, 30))
    def wait(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule(day=st.integers(17, 19), fires=st.booleans(), published=st.booleans())
    def run(self, day: int, fires: bool, published: bool) -> None:
        self.runs += 1
        self.now += timedelta(minutes=1)
        key = replace(self.KEY, run_id=f"run-{self.runs}", date=f"2015-05-{day}")
        accepted = record(self.database, key, Statistics(), [HIGH] if fires else [], self.now)
        if published:
            mark_published(self.database, key)
        same = [number for number, date in enumerate(self.date) if date == key.date]
        was_accepted = any(self.state[number] == "accepted" for number in same)
        for number in same:
            if (fires or published) and self.state[number] in self.PENDING:
                self.state[number] = "resolved"
        assert bool(accepted) == (fires and was_accepted)
        if fires:
            self.date.append(key.date)
            self.state.append("accepted" if was_accepted else "muted" if self._is_muted() else "open")
            self.mails += self.state[-1] == "open"

    @precondition(lambda self: self.state)
    @rule(
        data=st.data(),
        verb=st.sampled_from(["acknowledge", "accept", "mute", "unmute", "resolve", "reopen"]),
        hours=st.integers(1, 48),
    )
    def do(self, data: st.DataObject, verb: Verb, hours: int) -> None:
        number = data.draw(st.integers(0, len(self.state) - 1))
        self._end_mutes()
        until = self.now + timedelta(hours=hours)
        expected = self.LEADS[self.state[number]].get(verb)
        if expected is None:
            with pytest.raises(ConfigurationError, match="possible is"):
                act(self.database, [number + 1], verb, person="ann", why="", now=self.now, until=until)
            end_mutes(self.database, self.now)
            return
        act(self.database, [number + 1], verb, person="ann", why="", now=self.now, until=until)
        self.state[number] = expected
        if verb == "unmute":
            self.muted_until = self.now
            self.state = ["open" if state == "muted" else state for state in self.state]

    def _end_mutes(self) -> None:
        with self.database.connect() as connection:
            rows = connection.execute(sa.select(ALERTS.c.id, ALERTS.c.muted_until)).all()
        for row in rows:
            if self.state[row.id - 1] == "muted" and row.muted_until <= self.now:
                self.state[row.id - 1] = "open"

    @invariant()
    def states_are_those_of_the_model(self) -> None:
        if not hasattr(self, "database"):
            return
        with self.database.connect() as connection:
            rows = connection.execute(sa.select(ALERTS.c.id, ALERTS.c.state, ALERTS.c.muted_until).order_by("id")).all()
        assert [row.state for row in rows] == self.state
        self.muted_until = max((row.muted_until for row in rows if row.muted_until), default=self.now)
        assert _mails(self.database) == self.mails
        for row in rows:
            chain = [change.before for change in queries.alert_changes(self.database, row.id)]
            ends = [change.state for change in queries.alert_changes(self.database, row.id)]
            assert ["open", *ends] == [*chain, row.state]


Alerts.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestAlerts = Alerts.TestCase
