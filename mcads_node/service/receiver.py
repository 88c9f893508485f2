"""The receiver of a configuration, tied to the durable state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from mcads_node import metrics
from mcads_node.audit import AuditTrail
from mcads_node.config import Configuration, NodeConfig, Rule
from mcads_node.disk import DiskGuard, Room
from mcads_node.instance import Requestor
from mcads_node.read.transfer_syntaxes import TRANSFER_SYNTAXES
from mcads_node.receive.admission import Admission, AllowedRequestor, Cause, Refusal
from mcads_node.receive.arrival import SUCCESS, Arrival, Kept, keep_in
from mcads_node.receive.handling import Handler
from mcads_node.receive.scp import ReceiverSettings, StorageScp
from mcads_node.receive.turned_away import Gatebook
from mcads_node.service.auditing import tell_received, tell_rejected
from mcads_node.service.configured import timeouts_of
from mcads_node.service.delivering import commitment_reports_of
from mcads_node.state import State
from mcads_node.tls import Tls
from mcads_node.workitems import Receipt

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Pokes:
    """Whom to wake: parts of this process; nobody where they are in another, and look by themselves."""

    dispatch: Callable[[], None] = lambda: None
    delivery: Callable[[], None] = lambda: None


class Receiver:
    """Takes objects into the durable state, and keeps on record who was turned away.

    Parameters
    ----------
    configuration
        As checked by :func:`load`.
    state
        Where objects are kept.
    disk
        Says when there is no room for more.
    audit
        Told of what comes, and of who is turned away.
    pokes
        Whom to wake when there is work.
    tls
        With it, peers must speak TLS.
    """

    def __init__(
        self,
        configuration: Configuration,
        state: State,
        disk: DiskGuard,
        audit: AuditTrail,
        pokes: Pokes,
        tls: Tls | None = None,
    ) -> None:
        self._audit = audit
        self._disk = disk
        self._pokes = pokes
        destinations = configuration.node.destinations
        self._handler = Handler({name: each.ae_title for name, each in destinations.items()})
        self._handler.use_rules(configuration.rules)
        self._gatebook = Gatebook(state.workitems.record_turned_away)
        refuse_conflicts = configuration.node.receive.conflicting_instances == "refuse"
        self._keep_durably = keep_in(
            state.spool,
            state.workitems,
            has_room=self._has_room,
            handling_of=self._handler.handling_of,
            refuse_conflicts=refuse_conflicts,
        )
        settings = _settings(configuration.node, tls)
        reports = commitment_reports_of(configuration.node, state.workitems)
        self._scp = StorageScp(settings, self._keep, self._turn_away, lambda: not self._has_room(), reports)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._scp.port

    def use_rules(self, rules: tuple[Rule, ...]) -> None:
        """Handle by `rules` what is received from now on."""
        self._handler.use_rules(rules)

    def start(self) -> None:
        """Listen.

        Raises
        ------
        PeerUnreachable
            The address cannot be bound.
        """
        self._scp.start()
        self._gatebook.start()

    def stop(self, grace_seconds: float) -> None:
        """Accept no more, finish what is being received, for so long at most."""
        self._scp.stop(grace_seconds)
        self._gatebook.stop()

    def _has_room(self) -> bool:
        return self._disk.room() is not Room.FULL

    def _keep(self, arrival: Arrival) -> int:
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

    def _turn_away(self, requestor: Requestor, refusal: Refusal) -> None:
        log.warning(
            "association.rejected",
            calling=requestor.ae_title,
            called=requestor.called_ae_title,
            address=requestor.address,
            reason=refusal.reason,
        )
        metrics.association_rejected(requestor.ae_title, refusal.cause.value)
        if refusal.cause is Cause.TLS:
            metrics.tls_failed("in")
        self._gatebook.note(requestor, refusal)
        tell_rejected(self._audit, requestor, refusal)


def _tell_duplicate(arrival: Arrival, kept: Kept) -> None:
    if kept.receipt is Receipt.DUPLICATE and arrival.objection is None:
        metrics.duplicate(same_content=True)
    if kept.receipt in (Receipt.CONFLICT, Receipt.CONFLICT_AGAIN):
        metrics.duplicate(same_content=False)
        log.warning(
            "instance.conflict",
            calling=arrival.requestor.ae_title,
            study=arrival.study_instance_uid,
            instance=arrival.sop_instance_uid,
            again=kept.receipt is Receipt.CONFLICT_AGAIN,
        )


def _settings(config: NodeConfig, tls: Tls | None) -> ReceiverSettings:
    node = config.node
    requestors = tuple(
        AllowedRequestor(ae_title=each.ae_title, address=each.address, called_ae_titles=each.called_ae_title)
        for each in config.requestors
    )
    return ReceiverSettings(
        admission=Admission(
            ae_title=node.ae_title,
            requestors=requestors,
            max_associations=node.max_associations,
            max_associations_per_requestor=node.max_associations_per_requestor,
        ),
        transfer_syntaxes=TRANSFER_SYNTAXES,
        host=node.host,
        port=node.port,
        timeouts=timeouts_of(config),
        max_pdu=config.network.max_pdu_bytes,
        max_object=config.receive.max_object_mib * 2**20,
        tls=tls,
    )
