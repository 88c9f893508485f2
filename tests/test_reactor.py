"""An association that is used while its peer's report is served: orders that happen once in thousands."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pynetdicom.association
import pytest
from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_context

from mcads_node.association.requesting import associated
from tests.commitment_peer import INSTANCE, PUSH_MODEL, CommitmentPeer
from tests.test_deliver import CALLER, at, wait_until

PATIENCE = 10.0
CONTEXTS = [build_context(PUSH_MODEL)]


def request() -> Dataset:
    item, information = Dataset(), Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2", "1.2.3"
    information.TransactionUID, information.ReferencedSOPSequence = "2.25.1", [item]
    return information


def ask(association: Association) -> int:
    return int(association.send_n_action(request(), 1, PUSH_MODEL, INSTANCE)[0].Status)


@pytest.fixture
def peer() -> Iterator[CommitmentPeer]:
    with CommitmentPeer(lambda number, uids: (uids, []) if number == 1 else None) as peer:
        yield peer


class Serving:
    """A handler of reports that tells that it was called, and goes on when told to."""

    def __init__(self) -> None:
        self.thread: threading.Thread | None = None
        self.goes_on = threading.Event()

    def __call__(self, _event: evt.Event) -> tuple[int, None]:
        self.thread = threading.current_thread()
        assert self.goes_on.wait(PATIENCE)
        return 0x0000, None


class Clock:
    """pynetdicom's `time`: has a report answered when the reactor is paused, before anybody notices that."""

    def __init__(self, serving: Serving, user: threading.Thread) -> None:
        self.serving, self.user = serving, user
        self.association: Association | None = None
        self.time, self.rounds = time.time, 0
        #: the reactor sleeps, and is not paused; somebody waits until it is
        self.parked, self.awaited = threading.Event(), threading.Event()

    def sleep(self, seconds: float) -> None:
        current = threading.current_thread()
        if current is self.association and self.serving.thread is not None:
            self.rounds += 1
            # a round after the report came in, so that it is the reactor itself that spoke last
            if self.rounds > 1:
                self.parked.set()
                assert self.awaited.wait(PATIENCE)
        elif current is self.user and not self.awaited.is_set():
            self.awaited.set()
            wait_until(lambda: self.association is not None and self.association._is_paused, PATIENCE)
            self.serving.goes_on.set()
            assert self.serving.thread is not None
            self.serving.thread.join(PATIENCE)
        time.sleep(seconds)


def test_a_report_that_is_answered_while_its_association_is_paused_holds_nobody(
    peer: CommitmentPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving, statuses = Serving(), list[int]()
    with associated(at(peer.port), CONTEXTS, CALLER, [(evt.EVT_N_EVENT_REPORT, serving)]) as (association, _):
        user = threading.Thread(target=lambda: statuses.append(ask(association)), daemon=True)
        clock = Clock(serving, user)
        clock.association = association
        monkeypatch.setattr(pynetdicom.association, "time", clock)
        assert ask(association) == 0x0000
        assert clock.parked.wait(PATIENCE)
        user.start()
        user.join(PATIENCE)
        assert statuses == [0x0000]
    assert association.is_released
    assert peer.reported == [0x0000]


def test_a_report_is_answered_before_its_association_is_released(peer: CommitmentPeer) -> None:
    answering = threading.Event()

    def on_sent(event: evt.Event) -> None:
        # it is there, but not yet on its way
        if threading.current_thread() is not threading.main_thread():
            answering.set()
            time.sleep(0.2)

    handlers: list[tuple[evt.EventType, Callable[..., object]]] = [
        (evt.EVT_N_EVENT_REPORT, lambda _event: (0x0000, None)),
        (evt.EVT_DIMSE_SENT, on_sent),
    ]
    with associated(at(peer.port), CONTEXTS, CALLER, handlers) as (association, _):
        assert ask(association) == 0x0000
        assert answering.wait(PATIENCE)
    assert association.is_released
    assert peer.reported == [0x0000]
