"""The receiver of a configuration, tied to the durable state."""

from __future__ import annotations

import structlog

from mcads_node.config import Configuration
from mcads_node.dispatch import Dispatcher
from mcads_node.instance import Requestor
from mcads_node.read.transfer_syntaxes import TRANSFER_SYNTAXES
from mcads_node.receive.admission import Admission, AllowedRequestor
from mcads_node.receive.arrival import SUCCESS, Arrival, keep_in
from mcads_node.receive.scp import ReceiverSettings, StorageScp
from mcads_node.state import State

log = structlog.stdlib.get_logger(__name__)


def receiver_of(configuration: Configuration, state: State, dispatcher: Dispatcher) -> StorageScp:
    """Make the receiver, not yet started."""
    node = configuration.node.node
    requestors = tuple(
        AllowedRequestor(ae_title=each.ae_title, address=each.address)
        for each in configuration.node.requestors
    )
    keep = keep_in(state.spool, state.workitems)

    def keep_and_poke(arrival: Arrival) -> int:
        status = keep(arrival)
        if status != SUCCESS:
            log.warning(
                "instance.refused",
                calling=arrival.requestor.ae_title,
                status=f"0x{status:04X}",
                reason=arrival.objection.reason if arrival.objection else "no room, or the database is busy",
            )
        dispatcher.poke()
        return status

    def note_rejection(requestor: Requestor, reason: str) -> None:
        log.warning(
            "association.rejected",
            calling=requestor.ae_title,
            called=requestor.called_ae_title,
            address=requestor.address,
            reason=reason,
        )

    settings = ReceiverSettings(
        admission=Admission(
            ae_title=node.ae_title, requestors=requestors, max_associations=node.max_associations
        ),
        transfer_syntaxes=TRANSFER_SYNTAXES,
        host=node.host,
        port=node.port,
    )
    return StorageScp(settings, keep_and_poke, note_rejection)
