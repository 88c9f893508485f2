"""What pynetdicom knows of an association and of a message over it, in the node's own words."""

from __future__ import annotations

from typing import cast

from pynetdicom.association import Association
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext

from mcads_node.instance import Requestor
from mcads_node.receive.admission import plain_address
from mcads_node.receive.arrival import StoreCommand


def requestor_of(association: Association) -> Requestor:
    """Who asked for an association."""
    request = cast(A_ASSOCIATE, association.requestor.primitive)
    return Requestor(
        ae_title=request.calling_ae_title.strip(),
        address=plain_address(association.requestor.address),
        called_ae_title=request.called_ae_title.strip(),
    )


def context_of(association: Association, message: DIMSEMessage) -> PresentationContext | None:
    """In which accepted presentation context a message came; None: in none."""
    accepted = {context.context_id: context for context in association.accepted_contexts}
    return accepted.get(message.context_id)


def store_command(
    association: Association, uids: tuple[str, str], abstract_syntax: object, transfer_syntax: object
) -> StoreCommand:
    """Say what a C-STORE request is of.

    Parameters
    ----------
    association
        Over which it came.
    uids
        SOP Class and Instance UID, as the peer wrote them.
    abstract_syntax, transfer_syntax
        Of its presentation context.
    """
    return StoreCommand(
        requestor=requestor_of(association),
        sop_class_uid=uids[0],
        sop_instance_uid=uids[1],
        context_sop_class_uid=str(abstract_syntax),
        transfer_syntax_uid=str(transfer_syntax),
    )
