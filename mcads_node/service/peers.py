"""Whether each destination answers, known before something is due for it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from mcads_node.deliver.send import Caller, DestinationAddress, echo

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class PeerAnswer:
    """What the last C-ECHO to a destination came to."""

    #: UTC
    at: datetime
    #: from request to response; None where it did not answer with success
    milliseconds: float | None
    #: why it failed
    reason: str | None
    #: since when it has been so, UTC
    since: datetime

    @property
    def is_there(self) -> bool:
        """Whether the destination took our association and answered."""
        return self.milliseconds is not None


class PeerWatch:
    """Asks every destination by C-ECHO; tells the log what changed, and remembers the answers.

    Parameters
    ----------
    destinations
        By their names.
    caller
        Who asks.
    stopping
        Once it is set, no more are asked.
    """

    def __init__(
        self, destinations: Mapping[str, DestinationAddress], caller: Caller, stopping: threading.Event
    ) -> None:
        self._destinations = destinations
        self._caller = caller
        self._stopping = stopping
        self._answers: dict[str, PeerAnswer] = {}

    @property
    def answers(self) -> dict[str, PeerAnswer]:
        """The last answers, by destination; one that was not asked yet is absent."""
        return dict(self._answers)

    def look(self) -> None:
        """Ask each destination once, one after the other."""
        for name, address in self._destinations.items():
            if self._stopping.is_set():
                return
            self._ask(name, address)

    def _ask(self, name: str, address: DestinationAddress) -> None:
        result = echo(address, self._caller)
        now = datetime.now(UTC)
        before = self._answers.get(name)
        is_same = before is not None and before.is_there == result.succeeded
        answer = PeerAnswer(
            at=now,
            milliseconds=result.milliseconds,
            reason=result.reason,
            since=before.since if before is not None and is_same else now,
        )
        self._answers[name] = answer
        if is_same:
            return
        if answer.is_there:
            log.info("destination.answers", destination=name)
        else:
            log.warning("destination.silent", destination=name, reason=answer.reason)
