"""The loop of dispatch.

One thread. It sleeps until it is poked (something was received, a worker is done) or something may be due;
nothing is looked for in a busy loop. What it holds under lease is in memory only: if this process dies, the
leases run out and the items are scheduled again.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import structlog

from mcads_node import pulse
from mcads_node.config import RuleBook
from mcads_node.dispatch.briefing import Briefing
from mcads_node.dispatch.ledger import Claim, Ending, Ledger, claim_of, tell_lost
from mcads_node.errors import NodeError, TransientError
from mcads_node.instance import Declined
from mcads_node.profile import Profile
from mcads_node.state import State
from mcads_node.task import Analysis, AnalysisRequest, Composed, ReportRequest
from mcads_node.workitems import Kind, Workitem

log = structlog.stdlib.get_logger(__name__)

#: a dispatcher that is silent for longer stands still; it may wait for the database for minutes
_SILENCE_SECONDS = 900.0
#: nothing is claimed for so long at most, after work that had to be given back
_LONGEST_PAUSE_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class DispatchSettings:
    """How the dispatcher holds its leases."""

    #: name of this node in leases and events
    worker: str
    #: a lease that is not renewed for so long has run out
    lease: timedelta = timedelta(seconds=60)
    #: how long to sleep where nothing is known to be due; others may have scheduled work
    idle_seconds: float = 1.0


class Hands(Protocol):
    """Where work is done, as far as dispatch has to know: on this machine, or on a cluster."""

    @property
    def workers(self) -> int:
        """How much can be worked on now; it may change at any time."""

    @property
    def shares_folders(self) -> bool:
        """Whether it reads images and writes results itself, in the node's folders."""

    def analyse(self, request: AnalysisRequest) -> Future[Analysis | Declined]:
        """Submit one image."""

    def compose(self, requests: tuple[ReportRequest, ...]) -> Future[Composed]:
        """Submit one study's reports."""


class Dispatcher:
    """Moves work from the durable state to the workers and back.

    Parameters
    ----------
    state
        The durable state.
    compute
        Where the work is done.
    profiles
        What each destination wants, by its name.
    poke_delivery
        Called when new deliveries are due.
    """

    def __init__(
        self,
        state: State,
        compute: Hands,
        *,
        profiles: Mapping[str, Profile],
        poke_delivery: Callable[[], None],
        settings: DispatchSettings,
    ) -> None:
        self._workitems = state.workitems
        self._compute = compute
        self._briefing = Briefing(state, dict(profiles), by_name=compute.shares_folders)
        self._ledger = Ledger(state, dict(profiles), poke_delivery)
        self._settings = settings
        self._held: dict[Claim, Workitem] = {}
        #: finished futures, and None for a poke
        self._inbox: queue.SimpleQueue[tuple[Workitem, Future[Any]] | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        #: while nothing can be done, and that was told
        self._stalled = False
        #: work was given back so often in a row; nothing is claimed until then (monotonic)
        self._given_back = 0
        self._resume_at = 0.0
        self._thread = threading.Thread(target=self._run, name="dispatch")

    def use_rules(self, book: RuleBook) -> None:
        """Route by the rules of `book` from the next image on; each image by one version as a whole."""
        self._briefing.use_rules(book)

    def start(self) -> None:
        """Start to claim."""
        self._thread.start()

    def poke(self) -> None:
        """Look for work now."""
        self._inbox.put(None)

    def stop(self, grace_seconds: float) -> None:
        """Claim nothing more, let what runs finish for so long, and give the rest back."""
        self._stopping.set()
        self.poke()
        self._thread.join(grace_seconds)
        for claim, item in list(self._held.items()):
            try:
                self._workitems.release(item, "the node is shutting down")
            except NodeError as error:
                # the others are tried all the same; this one's lease runs out
                log.error("work.unrecorded", workitem=item.number, reason=str(error))
            self._held.pop(claim, None)

    # --- the loop

    def _run(self) -> None:
        renew_every = self._settings.lease.total_seconds() / 3
        renew_at = time.monotonic() + renew_every
        while not (self._stopping.is_set() and not self._held):
            pulse.beat(within=_SILENCE_SECONDS)
            try:
                if time.monotonic() >= renew_at:
                    self._renew()
                    renew_at = time.monotonic() + renew_every
                if not self._stopping.is_set() and time.monotonic() >= self._resume_at:
                    self._claim()
                self._take_in(self._settings.idle_seconds)
            except TransientError as error:
                self._stall(error)
            else:
                self._go_on()
        pulse.rest()

    def _stall(self, error: TransientError) -> None:
        """Wait: the database is locked, full or away. Leases guard what is held, so that is safe."""
        if not self._stalled:
            log.error("dispatch.stalled", reason=str(error))
        self._stalled = True
        if self._stopping.is_set():
            # the event would not wait any more
            time.sleep(self._settings.idle_seconds)
        else:
            self._stopping.wait(self._settings.idle_seconds)

    def _go_on(self) -> None:
        if self._stalled:
            log.info("dispatch.resumed")
        self._stalled = False

    def _renew(self) -> None:
        kept = self._workitems.renew(list(self._held.values()), self._settings.lease)
        for claim in self._held.keys() - {claim_of(item) for item in kept}:
            tell_lost(self._held.pop(claim))

    def _claim(self) -> None:
        free = self._compute.workers - len(self._held)
        if free <= 0:
            return
        items = self._workitems.claim(self._settings.worker, self._settings.lease, limit=free)
        # all are held before the first is looked at: whatever befalls that one, the others are not forgotten
        self._held.update({claim_of(item): item for item in items})
        for item in items:
            self._submit(item)

    def _submit(self, item: Workitem) -> None:
        future: Future[Any]
        try:
            if item.kind is Kind.ANALYSE:
                request = self._briefing.analysis(item)
                self._ledger.note_rules(item, request.rules_digest)
                future = self._compute.analyse(request)
            else:
                study = self._workitems.study_for_report(item)
                self._ledger.note_study(item, study)
                future = self._compute.compose(self._briefing.reports(study))
        except Exception as error:  # noqa: BLE001 - it ends as the work's own failure would, in one place
            future = Future()
            future.set_exception(error)
        future.add_done_callback(lambda done: self._inbox.put((item, done)))

    def _take_in(self, timeout: float) -> None:
        """Wait for one message, then take all that are there."""
        try:
            message = self._inbox.get(timeout=timeout)
            while True:
                if message is not None:
                    self._finish(*message)
                message = self._inbox.get_nowait()
        except queue.Empty:
            return

    def _finish(self, item: Workitem, future: Future[Any]) -> None:
        claim = claim_of(item)
        if claim not in self._held:
            self._ledger.forget(item)
            return  # given back at shutdown, or the lease was lost
        try:
            if self._ledger.enter(item, future) is Ending.GIVEN_BACK:
                self._pause()
            else:
                self._given_back = 0
        except TransientError:
            # the state cannot take it now; that is no fault of the work, and what it gave is kept
            self._inbox.put((item, future))
            raise
        except NodeError as error:
            # not even the failure could be recorded: the lease runs out, and is counted then
            log.error("work.unrecorded", workitem=item.number, reason=str(error))
        self._held.pop(claim, None)
        self._ledger.forget(item)

    def _pause(self) -> None:
        """Claim nothing for a while: what failed for one would fail for all. What runs goes on."""
        if time.monotonic() < self._resume_at:
            return  # several were claimed together
        seconds = self._settings.idle_seconds * 2 ** min(self._given_back, 16)
        self._resume_at = time.monotonic() + min(seconds, _LONGEST_PAUSE_SECONDS)
        self._given_back += 1
