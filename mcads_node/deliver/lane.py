"""The way to one destination: what its couriers share, so that none does what another is doing."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from mcads_node.deliver.terms import DeliveryQueue
from mcads_node.workitems import Delivery

#: objects sent over one association; few kinds of object, so few contexts
BATCH = 50


class Lane:
    """Shares out the deliveries of one destination among the couriers of this process.

    A study goes to one courier as a whole: its objects arrive in their order, heatmaps before the report that
    refers to them. Where several processes deliver, one of them has the destination.

    Parameters
    ----------
    destination
        Its name.
    queue
        The durable state.
    couriers
        How many there are.
    holder
        Name of this process.
    hold
        How long it has the destination for itself without a sign of life (`keep`); the same for all.
    """

    def __init__(
        self, destination: str, queue: DeliveryQueue, couriers: int, holder: str, hold: timedelta
    ) -> None:
        self.destination = destination
        self._queue = queue
        self._couriers = couriers
        self._holder = holder
        self._hold = hold
        self._lock = threading.Lock()
        #: deliveries in hand, by study
        self._in_hand: dict[int, int] = {}
        self._held_until = datetime.min.replace(tzinfo=UTC)
        self._answered_at = -math.inf

    def take(self) -> list[Delivery]:
        """Give a courier its share of what is due; whatever it gets it gives back, sent or not."""
        with self._lock:
            if self._is_probed() or not self.hold():
                return []
            due = self._queue.due_deliveries(self.destination, BATCH + sum(self._in_hand.values()))
            free = [each for each in due if each.study_number not in self._in_hand]
            studies = list(dict.fromkeys(each.study_number for each in free))
            mine = set(studies[: math.ceil(len(studies) / self._couriers)])
            taken = [each for each in free if each.study_number in mine][:BATCH]
            for each in taken:
                self._in_hand[each.study_number] = self._in_hand.get(each.study_number, 0) + 1
            return taken

    def give_back(self, deliveries: Collection[Delivery]) -> None:
        """Let others have these studies."""
        with self._lock:
            for each in deliveries:
                self._in_hand.pop(each.study_number, None)

    def hold(self) -> bool:
        """Have the destination for this process, for long enough to say so again before it ends."""
        now = datetime.now(UTC)
        # more than a whole hold is left where the clock stepped back: then another may take it
        if not self._hold * 2 / 3 <= self._held_until - now <= self._hold:
            until = now + self._hold
            if not self._queue.hold_destination(self.destination, self._holder, until):
                return False
            self._held_until = until
        return True

    def keep(self) -> None:
        """Go on having the destination, if this process has it: an object may take long."""
        with self._lock:
            if self._held_until > datetime.now(UTC):
                self.hold()

    @property
    def is_served_by_others(self) -> bool:
        """Whether what is due may be in the hands of another courier, or of another process."""
        with self._lock:
            return bool(self._in_hand) or self._held_until <= datetime.now(UTC)

    def let_go(self) -> None:
        """Let another process have the destination."""
        with self._lock:
            self._held_until = datetime.min.replace(tzinfo=UTC)
            self._queue.let_go_destination(self.destination, self._holder)

    def note_answer(self) -> None:
        """Remember that the destination answers."""
        self._answered_at = time.monotonic()

    def has_answered_since(self, moment: float) -> bool:
        """Whether any courier had an answer since a moment of the monotonic clock."""
        return self._answered_at >= moment

    def _is_probed(self) -> bool:
        """Whether the destination could not be reached, and another courier is just trying it."""
        return bool(self._in_hand) and self._queue.destination_trouble(self.destination) is not None
