"""Which leases nobody renews, told by watching them rather than by the clock on the wall.

Whoever works renews its leases every third of their length. A clock that steps forward makes every lease
look overdue though all are renewed in time, and their work would be given to others and counted as failed.
One that steps back makes a dead worker's lease look good for as long as the step. So a lease is taken back
when it was *seen* not to change: for its whole length, or for half of it where it is overdue by the clock
as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol

from mcads_node.workitems.records import Lease, LostLease


class Leases(Protocol):
    """What the watch needs of the durable state."""

    def leases(self) -> list[Lease]:
        """Give every lease there is."""

    def take_back(self, leases: Sequence[Lease]) -> list[LostLease]:
        """End those of these leases that were not renewed meanwhile."""


class LeaseWatch:
    """Looks at the leases again and again; what it has seen is in memory only.

    Parameters
    ----------
    store
        The durable state.
    lease
        How long a lease is.
    monotonic
        Gives seconds; never steps.
    """

    def __init__(
        self, store: Leases, lease: timedelta, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._lease = lease.total_seconds()
        self._monotonic = monotonic
        self._looked_at: float | None = None
        #: by lease as it stands, seconds for which it was seen to stand so
        self._unchanged: dict[Lease, float] = {}

    @property
    def every(self) -> timedelta:
        """How often to look."""
        return timedelta(seconds=self._lease / 4)

    def look(self) -> list[LostLease]:
        """Take back what nobody renews.

        Raises
        ------
        NodeError
            The state cannot be asked. Time that passes like this counts for nobody.
        """
        leases = self._store.leases()
        now = self._monotonic()
        # however long it was that nobody could look (the database was away, the machine slept), who holds a
        # lease could not renew it either, and first gets the time to do so
        passed = 0.0 if self._looked_at is None else min(now - self._looked_at, self._lease / 3)
        self._looked_at = now
        self._unchanged = {
            lease: self._unchanged[lease] + passed if lease in self._unchanged else 0.0 for lease in leases
        }
        stale = [lease for lease, seconds in self._unchanged.items() if self._is_stale(lease, seconds)]
        return self._store.take_back(stale) if stale else []

    def _is_stale(self, lease: Lease, unchanged: float) -> bool:
        return unchanged >= (self._lease / 2 if lease.overdue else self._lease)
