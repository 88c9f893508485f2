"""The deliverer: brings results to their destinations, however long that takes.

Every destination has couriers of its own, threads, so that a dead one never delays another. A courier asks
what is due, opens one association, sends object after object, and records what the peer answered to each
before it sends the next. Nothing is "sent" before its status came back.

* The peer stored it, perhaps with a warning: Stored.
* The peer will never take it: Refused, with the status and its Error Comment; a person may have it tried
  again. Where it does not even accept the SOP class, and the destination's profile has another one for the
  same report, that object is planned in the same transaction. Nothing is ever encoded anew.
* This object failed and may succeed later: Deferred, with backoff, a number of times.
* The peer is away, silent, or full: that is no fault of the object. The destination as a whole is left alone
  for a while that grows, and what waits for it keeps its attempts.

Where the destination offers Storage Commitment, a courier that has nothing to send asks it to keep what it
has stored. The answer comes on the same association, or to our own port, or never: then it is asked again.

All of it is in the database: a node that is killed at any point goes on from there. At worst it sends an
object again whose status it had no time to record; the peer gets the same bytes under the same UID.
"""

from __future__ import annotations

import threading
import time

import structlog

from mcads_node import pulse
from mcads_node.deliver.courier import Courier
from mcads_node.deliver.lane import Lane
from mcads_node.deliver.terms import DeliveryQueue, DeliverySettings, Shelves, Terms, Transfer, outcome_of
from mcads_node.errors import NodeError

__all__ = ["Deliverer", "DeliveryQueue", "DeliverySettings", "Shelves", "Terms", "Transfer", "outcome_of"]

log = structlog.stdlib.get_logger(__name__)

#: the keeper may wait for the database for minutes
_SILENCE_SECONDS = 900.0


class Deliverer:
    """Runs the couriers of every destination.

    Parameters
    ----------
    settings
        Where results go, who sends them, and how patiently.
    queue
        The durable state.
    shelves
        Where the bytes of the objects lie.
    """

    def __init__(self, settings: DeliverySettings, queue: DeliveryQueue, shelves: Shelves) -> None:
        self._settings = settings
        self._queue = queue
        self._lanes: dict[str, Lane] = {}
        self._couriers: dict[str, tuple[Courier, ...]] = {}
        self._stopping = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="deliver-keeper", daemon=True)
        for name in settings.destinations:
            count = settings.terms_of(name).associations
            lane = self._lanes[name] = Lane(name, queue, count, settings.holder, settings.hold)
            self._couriers[name] = tuple(
                Courier(lane, settings, queue, shelves, number) for number in range(1, count + 1)
            )

    def start(self) -> None:
        """Deliver from now on."""
        for name in self._settings.destinations:
            if self._settings.terms_of(name).commitment_timeout is None:
                # it was asked before a change of the configuration: what it has stored is delivered
                self._queue.waive_commitment(name)
        for courier in self._all():
            courier.start()
        self._keeper.start()

    def poke(self, destination: str | None = None) -> None:
        """Say that there may be something to send, to one destination or to any."""
        for name, couriers in self._couriers.items():
            if destination in (None, name):
                for courier in couriers:
                    courier.poke()

    def stop(self, grace_seconds: float = 30.0) -> bool:
        """Stop between objects; True where every thread has ended within the time given."""
        for courier in self._all():
            courier.stop()
        self._stopping.set()
        deadline = time.monotonic() + grace_seconds
        for courier in self._all():
            courier.join(max(0.0, deadline - time.monotonic()))
        self._keeper.join(max(0.0, deadline - time.monotonic()))
        for name, lane in self._lanes.items():
            if not any(courier.is_alive() for courier in self._couriers[name]):
                self._let_go(lane)
        return not self.running

    @property
    def running(self) -> frozenset[str]:
        """Destinations with a courier that runs; one missing after `start` met a fault in the node itself."""
        return frozenset(
            name
            for name, couriers in self._couriers.items()
            if any(courier.is_alive() for courier in couriers)
        )

    def _all(self) -> tuple[Courier, ...]:
        return tuple(courier for couriers in self._couriers.values() for courier in couriers)

    def _keep(self) -> None:
        """Say again and again whose the destinations are: a process that does not is dead."""
        every = self._settings.hold.total_seconds() / 6
        while not self._stopping.wait(every):
            pulse.beat(within=_SILENCE_SECONDS + every)
            for lane in self._lanes.values():
                try:
                    lane.keep()
                except NodeError as error:
                    log.warning("delivery.interrupted", destination=lane.destination, error=str(error))
        pulse.rest()

    def _let_go(self, lane: Lane) -> None:
        try:
            lane.let_go()
        except NodeError as error:
            # the hold runs out by itself
            log.warning("delivery.interrupted", destination=lane.destination, error=str(error))
