"""How much room the data folder has left, and what that means for receiving.

Looking costs a system call that a network file system may be slow to answer, so that the answer is kept for
a second: within it, at full speed, a few hundred megabytes come in. The second mark stands well above that.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import structlog

from mcads_node.errors import TransientError

log = structlog.stdlib.get_logger(__name__)

#: for how long an answer of the disk is taken to hold
_FRESH_SECONDS = 1.0


class Room(StrEnum):
    """What is left on the disk."""

    AMPLE = "ample"
    #: below the first mark: an administrator is to be told
    LOW = "low"
    #: below the second mark: nothing more is taken
    FULL = "full"


class DiskGuard:
    """Watches the free space of a folder's file system. Safe to share between threads.

    Parameters
    ----------
    folder
        Anywhere on the file system; it must exist.
    alert_below_bytes, refuse_below_bytes
        The two marks, in free bytes; zero never applies.
    clock
        Monotonic, in seconds.
    """

    def __init__(
        self,
        folder: Path,
        alert_below_bytes: int,
        refuse_below_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._alert_below = alert_below_bytes
        self._refuse_below = refuse_below_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._looked_at: float | None = None
        self._free = 0
        #: as it was told last
        self._told = Room.AMPLE

    def free_bytes(self) -> int:
        """Give the bytes that the node may still write, at most a second old.

        Raises
        ------
        TransientError
            The file system does not answer.
        """
        with self._lock:
            return self._look()

    def room(self) -> Room:
        """Say what is left, at most a second old; a change is logged, once.

        A file system that does not answer has no room: what cannot be asked cannot be written to either.
        """
        with self._lock:
            try:
                free = self._look()
            except TransientError as error:
                return self._tell(Room.FULL, free_mib=None, reason=str(error))
            if free < self._refuse_below:
                room = Room.FULL
            elif free < self._alert_below:
                room = Room.LOW
            else:
                room = Room.AMPLE
            return self._tell(room, free_mib=free >> 20, reason=None)

    def _look(self) -> int:
        now = self._clock()
        if self._looked_at is None or now - self._looked_at >= _FRESH_SECONDS:
            try:
                found = os.statvfs(self._folder)
            except OSError as error:
                self._looked_at = None
                raise TransientError(f"{self._folder}: {error.strerror}") from error
            # without what the file system keeps for root
            self._free = found.f_bavail * found.f_frsize
            self._looked_at = now
        return self._free

    def _tell(self, room: Room, *, free_mib: int | None, reason: str | None) -> Room:
        if room is not self._told:
            self._told = room
            said = {
                "room": room.value,
                "free_mib": free_mib,
                "alert_below_mib": self._alert_below >> 20,
                "refuse_below_mib": self._refuse_below >> 20,
                "reason": reason,
            }
            if room is Room.AMPLE:
                log.info("disk.ample", **said)
            elif room is Room.LOW:
                log.warning("disk.low", **said)
            else:
                log.error("disk.full", **said)
        return room
