"""How many connections may wait at the door: those that have not asked for an association yet.

Each costs threads, and whoever reaches the port can open as many as he likes. So those from addresses that
nobody listed have only a part of the room, and no address all of it: who is listed finds the door free.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

#: connections that have not asked for an association yet, or are being refused one
MOST_STRANGERS = 100
#: of these, from addresses that are not listed: in all, and from one of them
MOST_UNLISTED = 40
MOST_OF_ONE_UNLISTED = 10
#: from one address that is listed; several peers may stand behind it
MOST_OF_ONE_LISTED = 50

#: address and port of a peer
Peer = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    """One connection at the door."""

    is_listed: bool
    #: no association was made of it yet, which could be asked
    is_arriving: bool = True


class Crowd:
    """Counts who waits. Safe to share between threads.

    Parameters
    ----------
    is_listed
        Whether someone at this address may come in, under the right AE title.
    """

    def __init__(self, is_listed: Callable[[str], bool]) -> None:
        self._is_listed = is_listed
        self._lock = threading.Lock()
        self._waiting: dict[Peer, _Waiting] = {}

    def objection(self, peer: Peer, negotiating: Callable[[], Iterable[Peer]]) -> str | None:
        """Say why a connection cannot wait too; None: it waits from now on.

        Parameters
        ----------
        peer
            Who has connected.
        negotiating
            Gives the connections that were associations when it was asked, and are not accepted yet.
        """
        listed = self._is_listed(peer[0])
        with self._lock:
            # while the lock is held none ceases to arrive, so none is between the two
            still = set(negotiating())
            self._waiting = {
                each: waiting
                for each, waiting in self._waiting.items()
                if waiting.is_arriving or each in still
            }
            reason = self._too_many(peer[0], listed)
            if reason is None:
                self._waiting[peer] = _Waiting(is_listed=listed)
        return reason

    def arrived(self, peer: Peer) -> None:
        """Note that an association was made of a connection, or nothing will be."""
        with self._lock:
            waiting = self._waiting.get(peer)
            if waiting is not None:
                self._waiting[peer] = _Waiting(is_listed=waiting.is_listed, is_arriving=False)

    def _too_many(self, address: str, is_listed: bool) -> str | None:
        own = sum(each == address for each, _ in self._waiting)
        if len(self._waiting) >= MOST_STRANGERS:
            return "too many connections are open"
        if is_listed:
            return "too many connections of its address are open" if own >= MOST_OF_ONE_LISTED else None
        if own >= MOST_OF_ONE_UNLISTED:
            return "too many connections of its address, which is not listed, are open"
        if sum(not each.is_listed for each in self._waiting.values()) >= MOST_UNLISTED:
            return "too many connections of addresses that are not listed are open"
        return None
