"""An administrator is told of trouble: once, again after a while, and when it is over."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcads_node.alerts.alerter import Alerter, AlertSettings
from mcads_node.alerts.bookkeeping import SETTLE, Notice, Step, due, refreshed, told
from mcads_node.alerts.conditions import (
    MOST_OF_A_SORT,
    Condition,
    Kind,
    Limits,
    MachineView,
    of_the_machine,
    of_the_state,
)
from mcads_node.alerts.email import EmailChannel
from mcads_node.alerts.message import Message
from mcads_node.alerts.secrets import secret_in
from mcads_node.alerts.webhook import WebhookChannel
from mcads_node.config import EmailSection, WebhookSection
from mcads_node.errors import PermanentError, TransientError
from mcads_node.workitems import AlertEntry, Backlog, DestinationLine, Queue, Stuck, Workitems, open_store
from mcads_node.workitems import Kind as WorkKind
from tests.alert_receivers import MailServer, mail_server, make_certificate, webhook
from tests.workitems_samples import START, Clock, claim_one, fresh_store, received

REPEAT = timedelta(hours=24)
LOW = Condition(key="disk-low@host", kind=Kind.DISK, text="The disk is low.", advice="Make room.")
NOTHING = Stuck(quarantined={}, unreported=(), dead_letters=())


def line(**changed: object) -> DestinationLine:
    nothing = dict.fromkeys(("failing_since", "deferred_until", "reason", "oldest", "oldest_stored"))
    counts = dict.fromkeys(("failures", "pending", "awaiting_commitment", "undelivered"), 0)
    return DestinationLine(**{"name": "pacs", **nothing, **counts, **changed})  # type: ignore[arg-type]


def backlog(queues: tuple[Queue, ...] = (), destinations: tuple[DestinationLine, ...] = ()) -> Backlog:
    return Backlog(at=START, queues=queues, destinations=destinations, quarantined=0, unreported=0)


def ago(**time: float) -> datetime:
    return START - timedelta(**time)


# --- what is wrong


@pytest.mark.parametrize(
    ("minutes", "keys"), [(None, []), (-5, []), (29, []), (30, ["queue/analyse"]), (600, ["queue/analyse"])]
)
def test_a_queue_that_stands(minutes: float | None, keys: list[str]) -> None:
    due_at = None if minutes is None else ago(minutes=minutes)
    queue = Queue(kind=WorkKind.ANALYSE, waiting=3, held=0, in_progress=1, due_at=due_at)
    assert [each.key for each in of_the_state(backlog((queue,)), NOTHING, Limits())] == keys


@pytest.mark.parametrize(("minutes", "keys"), [(None, []), (59, []), (60, ["destination/pacs"])])
def test_a_destination_that_is_away(minutes: float | None, keys: list[str]) -> None:
    since = None if minutes is None else ago(minutes=minutes)
    found = of_the_state(backlog((), (line(failing_since=since, pending=7),)), NOTHING, Limits())
    assert [each.key for each in found] == keys
    assert all("7 object(s)" in each.text for each in found)


@pytest.mark.parametrize(
    ("view", "keys"),
    [
        (MachineView(host="h"), []),
        (MachineView(host="h", room="low", free_bytes=2**30), ["disk-low@h"]),
        (MachineView(host="h", room="full"), ["disk-full@h"]),
        (MachineView(host="h", audit_lost=3), ["audit@h"]),
        (MachineView(host="h", backup_since=ago(hours=25)), []),
        (MachineView(host="h", backup_since=ago(hours=26)), ["backup@h"]),
        (MachineView(host="h", certificates={"node": START + timedelta(days=31)}), []),
        (MachineView(host="h", certificates={"node": START + timedelta(days=30)}), ["certificate/node@h"]),
        (MachineView(host="h", certificates={"node": ago(days=1)}), ["certificate/node@h"]),
    ],
)
def test_what_is_wrong_with_the_machine(view: MachineView, keys: list[str]) -> None:
    assert [each.key for each in of_the_machine(view, Limits(), START)] == keys


HERE = replace(Limits(), destinations=frozenset({"pacs"}))


@pytest.mark.parametrize(
    ("waits", "keys"),
    [
        (line(pending=7, oldest=ago(minutes=59)), []),
        (line(pending=7, oldest=ago(minutes=60)), ["deliveries/pacs"]),
        # it is known to be away: that is another alert, in its time
        (line(pending=7, oldest=ago(minutes=60), failing_since=ago(minutes=5)), []),
        (line(name="old", pending=7, oldest=ago(minutes=1)), ["unknown-destination/old"]),
        (line(name="old"), []),
        (line(awaiting_commitment=7, oldest_stored=ago(hours=23)), []),
        (line(awaiting_commitment=7, oldest_stored=ago(hours=24)), ["commitment/pacs"]),
    ],
)
def test_what_waits_though_its_destination_is_there(waits: DestinationLine, keys: list[str]) -> None:
    found = of_the_state(backlog((), (waits,)), NOTHING, HERE)
    assert [each.key for each in found] == keys
    assert all("7 object(s)" in each.text for each in found)


def test_a_flood_of_one_sort_is_told_as_one() -> None:
    stuck = replace(NOTHING, quarantined=dict.fromkeys(range(1, 500), 1), unreported=(7,))
    found = of_the_state(backlog(), stuck, Limits())
    assert len(found) == MOST_OF_A_SORT + 2
    assert {each.key for each in found} >= {"quarantine/1", "quarantine/more", "unreported/7"}


# --- what is told


def at(**time: float) -> datetime:
    return START + timedelta(**time)


def entry(**changed: object) -> AlertEntry:
    usual = {"channel": "c", "key": LOW.key, "kind": "disk", "text": LOW.text, "advice": LOW.advice}
    return AlertEntry(**{**usual, "raised_at": START, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("known", "is_wrong", "now", "steps", "left"),
    [
        (None, False, at(), [], None),
        (None, True, at(), [Step.RAISED], entry()),
        # not told: it could not be sent
        (entry(), True, at(minutes=1), [Step.RAISED], entry()),
        (entry(), False, at(minutes=1), [], None),
        (entry(told_at=START), True, at(hours=23), [], entry(told_at=START)),
        (entry(told_at=START), True, at(hours=24), [Step.REPEATED], entry(told_at=START)),
        # the clock was set back by a week
        (entry(told_at=at(days=7)), True, at(), [Step.REPEATED], entry(told_at=at(days=7))),
        (entry(told_at=START), False, at(hours=1), [], entry(told_at=START, ended_at=at(hours=1))),
        (
            entry(told_at=START, ended_at=START),
            False,
            START + SETTLE,
            [Step.RESOLVED],
            entry(told_at=START, ended_at=START),
        ),
        # it came again before its end was told
        (entry(told_at=START, ended_at=START), True, at(minutes=2), [], entry(told_at=START)),
    ],
)
def test_the_steps_of_an_alert(
    known: AlertEntry | None, is_wrong: bool, now: datetime, steps: list[Step], left: AlertEntry | None
) -> None:
    entries = {known.key: known} if known else {}
    after = refreshed("c", entries, [LOW] if is_wrong else [], now)
    if left is not None and known is None:
        left = replace(left, raised_at=now)
    assert after == ({left.key: left} if left else {})
    assert [notice.step for notice in due(after, now, REPEAT)] == steps


def test_what_was_told_is_written_down() -> None:
    fresh, over = entry(), entry(key="other", told_at=START, ended_at=START)
    notices = [Notice(step=Step.RAISED, entry=fresh), Notice(step=Step.RESOLVED, entry=over)]
    after = told({fresh.key: fresh, over.key: over}, notices, at(hours=1))
    assert after == {fresh.key: replace(fresh, told_at=at(hours=1))}


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(1, 2000)), max_size=60))
def test_the_steps_come_in_order_whatever_fails(story: list[tuple[bool, bool, int]]) -> None:
    """Of one alert: raised, any number of times repeated, resolved; and again. Never twice within a day."""
    entries: dict[str, AlertEntry] = {}
    now, said = START, []
    for is_wrong, can_be_sent, minutes in story:
        now += timedelta(minutes=minutes)
        entries = refreshed("c", entries, [LOW] if is_wrong else [], now)
        notices = due(entries, now, REPEAT)
        if can_be_sent:
            entries = told(entries, notices, now)
            said += [(notice.step, now) for notice in notices]
    after = {None: {Step.RAISED}, Step.RESOLVED: {Step.RAISED}}
    before: Step | None = None
    for (step, moment), (_, last) in zip(said, [(None, START), *said], strict=False):
        assert step in after.get(before, {Step.REPEATED, Step.RESOLVED})
        assert step is not Step.REPEATED or moment - last >= REPEAT
        before = step


# --- the job


class Told:
    """A way that a test can break."""

    name = "test"

    def __init__(self) -> None:
        self.said: list[list[tuple[str, str]]] = []
        self.is_broken = False

    def send(self, message: Message) -> None:
        if self.is_broken:
            raise TransientError("no way")
        self.said.append([(notice.step.value, notice.entry.key) for notice in message.notices])


def alerter(store: Workitems, way: Told, clock: Clock, view: MachineView | None = None) -> Alerter:
    settings = AlertSettings(ae_title="MCADS")
    return Alerter(settings, store, lambda: view or MachineView(host="h"), [way], clock)


def quarantine(store: Workitems) -> None:
    store.record_received(received())
    store.fail(claim_one(store), "not DICOM: Doe^Jane", permanent=True)


def test_a_story_over_a_restart(database: str | Path) -> None:
    clock, way = Clock(), Told()
    with fresh_store(database, clock) as store:
        quarantine(store)
        alerter(store, way, clock).run()
        clock.forward(60)
        # another process: what was told is in the database
        again = alerter(store, way, clock)
        again.run()
        assert way.said == [[("raised", "quarantine/1")]]
        clock.forward(86400)
        again.run()
        store.retry(1)
        clock.forward(60)
        again.run()
        clock.forward(300)
        again.run()
        assert way.said[1:] == [[("repeated", "quarantine/1")], [("resolved", "quarantine/1")]]
        assert store.alert_entries() == []


def test_a_way_that_fails_is_tried_again_and_keeps_no_other_from_being_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, broken, sound = Clock(), Told(), Told()
    sound.name, broken.is_broken = "sound", True
    with fresh_store(tmp_path, clock) as store:
        quarantine(store)
        settings = AlertSettings(ae_title="MCADS")
        both = Alerter(settings, store, lambda: MachineView(host="h"), [broken, sound], clock)
        both.run()
        both.run()
        assert (broken.said, sound.said) == ([], [[("raised", "quarantine/1")]])
        broken.is_broken = False
        both.run()
        assert broken.said == [[("raised", "quarantine/1")]]
        assert sound.said == [[("raised", "quarantine/1")]]


def test_what_cannot_be_written_down_is_not_told_again(tmp_path: Path) -> None:
    """A full disk is told, though nothing can be written on it."""
    clock, way = Clock(), Told()
    store = open_store(tmp_path / "node.db", clock=clock, busy_seconds=0.1)
    job = alerter(store, way, clock, MachineView(host="h", room="full", free_bytes=0))
    with closing(sqlite3.connect(tmp_path / "node.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        job.run()
        job.run()
        assert store.alert_entries() == []
        other.execute("ROLLBACK")
    job.run()
    assert way.said == [[("raised", "disk-full@h")]]
    assert {each.channel for each in store.alert_entries()} == {"log", "test"}
    store.close()


def test_a_database_that_is_away_is_told_and_resolves_nothing(tmp_path: Path) -> None:
    clock, way = Clock(), Told()
    with fresh_store(tmp_path, clock) as store:
        quarantine(store)
        job = alerter(store, way, clock)
        job.run()
        (tmp_path / "node.db").rename(tmp_path / "away")
        (tmp_path / "node.db").mkdir()
        store.close()
        clock.forward(3600)
        job.run()
        assert [step for step, key in way.said[-1]] == ["raised"]
        assert way.said[-1][0][1] == "database@h"
        (tmp_path / "node.db").rmdir()
        (tmp_path / "away").rename(tmp_path / "node.db")
        clock.forward(60)
        job.run()
        clock.forward(600)
        job.run()
        assert way.said[-1] == [("resolved", "database@h")]


def test_machines_leave_each_others_alerts_alone(database: str | Path) -> None:
    clock, way = Clock(), Told()
    with fresh_store(database, clock) as store:
        alerter(store, way, clock, MachineView(host="one", room="low")).run()
        clock.forward(3600)
        alerter(store, way, clock, MachineView(host="two")).run()
        assert way.said == [[("raised", "disk-low@one")]]


def test_a_damaged_database_is_told(tmp_path: Path) -> None:
    clock, way = Clock(), Told()
    with fresh_store(tmp_path, clock) as store:
        job = alerter(store, way, clock)
        store.close()
        (tmp_path / "node.db").write_bytes(b"no database at all" * 1000)
        for suffix in ("-wal", "-shm"):
            (tmp_path / f"node.db{suffix}").unlink(missing_ok=True)
        with pytest.raises(PermanentError):
            store.backlog()
        job.run()
        job.run()
    assert way.said == [[("raised", "database@h")]]


def test_a_defect_of_one_way_silences_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock, sound = Clock(), Told()

    class Defective(Told):
        name = "defective"

        def send(self, message: Message) -> None:  # noqa: ARG002
            raise UnicodeEncodeError("ascii", "Doe\u2013", 3, 4, "ordinal not in range")

    with fresh_store(tmp_path, clock) as store:
        quarantine(store)
        settings = AlertSettings(ae_title="MCADS")
        both = Alerter(settings, store, lambda: MachineView(host="h"), [Defective(), sound], clock)
        both.run()
        both.run()
        assert {each.channel for each in store.alert_entries() if each.told_at} == {"log", "test"}
    assert sound.said == [[("raised", "quarantine/1")]]


# --- the ways


@pytest.mark.parametrize("secret", ["secret\u2013token", "two\tparts"])
def test_a_secret_that_cannot_be_sent_is_told_as_such(tmp_path: Path, secret: str) -> None:
    (tmp_path / "token").write_text(secret + "\n", encoding="utf-8")
    with pytest.raises(TransientError, match="printable ASCII") as told_of:
        secret_in(tmp_path / "token")
    assert "two" not in str(told_of.value)


def message(*notices: Notice) -> Message:
    usual = (
        Notice(step=Step.RAISED, entry=entry()),
        Notice(step=Step.RESOLVED, entry=entry(key="x", text="Ä.")),
    )
    return Message(ae_title="MCADS", host="reader1", at=START, notices=notices or usual)


def test_a_webhook_gets_json(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    with webhook() as server:
        url = f"http://127.0.0.1:{server.port}/hook"
        WebhookChannel(WebhookSection(url=url, token_file=tmp_path / "token")).send(message())
    assert server.authorization == ["Bearer secret"]
    (said,) = server.received
    assert said["node"] == {"ae_title": "MCADS", "host": "reader1"}
    assert said["subject"] == "MCADS node MCADS on reader1: 1 new, 1 resolved"
    assert said["alerts"][0] == {
        "key": "disk-low@host",
        "kind": "disk",
        "event": "raised",
        "since": "2024-03-01T08:00:00+00:00",
        "text": "The disk is low.",
        "advice": "Make room.",
    }


@pytest.mark.parametrize(("status", "words"), [(500, "answered 500"), (302, "answered 302"), (404, "404")])
def test_a_webhook_that_does_not_take_it(status: int, words: str) -> None:
    with webhook() as server:
        server.status, server.location = status, "/elsewhere"
        channel = WebhookChannel(WebhookSection(url=f"http://127.0.0.1:{server.port}/"))
        with pytest.raises(TransientError, match=words):
            channel.send(message())


def test_a_webhook_that_is_not_there(tmp_path: Path) -> None:
    with webhook() as server:
        url = f"http://127.0.0.1:{server.port}/"
    with pytest.raises(TransientError, match="cannot be reached"):
        WebhookChannel(WebhookSection(url=url)).send(message())
    with pytest.raises(TransientError, match="cannot be read"):
        WebhookChannel(WebhookSection(url=url, token_file=tmp_path / "absent")).send(message())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def server(certificate: Path) -> Iterator[MailServer]:
    with mail_server(certificate) as running:
        yield running


def letterbox(server: MailServer, **changed: object) -> EmailSection:
    usual = {"host": "localhost", "port": server.port, "sender": "node@hospital.lt", "to": ["a@hospital.lt"]}
    return EmailSection.model_validate({**usual, **changed})


def test_a_letter_goes_encrypted_and_with_a_login(
    server: MailServer, certificate: Path, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("p4ss\n")
    config = letterbox(server, ca=certificate, user="node", password_file=tmp_path / "password")
    EmailChannel(config).send(message())
    (letter,) = server.letters
    assert (server.encrypted, server.logins) == ([True], ["\0node\0p4ss"])
    assert (letter["From"], letter["To"]) == ("node@hospital.lt", "a@hospital.lt")
    assert letter["Subject"] == "MCADS node MCADS on reader1: 1 new, 1 resolved"
    assert letter["Auto-Submitted"] == "auto-generated"
    text = letter.get_content().replace("\r\n", "\n")
    assert "NEW since 2024-03-01 08:00 UTC: The disk is low.\n    Make room." in text
    assert "RESOLVED since 2024-03-01 08:00 UTC: Ä." in text


def test_a_letter_in_plain_text_where_that_was_asked_for() -> None:
    with mail_server() as plain:
        with pytest.raises(TransientError, match="cannot be used"):
            EmailChannel(letterbox(plain)).send(message())
        EmailChannel(letterbox(plain, starttls=False)).send(message())
    assert plain.encrypted == [False]


def test_a_mail_server_that_nobody_vouches_for(server: MailServer) -> None:
    with pytest.raises(TransientError, match="cannot be used"):
        EmailChannel(letterbox(server)).send(message())
    assert server.letters == []


def test_a_mail_server_that_does_not_take_it(server: MailServer, certificate: Path) -> None:
    server.mail_answer = "451 later"
    with pytest.raises(TransientError, match="451"):
        EmailChannel(letterbox(server, ca=certificate)).send(message())


@pytest.mark.parametrize(
    ("section", "wrong"),
    [
        (WebhookSection, {"url": "ftp://host/"}),
        (WebhookSection, {"url": "https://user:secret@host/"}),
        (EmailSection, {"host": "h", "sender": "nobody", "to": ["a@b"]}),
        (EmailSection, {"host": "h", "sender": "a@b", "to": []}),
        (EmailSection, {"host": "h", "sender": "a@b", "to": ["a@b"], "user": "u"}),
        (
            EmailSection,
            {
                "host": "h",
                "sender": "a@b",
                "to": ["a@b"],
                "user": "u",
                "password_file": "p",
                "starttls": False,
            },
        ),
    ],
)
def test_a_wrong_configuration_is_refused(
    section: type[WebhookSection] | type[EmailSection], wrong: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match="validation error"):
        section.model_validate(wrong)


def test_what_a_peer_or_a_file_said_leaves_the_house_by_no_way(tmp_path: Path) -> None:
    clock = Clock()
    with fresh_store(tmp_path, clock) as store, webhook() as server:
        quarantine(store)
        settings = AlertSettings(ae_title="MCADS")
        channel = WebhookChannel(WebhookSection(url=f"http://127.0.0.1:{server.port}/"))
        Alerter(settings, store, lambda: MachineView(host="h"), [channel], clock).run()
    (said,) = server.received
    assert said["alerts"][0]["text"].startswith("Study no. 1: 1 image(s)")
    assert "Doe" not in str(said)
    assert "1.2.3.1" not in str(said)
