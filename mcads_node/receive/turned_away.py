"""Keeping on record who was turned away, at a rate that no scanner of the network can drive up.

The first time a peer is turned away for a reason is written at once; what follows within a minute is
counted, and written as one row when the minute has passed. What differs is bounded as well, since a stranger
may make up AE titles: of one address only the first few are told apart, and only some addresses. The log
tells of each.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from mcads_node.errors import NodeError
from mcads_node.instance import Requestor
from mcads_node.receive.admission import Refusal
from mcads_node.workitems.turned_away import TurnedAway

log = structlog.stdlib.get_logger(__name__)

#: at most one row a minute for a peer and a reason
WINDOW_SECONDS = 60.0
#: peers and reasons that are told apart within it: from one address, and in all
MOST_FROM_ONE_ADDRESS = 5
MOST_IN_ALL = 60
#: before a row that could not be written is tried again
_RETRY_SECONDS = 10.0

#: who, subject, reason
_Peer = tuple[str, str, str]


@dataclass
class _Entry:
    """What is known of one peer and reason."""

    address: str
    #: since the last row
    times: int
    #: when the next row may be written
    due: float


class Tally:
    """Counts who was turned away, and says what is to be written. Safe to share between threads.

    Parameters
    ----------
    clock
        Monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[_Peer, _Entry] = {}

    def note(self, requestor: Requestor, refusal: Refusal) -> None:
        """Count one."""
        with self._lock:
            now = self._clock()
            self._forget(now)
            peer, address = self._told_apart(requestor, refusal)
            self._entries.setdefault(peer, _Entry(address=address, times=0, due=now)).times += 1

    def due(self, *, all_of_them: bool = False) -> list[TurnedAway]:
        """Give what may be written now; it is due until `written` is told of it."""
        with self._lock:
            now = self._clock()
            return [
                TurnedAway(who=who, subject=subject, reason=reason, times=entry.times)
                for (who, subject, reason), entry in self._entries.items()
                if entry.times and (all_of_them or entry.due <= now)
            ]

    def written(self, peers: Sequence[TurnedAway]) -> None:
        """Take off what was written, and begin its minute."""
        with self._lock:
            for each in peers:
                entry = self._entries[each.who, each.subject, each.reason]
                entry.times -= each.times
                entry.due = self._clock() + WINDOW_SECONDS

    def seconds_to_next(self) -> float | None:
        """Seconds until something is due; None: nothing waits."""
        with self._lock:
            waiting = [entry.due for entry in self._entries.values() if entry.times]
            return max(0.0, min(waiting) - self._clock()) if waiting else None

    def _told_apart(self, requestor: Requestor, refusal: Refusal) -> tuple[_Peer, str]:
        address = requestor.address
        place = f"association from {address}"
        called = f" to {requestor.called_ae_title}" if requestor.called_ae_title else ""
        own = (requestor.ae_title, f"{place}{called}", refusal.reason)
        others_of_address = ("several", place, "further AE titles or reasons")
        others = ("several", "associations", "further peers")
        if own in self._entries:
            return own, address
        if sum(entry.address == address for entry in self._entries.values()) >= MOST_FROM_ONE_ADDRESS:
            own = others_of_address
        if own not in self._entries and len(self._entries) >= MOST_IN_ALL:
            return others, ""
        return own, address

    def _forget(self, now: float) -> None:
        for peer in [peer for peer, entry in self._entries.items() if not entry.times and entry.due <= now]:
            del self._entries[peer]


class Gatebook:
    """Writes a tally to the durable state, in a thread of its own: no peer waits for the database.

    Parameters
    ----------
    record
        Appends events; what it cannot write is tried again.
    """

    def __init__(self, record: Callable[[Sequence[TurnedAway]], None]) -> None:
        self._record = record
        self._tally = Tally()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="turned-away", daemon=True)

    def note(self, requestor: Requestor, refusal: Refusal) -> None:
        """Count one; returns at once."""
        self._tally.note(requestor, refusal)
        self._wake.set()

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, and end."""
        self._stopping.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(self._tally.seconds_to_next())
            self._wake.clear()
            if not self._write(self._tally.due()):
                self._stopping.wait(_RETRY_SECONDS)
        self._write(self._tally.due(all_of_them=True))

    def _write(self, peers: Sequence[TurnedAway]) -> bool:
        try:
            if peers:
                self._record(peers)
        except NodeError as error:
            log.warning("association.unrecorded", reason=str(error))
            return False
        self._tally.written(peers)
        return True
