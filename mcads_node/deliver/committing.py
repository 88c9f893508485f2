"""The Storage Commitment SCU: asks a peer to keep objects, and waits a while for its answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.presentation import build_context

from mcads_node.association.requesting import Caller, DestinationAddress, associated
from mcads_node.commitment import (
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    REQUEST_COMMITMENT,
    TRANSFER_SYNTAXES,
    TakeReport,
    answer_report,
)
from mcads_node.workitems import CommitmentRequest


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request for commitment, and what to do with the answer."""

    request: CommitmentRequest
    #: records an answer that comes on the same association
    on_report: TakeReport
    #: how long such an answer is waited for; one that comes later comes on an association of the peer's own
    wait_seconds: float
    #: told as soon as the peer has answered anything, also that it does not take the request
    on_answer: Callable[[], None] = lambda: None
    #: asked while waiting; where it says no, the wait is over
    goes_on: Callable[[], bool] = lambda: True


def ask(destination: DestinationAddress, asked: Asked, caller: Caller) -> str | None:
    """Send an N-ACTION for the objects of a request (PS3.4 section J.3.2), and hear the answer.

    Returns
    -------
    str or None
        Why the peer did not take the request; None where it did, whatever it answers then.

    Raises
    ------
    PeerUnreachable
        No association could be made, or it broke at once: the peer knows nothing of the request.
    """
    reported = threading.Event()

    def on_event_report(event: evt.Event) -> tuple[int, None]:
        status = answer_report(event, asked.on_report, destination.ae_title)
        reported.set()
        return status, None

    handlers = [(evt.EVT_N_EVENT_REPORT, on_event_report)]
    contexts = [build_context(PUSH_MODEL, list(TRANSFER_SYNTAXES))]
    with associated(destination, contexts, caller, handlers) as (association, _):
        if not association.accepted_contexts:
            asked.on_answer()
            return f"{destination} does not support Storage Commitment"
        status = association.send_n_action(
            _action_information(asked.request), REQUEST_COMMITMENT, PUSH_MODEL, PUSH_MODEL_INSTANCE
        )[0].get("Status")
        if status is None:
            return f"{destination} did not answer the N-ACTION"
        asked.on_answer()
        if status != 0x0000:
            return f"{destination} answered the N-ACTION with status 0x{status:04X}"
        deadline = time.monotonic() + asked.wait_seconds
        while association.is_established and asked.goes_on() and time.monotonic() < deadline:
            if reported.wait(0.1):
                break
    return None


def _action_information(request: CommitmentRequest) -> Dataset:
    information = Dataset()
    information.TransactionUID = request.transaction_uid
    information.ReferencedSOPSequence = []
    for delivery in request.deliveries:
        item = Dataset()
        item.ReferencedSOPClassUID = delivery.sop_class_uid
        item.ReferencedSOPInstanceUID = delivery.sop_instance_uid
        information.ReferencedSOPSequence.append(item)
    return information
