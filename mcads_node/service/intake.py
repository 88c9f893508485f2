"""What becomes of an object that came, by whatever association: kept durably, told, worked on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from mcads_node import metrics
from mcads_node.audit import AuditTrail
from mcads_node.config import Configuration, Rule
from mcads_node.disk import DiskGuard, Room
from mcads_node.draft import Draft
from mcads_node.errors import TransientError
from mcads_node.receive.arrival import SUCCESS, Arrival, Kept, keep_in
from mcads_node.receive.handling import Handler
from mcads_node.service.auditing import tell_received
from mcads_node.state import State
from mcads_node.workitems import Receipt

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Pokes:
    """Whom to wake: parts of this process; nobody where they are in another, and look by themselves."""

    dispatch: Callable[[], None] = lambda: None
    delivery: Callable[[], None] = lambda: None


class Intake:
    """Keeps objects in the durable state. Safe to share between threads.

    Parameters
    ----------
    configuration
        As checked by :func:`load`.
    state
        Where objects are kept.
    disk
        Says when there is no room for more.
    audit
        Told of what comes.
    pokes
        Whom to wake when there is work.
    """

    def __init__(
        self,
        configuration: Configuration,
        state: State,
        disk: DiskGuard,
        audit: AuditTrail,
        pokes: Pokes,
    ) -> None:
        self._audit = audit
        self._disk = disk
        self._pokes = pokes
        node = configuration.node
        self._handler = Handler({name: each.ae_title for name, each in node.destinations.items()})
        self._handler.use_rules(configuration.rules)
        self._spool = state.spool
        self._keep_durably = keep_in(
            state.spool,
            state.workitems,
            has_room=self.has_room,
            handling_of=self._handler.handling_of,
            refuse_conflicts=node.receive.conflicting_instances == "refuse",
        )

    def use_rules(self, rules: tuple[Rule, ...]) -> None:
        """Handle by `rules` what comes from now on."""
        self._handler.use_rules(rules)

    def has_room(self) -> bool:
        """Whether the disk has room for more."""
        return self._disk.room() is not Room.FULL

    def begin(self, meta: bytes) -> Draft | None:
        """Begin the file of an object that comes; None where it cannot be, which `keep` tells its peer."""
        if not self.has_room():
            return None
        try:
            return self._spool.begin(meta)
        except TransientError:
            return None

    def keep(self, arrival: Arrival) -> int:
        """Keep an object durably; gives the C-STORE status to answer, and only then."""
        kept = self._keep_durably(arrival)
        calling = arrival.requestor.ae_title
        if kept.status != SUCCESS:
            status = f"0x{kept.status:04X}"
            log.warning("instance.refused", calling=calling, status=status, reason=kept.reason)
        _tell_duplicate(arrival, kept)
        metrics.received(calling, kept.status)
        tell_received(self._audit, arrival, kept)
        self._pokes.dispatch()
        if self._handler.forwards:
            self._pokes.delivery()
        return kept.status


def _tell_duplicate(arrival: Arrival, kept: Kept) -> None:
    if kept.receipt is Receipt.DUPLICATE and arrival.objection is None:
        metrics.duplicate(same_content=True)
    if kept.receipt is Receipt.HELD:
        log.warning(
            "instance.held",
            calling=arrival.requestor.ae_title,
            study=arrival.study_instance_uid,
            instance=arrival.sop_instance_uid,
        )
    if kept.receipt in (Receipt.CONFLICT, Receipt.CONFLICT_AGAIN):
        metrics.duplicate(same_content=False)
        log.warning(
            "instance.conflict",
            calling=arrival.requestor.ae_title,
            study=arrival.study_instance_uid,
            instance=arrival.sop_instance_uid,
            again=kept.receipt is Receipt.CONFLICT_AGAIN,
        )
