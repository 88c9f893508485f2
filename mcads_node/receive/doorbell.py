"""What an association's thread waits for: that something came, rather than that a millisecond passed."""

from __future__ import annotations

import threading

#: how long a thread waits that is not told: it also ends an association that is idle for too long
_SECONDS = 0.05


class Doorbell(threading.Event):
    """Stands in for pynetdicom's checkpoint, which an association's thread passes before it looks around.

    It looks every millisecond, with each of these threads; here it looks when it was rung for.
    """

    def __init__(self) -> None:
        super().__init__()
        self._rung = threading.Event()
        self.set()

    def set(self) -> None:
        """Let the thread pass."""
        super().set()
        self._rung.set()

    def ring(self) -> None:
        """Tell the thread that there is something to look at."""
        self._rung.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Pass once there is something to look at, or there may be: the thread."""
        is_open = super().wait(timeout)
        self._rung.wait(_SECONDS)
        # before the thread looks, so that what comes meanwhile is told of again
        self._rung.clear()
        return is_open
