"""An association of pynetdicom's that can be used while its peer sends a report: what its own lacks for that.

Whoever sends over an association first pauses its reactor, the thread that takes what the peer sends: it
closes a checkpoint, and waits until the reactor says that it stands there. But an N-EVENT-REPORT is served in
a thread of its own, and that one says of the reactor that it goes on, once the report is answered. Said of a
reactor that stands at the checkpoint, it makes whoever waits for it wait for ever.
"""

from __future__ import annotations

import threading
from typing import Any, cast

from pynetdicom.association import Association


class Checkpoint:
    """Where a reactor is held, in place of an event: it knows whether the reactor is here."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._is_open = True
        #: whether the reactor is here, and stays until the checkpoint is opened
        self.holds = False

    def set(self) -> None:
        """Let the reactor go on."""
        with self._changed:
            self._is_open, self.holds = True, False
            self._changed.notify_all()

    def clear(self) -> None:
        """Have the reactor stop here when it comes by."""
        with self._changed:
            self._is_open = False

    def wait(self) -> None:
        """Pass, or wait here: the reactor."""
        with self._changed:
            while not self._is_open:
                self.holds = True
                self._changed.wait()


class SharedAssociation(Association):
    """An association as requestor, whose reactor is paused where it is held, and nowhere else."""

    #: held while a report is served, and while the association is released
    _in_turn: threading.Lock
    _reactor_checkpoint: Any

    @classmethod
    def adopt(cls, association: Association) -> None:
        """Make one of these of an association of which no thread runs: an `AE` makes its own kind only."""
        association.__class__ = cls
        adopted = cast(SharedAssociation, association)
        adopted._reactor_checkpoint = Checkpoint()
        adopted._in_turn = threading.Lock()

    @property
    def _is_paused(self) -> bool:
        # one that is to end takes nothing any more
        return bool(self._kill or self._reactor_checkpoint.holds)

    @_is_paused.setter
    def _is_paused(self, value: bool) -> None:
        """Ignore what any thread says of the reactor."""

    def _serve_request(self, message: Any, context_id: int) -> None:
        if threading.current_thread() is self:
            super()._serve_request(message, context_id)
            return
        with self._in_turn:
            super()._serve_request(message, context_id)

    def release(self) -> None:
        """Release it once what is served is answered: after the request for release nothing may be sent."""
        with self._in_turn:
            super().release()
