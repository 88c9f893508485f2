"""Hearing of new work that any process put into the database, as soon as it is committed.

PostgreSQL rings: triggers on ``workitems`` and ``deliveries`` notify in the transaction that makes work (so
nothing that schedules can forget it, and nothing is heard of that was undone), and this thread listens. It is
only ever a reason to look sooner: what is rung while nobody listens is found by looking, as without it. After
each new connection everybody looks once. On SQLite there is nothing to hear, its parts wake each other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from mcads_node import pulse
from mcads_node.errors import NodeError
from mcads_node.workitems.engine import Database

log = structlog.stdlib.get_logger(__name__)

#: channels, as the triggers name them
WORK = "mcads_work"
DELIVERIES = "mcads_deliveries"

#: how often it is seen that this thread lives, and is to end
_LOOK_SECONDS = 0.5
_SILENCE_SECONDS = 300.0
#: pauses between attempts to connect
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0


class Listener(threading.Thread):
    """Calls whom a notice is for; never twice for one commit on a channel.

    Parameters
    ----------
    database
        A server's.
    heard
        By channel, what to call with the notice's text; with "" where anything may have happened meanwhile.
    """

    def __init__(self, database: Database, heard: Mapping[str, Callable[[str], None]]) -> None:
        super().__init__(name="listen", daemon=True)
        self._database = database
        self._heard = dict(heard)
        self._stopping = threading.Event()
        #: whether notices reach it now
        self.is_listening = threading.Event()

    def stop(self) -> None:
        """End it, and wait for that."""
        self._stopping.set()
        self.join(10 * _LOOK_SECONDS)

    def run(self) -> None:
        """Listen until stopped, again and again where the server goes away."""
        pause, lost = _FIRST_PAUSE_SECONDS, False
        while not self._stopping.is_set():
            try:
                with self._database.listening(*self._heard) as connection:
                    if lost:
                        log.info("listen.resumed")
                    pause, lost = _FIRST_PAUSE_SECONDS, False
                    self._hear(connection)
            except NodeError as error:
                if not lost:
                    log.warning("listen.lost", reason=str(error))
                lost = True
            self.is_listening.clear()
            pulse.beat(within=_SILENCE_SECONDS)
            self._stopping.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        pulse.rest()

    def _hear(self, connection: Any) -> None:
        self.is_listening.set()
        # what was rung before is not told again
        for call in self._heard.values():
            call("")
        while not self._stopping.is_set():
            pulse.beat(within=_SILENCE_SECONDS)
            # all that came together: of a hundred images one look is enough
            notices = connection.notifies(timeout=_LOOK_SECONDS, stop_after=1)
            for channel, payload in {(each.channel, each.payload) for each in notices}:
                self._heard[channel](payload)
