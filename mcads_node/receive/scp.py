"""The receiver: Storage SCP and Verification SCP.

A peer's object takes this way: who may send is decided when it asks for the association; the bytes of a
data set arrive undecoded; `keep` writes them to the spool, commits one row, and returns the C-STORE status;
only then the peer is answered. What the peer calls its object (its UIDs) is text to be recorded, never a name
of anything here; see also ``stand_ins``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import cast
from weakref import WeakKeyDictionary, WeakSet

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ, C_STORE_RSP, DIMSEMessage
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import build_context

from mcads_node.association import MAX_PDU, Timeouts, configure
from mcads_node.draft import Draft
from mcads_node.errors import PeerUnreachable
from mcads_node.instance import Requestor
from mcads_node.receive.admission import UNDECIDED, Admission, Cause, Refusal, Rejection, plain_address
from mcads_node.receive.arrival import Arrival, arrival_of, encode_meta
from mcads_node.receive.commands import context_of, requestor_of, store_command
from mcads_node.receive.commitment import STRANGERS, CommitmentReports
from mcads_node.receive.content import Incoming
from mcads_node.receive.contexts import STORAGE_CLASSES, VERIFICATION, by_preference
from mcads_node.receive.crowd import MOST_STRANGERS, Crowd
from mcads_node.receive.handshake import Handshakes
from mcads_node.receive.listener import Connection, Listener, close, is_open
from mcads_node.receive.stand_ins import StandIns, spoken_uids
from mcads_node.tls import Tls

#: Error Comment (0000,0902) of what we refuse, at most 64 characters
_COMMENTS = {
    0x0117: "the SOP Instance UID is not a UID",
    0x0122: "SOP class differs from that of the presentation context",
    0xA700: "out of resources, try again later",
    0xA900: "data set does not match the command",
    0xC000: "the data set cannot be parsed",
    0xC111: "another object came before with this SOP Instance UID",
}


@dataclass(frozen=True, kw_only=True)
class ReceiverSettings:
    """Where the receiver listens, and what it takes from whom."""

    admission: Admission
    #: UIDs of all that can be decoded, in any order
    transfer_syntaxes: tuple[str, ...]
    #: SOP classes that are taken, with their names
    storage_classes: Mapping[str, str] = field(default_factory=lambda: STORAGE_CLASSES)
    #: address to bind
    host: str = "127.0.0.1"
    #: 0: any free one, read it back from `StorageScp.port`
    port: int = 0
    timeouts: Timeouts = field(default_factory=Timeouts)
    #: bytes of one P-DATA-TF PDU that peers may send
    max_pdu: int = MAX_PDU
    #: bytes of one object that are taken; None: no limit
    max_object: int | None = None
    #: None: plain TCP; otherwise nothing but TLS
    tls: Tls | None = None


class StorageScp:
    """Receives objects and answers C-ECHO.

    Parameters
    ----------
    settings
        Where to listen, and what is taken from whom.
    keep
        Keeps an object durably and returns the C-STORE status; called from many threads.
    on_rejected
        Told who was refused an association, or a presentation context, and why.
    is_congested
        Whether there is no room for more objects: then no association is accepted.
    reports
        Takes answers to requests for Storage Commitment; none are taken without it.
    begin
        Makes a file for an object that comes, given its file meta information; called from many threads.
        None: the object stays in memory until `keep` is called.
    """

    def __init__(
        self,
        settings: ReceiverSettings,
        keep: Callable[[Arrival], int],
        on_rejected: Callable[[Requestor, Refusal], None],
        is_congested: Callable[[], bool] = lambda: False,
        reports: CommitmentReports | None = None,
        begin: Callable[[bytes], Draft | None] = lambda _meta: None,
    ) -> None:
        self._settings = settings
        self._keep = keep
        self._on_rejected = on_rejected
        self._is_congested = is_congested
        self._reports = reports
        self._begin = begin
        self._server: Listener | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._admitted: WeakSet[Association] = WeakSet()
        #: objects received and not yet answered, and answers that are on their way
        self._unanswered: WeakKeyDictionary[Association, int] = WeakKeyDictionary()
        self._answering: WeakKeyDictionary[Association, int] = WeakKeyDictionary()
        self._stand_ins = StandIns()

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._server is None:
            raise RuntimeError("the receiver has not been started")
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Listen.

        Raises
        ------
        PeerUnreachable
            The address cannot be bound: in use, not ours, or not allowed.
        """
        settings = self._settings
        entity = ApplicationEntity(ae_title=settings.admission.ae_title)
        configure(entity, settings.timeouts, settings.max_pdu)
        # our own limit is `Admission`; pynetdicom's counts connections that never asked for anything as well
        entity.maximum_associations = settings.admission.max_associations + MOST_STRANGERS
        syntaxes = by_preference(settings.transfer_syntaxes)
        contexts = [build_context(sop_class, syntaxes) for sop_class in settings.storage_classes]
        try:
            self._server = Listener(
                entity,
                (settings.host, settings.port),
                settings.admission.ae_title,
                [*contexts, build_context(VERIFICATION), *([self._reports.context] if self._reports else [])],
                evt_handlers=[
                    (evt.EVT_REQUESTED, self._on_requested),
                    (evt.EVT_ACCEPTED, self._on_accepted),
                    (evt.EVT_DIMSE_RECV, self._on_message_received),
                    (evt.EVT_DIMSE_SENT, self._on_message_sent),
                    (evt.EVT_PDU_SENT, self._on_pdu_sent),
                    (evt.EVT_C_STORE, self._on_store),
                    *([(evt.EVT_N_EVENT_REPORT, self._reports.on_report)] if self._reports else []),
                ],
                request_handler=Connection,
            )
        except OSError as error:
            place = f"{settings.host} port {settings.port}"
            raise PeerUnreachable(f"cannot listen on {place}: {error.strerror or error}") from error
        self._server.crowd = Crowd(self._is_listed)
        self._server.on_crowded = self._on_crowded
        self._server.begin = self._begin_file
        self._server.longest_message = settings.max_object
        self._server.on_oversized = self._on_oversized
        tls = settings.tls
        if tls is not None:
            seconds = settings.timeouts.acse
            self._server.handshakes = Handshakes(lambda: tls.acceptor, seconds, self._on_insecure)
        self._server.listen()

    def stop(self, grace_seconds: float = 10.0) -> None:
        """Accept no more, finish what is being received, answer it, then close every association.

        Parameters
        ----------
        grace_seconds
            What has not arrived by then is cut off; its sender gets no answer and keeps it.
        """
        server, self._server = self._server, None
        if server is None:
            return
        deadline = time.monotonic() + grace_seconds
        self._stopping.set()
        server.shutdown()
        for association in server.active_associations:
            while self._is_busy(association) and time.monotonic() < deadline:
                time.sleep(0.01)
            close(association)

    # events, in the order in which an association has them; those marked DUL come from its reading thread

    def _is_listed(self, address: str) -> bool:
        reports = self._reports is not None and self._reports.knows(address)
        return reports or self._settings.admission.lists(address)

    def _on_crowded(self, address: str, objection: str) -> None:
        stranger = Requestor(ae_title="", address=plain_address(address), called_ae_title="")
        reason = f"{objection}; this one was closed before it asked for an association"
        self._on_rejected(stranger, Refusal(cause=Cause.LIMIT, reason=reason))

    def _on_oversized(self, association: Association) -> None:  # DUL
        most = (self._settings.max_object or 0) // 2**20
        reason = f"it sent an object of more than {most} MiB (receive.max_object_mib): aborted"
        self._on_rejected(requestor_of(association), Refusal(cause=Cause.TOO_LARGE, reason=reason))

    def _on_insecure(self, address: str, reason: str) -> None:
        stranger = Requestor(ae_title="", address=plain_address(address), called_ae_title="")
        self._on_rejected(stranger, Refusal(cause=Cause.TLS, reason=reason))

    def _on_requested(self, event: evt.Event) -> None:
        association = event.assoc
        # pynetdicom logs what a handler raises and goes on to accept: so the answer is no until it is yes
        rejection: Rejection | None = UNDECIDED
        try:
            rejection = self._decide(association)
        finally:
            if rejection is not None:
                association.acse.send_reject(rejection.result, rejection.source, rejection.diagnostic)
                # waits until the rejection is sent: the thread closes the socket when this handler returns
                association.kill()
                self._on_rejected(requestor_of(association), rejection)

    def _decide(self, association: Association) -> Rejection | None:
        requestor = requestor_of(association)
        congested = self._stopping.is_set() or self._is_congested()
        # outside the lock: it may have to wait for a name service
        reports = self._reports if self._reports and self._reports.admits(requestor) else None
        with self._lock:
            others = [requestor_of(each).ae_title for each in self._admitted if is_open(each)]
            rejection = self._settings.admission.decide(requestor, others, congested)
            full = congested or len(others) >= self._settings.admission.max_associations
            if reports is not None and not full and rejection is not None and rejection.cause in STRANGERS:
                # it may answer us though it may not send: nothing else is offered to it
                association.acceptor.supported_contexts = reports.only_contexts
                rejection = None
            if rejection is None:
                self._admitted.add(association)
        return rejection

    def _on_accepted(self, event: evt.Event) -> None:
        request = cast(A_ASSOCIATE, event.assoc.requestor.primitive)
        proposed = {each.context_id: each for each in request.presentation_context_definition_list}
        for refused in event.assoc.rejected_contexts:
            name = self._settings.storage_classes.get(str(refused.abstract_syntax))
            if name is not None:
                offered = ", ".join(proposed[refused.context_id].transfer_syntax)
                reason = f"{name} offered only in transfer syntaxes that cannot be read here: {offered}"
                refusal = Refusal(cause=Cause.NO_CONTEXT, reason=reason)
                self._on_rejected(requestor_of(event.assoc), refusal)

    def _on_message_received(self, event: evt.Event) -> None:  # DUL
        if not isinstance(event.message, C_STORE_RQ):
            return
        self._count(self._unanswered, event.assoc, +1)
        context = context_of(event.assoc, event.message)
        if context is not None:
            self._stand_ins.put_in(event.assoc, event.message.command_set, str(context.abstract_syntax))

    def _begin_file(self, association: Association, message: DIMSEMessage) -> Draft | None:  # DUL
        context = context_of(association, message)
        if not isinstance(message, C_STORE_RQ) or context is None:
            return None
        uids = spoken_uids(message.command_set)
        command = store_command(association, uids, context.abstract_syntax, context.transfer_syntax[0])
        return self._begin(encode_meta(command))

    def _on_store(self, event: evt.Event) -> Dataset:
        request = cast(C_STORE, event.request)
        instance_uid = str(request.AffectedSOPInstanceUID)
        odd = self._stand_ins.take_out(event.assoc, instance_uid)
        uids = odd or (str(request.AffectedSOPClassUID), instance_uid)
        command = store_command(
            event.assoc, uids, event.context.abstract_syntax, event.context.transfer_syntax
        )
        content = cast(Incoming, request.DataSet).content
        answer = Dataset()
        try:
            answer.Status = self._keep(arrival_of(command, content))
        finally:
            content.discard()
        if answer.Status in _COMMENTS:
            answer.ErrorComment = _COMMENTS[answer.Status]
        if odd is not None:
            # both are optional in a response, and a stand-in would mean nothing to the peer
            answer.AffectedSOPClassUID = answer.AffectedSOPInstanceUID = None
        return answer

    def _on_message_sent(self, event: evt.Event) -> None:
        # pynetdicom says so before it sends it
        if isinstance(event.message, C_STORE_RSP):
            self._count(self._answering, event.assoc, +1)

    def _on_pdu_sent(self, event: evt.Event) -> None:  # DUL
        if isinstance(event.pdu, P_DATA_TF) and self._answering.get(event.assoc, 0) > 0:
            self._count(self._answering, event.assoc, -1)
            self._count(self._unanswered, event.assoc, -1)
        # a peer with a long list sends its next object at once; when stopping, the gap between two is here
        if self._stopping.is_set() and not self._is_busy(event.assoc):
            event.assoc.abort(block=False)

    def _count(self, what: MutableMapping[Association, int], association: Association, step: int) -> None:
        with self._lock:
            what[association] = what.get(association, 0) + step

    def _is_busy(self, association: Association) -> bool:
        with self._lock:
            unanswered = self._unanswered.get(association, 0)
        return association.is_alive() and (unanswered > 0 or association.dimse.message is not None)
