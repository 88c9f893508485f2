"""The receiver of a configuration, tied to the durable state."""

from __future__ import annotations

import structlog

from mcads_node import metrics
from mcads_node.audit import AuditTrail
from mcads_node.config import Configuration, NodeConfig
from mcads_node.instance import Requestor
from mcads_node.read.transfer_syntaxes import TRANSFER_SYNTAXES
from mcads_node.receive.admission import Admission, AllowedRequestor, Cause, Refusal
from mcads_node.receive.scp import ReceiverSettings, StorageScp
from mcads_node.receive.turned_away import Gatebook
from mcads_node.service.auditing import tell_rejected
from mcads_node.service.configured import timeouts_of
from mcads_node.service.delivering import commitment_reports_of
from mcads_node.service.intake import Intake
from mcads_node.state import State
from mcads_node.tls import Tls

log = structlog.stdlib.get_logger(__name__)


class Receiver:
    """Takes objects into the durable state, and keeps on record who was turned away.

    Parameters
    ----------
    configuration
        As checked by :func:`load`.
    state
        Where it is kept who was turned away, and what destinations committed to.
    intake
        Keeps objects.
    audit
        Told of who is turned away.
    tls
        With it, peers must speak TLS.
    """

    def __init__(
        self,
        configuration: Configuration,
        state: State,
        intake: Intake,
        audit: AuditTrail,
        tls: Tls | None = None,
    ) -> None:
        self._audit = audit
        self._gatebook = Gatebook(state.workitems.record_turned_away)
        settings = _settings(configuration.node, tls)
        reports = commitment_reports_of(configuration.node, state.workitems)
        self._scp = StorageScp(
            settings,
            intake.keep,
            self._turn_away,
            lambda: not intake.has_room(),
            reports,
            intake.begin,
        )

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._scp.port

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


def admission_of(config: NodeConfig) -> Admission:
    """Say who may send."""
    node = config.node
    return Admission(
        ae_title=node.ae_title,
        requestors=tuple(
            AllowedRequestor(
                ae_title=each.ae_title, address=each.address, called_ae_titles=each.called_ae_title
            )
            for each in config.requestors
        ),
        max_associations=node.max_associations,
        max_associations_per_requestor=node.max_associations_per_requestor,
    )


def _settings(config: NodeConfig, tls: Tls | None) -> ReceiverSettings:
    node = config.node
    return ReceiverSettings(
        admission=admission_of(config),
        transfer_syntaxes=TRANSFER_SYNTAXES,
        host=node.host,
        port=node.port,
        timeouts=timeouts_of(config),
        max_pdu=config.network.max_pdu_bytes,
        max_object=config.receive.max_object_mib * 2**20,
        tls=tls,
    )
