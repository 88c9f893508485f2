"""A Storage SCP that also answers requests for Storage Commitment, as it is told to."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.dimse_primitives import C_STORE

PUSH_MODEL = "1.2.840.10008.1.20.1"
INSTANCE = "1.2.840.10008.1.20.1.1"
STORAGE = (
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.88.34",
    "1.2.840.10008.5.1.4.1.1.88.22",
)


def event_information(
    transaction_uid: str, committed: list[str], failed: list[str] | None = None, reason: int = 0x0112
) -> Dataset:
    """Make the Event Information of an N-EVENT-REPORT, of SOP Instance UIDs."""
    dataset = Dataset()
    dataset.TransactionUID = transaction_uid
    for keyword, uids in (("ReferencedSOPSequence", committed), ("FailedSOPSequence", failed or [])):
        if uids:
            setattr(dataset, keyword, [_item(uid, reason if keyword[0] == "F" else None) for uid in uids])
    return dataset


def _item(uid: str, reason: int | None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = STORAGE[0]
    item.ReferencedSOPInstanceUID = uid
    if reason is not None:
        item.FailureReason = reason
    return item


def report_to(
    port: int,
    information: Dataset | None,
    event_type: int = 1,
    ae_title: str = "PEER",
    *,
    with_role: bool = True,
) -> int | str:
    """Open an association to a node, and send it an N-EVENT-REPORT; its status, or what went wrong."""
    entity = AE(ae_title=ae_title)
    entity.add_requested_context(PUSH_MODEL)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 10
    roles: list[Any] = [build_role(PUSH_MODEL, scp_role=True)] if with_role else []
    association = entity.associate("127.0.0.1", port, ae_title="MCADS", ext_neg=roles)
    if association.is_rejected:
        return "rejected"
    if not association.accepted_contexts:
        return "no context"
    if not with_role:
        # pynetdicom's own SCU refuses to be what was not negotiated; sloppy peers do not
        association.accepted_contexts[0]._as_scp = True
    status, _ = association.send_n_event_report(information, event_type, PUSH_MODEL, INSTANCE)
    association.release()
    return int(status.Status) if "Status" in status else "no answer"


@contextlib.contextmanager
def aborting_peer() -> Iterator[int]:
    """Listen on loopback, accept every association, and abort it at once; gives the port."""

    def abort(event: evt.Event) -> None:
        threading.Thread(target=event.assoc.abort).start()

    entity = AE(ae_title="PEER")
    entity.add_supported_context(PUSH_MODEL)
    entity.add_supported_context("1.2.840.10008.1.1")
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_ACCEPTED, abort)])
    assert server is not None
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


@dataclass
class CommitmentPeer:
    """Listens on loopback; `answer` gives committed and failed SOP Instance UIDs of a request, or None."""

    answer: Callable[[int, list[str]], tuple[list[str], list[str]] | None]
    #: of the node, to answer over an association of its own; None: over that of the request
    node_port: int | None = None
    #: status of the N-ACTION response
    action_status: int = 0x0000
    #: status of C-STORE responses by SOP class
    store_status: dict[str, int] = field(default_factory=dict)
    accepts_commitment: bool = True
    store_seconds: float = 0.0
    stored: list[str] = field(default_factory=list)
    #: transaction UID and SOP Instance UIDs of every request
    requests: list[tuple[str, list[str]]] = field(default_factory=list)
    reported: list[int | str] = field(default_factory=list)
    #: most objects that were being stored at one time, and instances that were so twice
    busiest: int = 0
    twice: list[str] = field(default_factory=list)

    def __enter__(self) -> CommitmentPeer:
        self._lock = threading.Lock()
        self._under_way: list[str] = []
        entity = AE(ae_title="PEER")
        for uid in STORAGE:
            entity.add_supported_context(uid)
        if self.accepts_commitment:
            entity.add_supported_context(PUSH_MODEL)
        entity.maximum_associations = 20
        self._server = entity.start_server(
            ("127.0.0.1", 0),
            block=False,
            evt_handlers=[(evt.EVT_C_STORE, self._on_store), (evt.EVT_N_ACTION, self._on_action)],
        )
        assert self._server is not None
        self.port: int = self._server.server_address[1]
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.shutdown()

    def _on_store(self, event: evt.Event) -> int:
        request = cast(C_STORE, event.request)
        uid = str(request.AffectedSOPInstanceUID)
        with self._lock:
            if uid in self._under_way:
                self.twice.append(uid)
            self._under_way.append(uid)
            self.busiest = max(self.busiest, len(self._under_way))
        time.sleep(self.store_seconds)
        with self._lock:
            self._under_way.remove(uid)
        status = self.store_status.get(str(request.AffectedSOPClassUID), 0x0000)
        if status == 0x0000:
            self.stored.append(uid)
        return status

    def _on_action(self, event: evt.Event) -> tuple[int, None]:
        asked = event.action_information
        uids = [str(item.ReferencedSOPInstanceUID) for item in asked.ReferencedSOPSequence]
        self.requests.append((str(asked.TransactionUID), uids))
        answer = self.answer(len(self.requests), uids)
        if answer is not None and self.action_status == 0x0000:
            information = event_information(str(asked.TransactionUID), *answer)
            kind = 2 if answer[1] else 1
            threading.Thread(target=self._report, args=(event.assoc, information, kind)).start()
        return self.action_status, None

    def _report(self, association: Any, information: Dataset, kind: int) -> None:
        # after the response to the request
        time.sleep(0.1)
        if self.node_port is not None:
            self.reported.append(report_to(self.node_port, information, kind))
            return
        status, _ = association.send_n_event_report(information, kind, PUSH_MODEL, INSTANCE)
        self.reported.append(int(status.Status) if "Status" in status else "no answer")
