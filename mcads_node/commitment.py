"""What receiver and deliverer share of Storage Commitment: how an answer to a request is read, and answered.

The peer answers a request (N-ACTION) by an N-EVENT-REPORT: over the association of the request, which the
deliverer opened, or over one that it opens itself, to the receiver (PS3.4 annex J).
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, Final, Literal

import structlog
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

from mcads_node.errors import NodeError, PermanentError
from mcads_node.instance import is_valid_uid
from mcads_node.read.attributes import PYDICOM_ERRORS
from mcads_node.workitems import CommitmentOutcome, CommitmentReport

log = structlog.stdlib.get_logger(__name__)

#: Storage Commitment Push Model SOP Class, and its well-known instance
PUSH_MODEL = "1.2.840.10008.1.20.1"
PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"
#: Action Type ID of a request
REQUEST_COMMITMENT = 1
#: Event Type IDs of the answers
ALL_COMMITTED, FAILURES_EXIST = 1, 2

# statuses of an N-EVENT-REPORT response (PS3.7 section 10.1.1.1.8)
SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
NO_SUCH_EVENT_TYPE = 0x0113
INVALID_ARGUMENT_VALUE = 0x0115
RESOURCE_LIMITATION = 0x0213

#: of the data sets on either side: what is not compressed
TRANSFER_SYNTAXES: Final = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")

_TRANSACTION_UID = 0x0008_1195
_REFERENCED_SOP_SEQUENCE = 0x0008_1199
_FAILED_SOP_SEQUENCE = 0x0008_1198
_REFERENCED_SOP_INSTANCE_UID = 0x0008_1155
_FAILURE_REASON = 0x0008_1197

TakeReport = Callable[[CommitmentReport], CommitmentOutcome | None]


def answer_report(event: Any, take: TakeReport, peer: str) -> int:
    """Take an N-EVENT-REPORT, and give the status to answer it with.

    Parameters
    ----------
    event
        pynetdicom's event.
    take
        Records what the peer answered; None where it does not know the transaction.
    peer
        AE title, for the log.
    """
    kind, request = event.request.EventTypeID, event.request
    if kind not in (ALL_COMMITTED, FAILURES_EXIST):
        log.warning("commitment.malformed", peer=peer, reason=f"event type {kind}, expected 1 or 2")
        return NO_SUCH_EVENT_TYPE
    data = b"" if request.EventInformation is None else request.EventInformation.getvalue()
    try:
        report = report_of(data, str(event.context.transfer_syntax))
    except PermanentError as error:
        log.warning("commitment.malformed", peer=peer, reason=str(error))
        return INVALID_ARGUMENT_VALUE
    try:
        outcome = take(report)
    except NodeError as error:
        log.error("commitment.unrecorded", peer=peer, reason=str(error))
        return RESOURCE_LIMITATION
    if outcome is None:
        log.warning("commitment.unknown", peer=peer, transaction_uid=report.transaction_uid)
        return PROCESSING_FAILURE
    log.info(
        "commitment.reported",
        destination=outcome.destination,
        committed=outcome.committed,
        again=outcome.again,
        refused=outcome.refused,
    )
    return SUCCESS


def report_of(data: bytes, transfer_syntax_uid: str) -> CommitmentReport:
    """Read the Event Information of an N-EVENT-REPORT (PS3.4 table J.3-3).

    Raises
    ------
    PermanentError
        It cannot be parsed, or lacks what it must have; the text quotes nothing of it.
    """
    syntax = UID(transfer_syntax_uid)
    try:
        dataset = read_dataset(BytesIO(data), syntax.is_implicit_VR, syntax.is_little_endian)
        return _report(dataset)
    except (EOFError, UserWarning) as error:
        # what pydicom only warns of is an error where warnings are made to be errors
        raise PermanentError("its data set is truncated, or not in its transfer syntax") from error
    except PYDICOM_ERRORS as error:
        raise PermanentError(f"its data set cannot be parsed: {type(error).__name__}") from error


def _report(dataset: Dataset) -> CommitmentReport:
    transaction = _uid(dataset, _TRANSACTION_UID, "Transaction UID (0008,1195)")
    failed = {
        _instance_of(item): _unsigned(item, _FAILURE_REASON) for item in _items(dataset, _FAILED_SOP_SEQUENCE)
    }
    committed = {_instance_of(item) for item in _items(dataset, _REFERENCED_SOP_SEQUENCE)}
    # what is named in both is not committed to
    return CommitmentReport(
        transaction_uid=transaction, committed=frozenset(committed - failed.keys()), failed=failed
    )


def _items(dataset: Dataset, tag: int) -> list[Dataset]:
    value = dataset[tag].value if tag in dataset else []
    if not isinstance(value, list | Sequence):
        raise PermanentError("what should be a sequence is none")
    return list(value)


def _instance_of(item: Dataset) -> str:
    return _uid(item, _REFERENCED_SOP_INSTANCE_UID, "Referenced SOP Instance UID (0008,1155)")


def _uid(dataset: Dataset, tag: int, name: str) -> str:
    value = _raw(dataset, tag).decode("ascii", errors="backslashreplace").strip("\0 ")
    if not is_valid_uid(value):
        raise PermanentError(f"{name} is absent or no UID")
    return value


def _unsigned(dataset: Dataset, tag: int) -> int | None:
    value = _raw(dataset, tag)
    order: Literal["little", "big"] = "little" if dataset.original_encoding[1] else "big"
    return int.from_bytes(value, order) if len(value) == 2 else None


def _raw(dataset: Dataset, tag: int) -> bytes:
    # as bytes: pydicom would validate the value, and warn in the peer's words
    element = dataset.get_item(tag) if tag in dataset else None
    value = b"" if element is None else element.value
    return value if isinstance(value, bytes) else b""
