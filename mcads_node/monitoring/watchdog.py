"""The watchdog of systemd: told of our life only while the vital threads show theirs (sd_notify(3)).

systemd ends and restarts a node that is silent for WatchdogSec. What hung is taken up again from the durable
state, as after any other death.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping

import structlog

from mcads_node.errors import NodeError
from mcads_node.sdnotify import notify

log = structlog.stdlib.get_logger(__name__)

#: how often systemd is told the status where it has not asked for signs of life
_STATUS_SECONDS = 30.0


def watchdog_seconds(environment: Mapping[str, str] = os.environ) -> float | None:
    """Give the time within which systemd expects a sign of life; None where it expects none."""
    asked, whom = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not asked.isdigit() or int(asked) == 0 or (whom and whom != str(os.getpid())):
        return None
    return int(asked) / 1_000_000


class Watchdog:
    """A thread that tells systemd how the node is.

    Parameters
    ----------
    silent
        Which vital threads have fallen silent, and since how many seconds.
    status
        One line for ``systemctl status``; it may raise `NodeError`.
    environment
        As systemd made it.
    """

    def __init__(
        self,
        silent: Callable[[], Mapping[str, float]],
        status: Callable[[], str],
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        within = watchdog_seconds(environment)
        self._interval = _STATUS_SECONDS if within is None else within / 2
        self._expected = within is not None
        self._there = bool(environment.get("NOTIFY_SOCKET"))
        self._silent = silent
        self._status = status
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._told: frozenset[str] = frozenset()

    def start(self) -> None:
        """Begin, if there is a systemd that listens."""
        if self._there:
            self._thread.start()

    def stop(self) -> None:
        """End; systemd knows that the node is stopping."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            silent = self._silent()
            if frozenset(silent) - self._told:
                log.critical("watchdog.silent", threads=sorted(silent))
            self._told = frozenset(silent)
            if silent:
                notify(f"STATUS=stands still: {', '.join(sorted(silent))}")
                continue
            if self._expected:
                # before the status, which asks the database: that may take its time
                notify("WATCHDOG=1")
            try:
                notify(f"STATUS={self._status()}")
            except NodeError as error:
                notify(f"STATUS={error}")
