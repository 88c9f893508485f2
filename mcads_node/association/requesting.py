"""An association that the node asks for: what pynetdicom's own lacks to say why one did not come about."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RSP
from pynetdicom.pdu_primitives import A_ASSOCIATE, SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import T_CONNECT, AddressInformation, AssociationSocket

from mcads_node import metrics
from mcads_node.association import MAX_PDU, Timeouts, configure, tune
from mcads_node.association.reactor import SharedAssociation
from mcads_node.association.tls_socket import TlsSocket
from mcads_node.errors import PeerUnreachable
from mcads_node.tls import PeerTls, failure_of

_SOP_CLASS_UID = 0x0000_0002
_ERROR_COMMENT = 0x0000_0902
_SOP_INSTANCE_UID = 0x0000_1000


@dataclass(frozen=True, kw_only=True)
class DestinationAddress:
    """Where a peer listens."""

    ae_title: str
    host: str
    port: int
    #: how it proves who it is; None: plain TCP
    tls: PeerTls | None = field(default=None, compare=False)

    def __str__(self) -> str:
        secured = "" if self.tls is None else " with TLS"
        return f"{self.ae_title} at {self.host} port {self.port}{secured}"


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who we are to a peer, and how long we wait for it."""

    #: our AE title
    ae_title: str
    timeouts: Timeouts = field(default_factory=Timeouts)
    #: bytes of one P-DATA-TF PDU that we are ready to take
    max_pdu: int = MAX_PDU


class Heard:
    """What an association tells besides its own attributes."""

    def __init__(self) -> None:
        #: when the connection came about, on the monotonic clock; None where it did not
        self.connected_at: float | None = None
        #: Error Comment of the last response
        self.comment = ""

    def on_open(self, event: evt.Event) -> None:
        """Handle EVT_CONN_OPEN."""
        self.connected_at = time.monotonic()
        transport = event.assoc.dul.socket
        if transport is not None and transport.socket is not None:
            tune(transport.socket, event.assoc.network_timeout)

    def on_message(self, event: evt.Event) -> None:
        """Handle EVT_DIMSE_RECV, before pynetdicom looks at the message.

        Text is taken as bytes: pydicom would validate what the peer wrote, and warn of it in its words. The
        UIDs of a response are optional and known.
        """
        if not isinstance(event.message, C_STORE_RSP):
            return
        command = event.message.command_set
        comment = command.get_item(_ERROR_COMMENT) if _ERROR_COMMENT in command else None
        value = b"" if comment is None else comment.value or b""
        self.comment = value.decode("ascii", errors="backslashreplace").strip("\0 ")
        for tag in (_ERROR_COMMENT, _SOP_CLASS_UID, _SOP_INSTANCE_UID):
            if tag in command:
                del command[tag]


class _Socket(socket.socket):
    """Remembers why it could not connect."""

    failure: OSError | None = None

    def connect(self, address: Any) -> None:
        try:
            super().connect(address)
        except OSError as error:
            self.failure = error
            raise


class _Transport(AssociationSocket):
    """pynetdicom's socket, which logs why a connection failed but tells nobody, and may leave it unclosed."""

    failure: OSError | None = None

    def _create_socket(self, address: AddressInformation) -> socket.socket:
        return _Socket(fileno=super()._create_socket(address).detach())

    def connect(self, primitive: T_CONNECT) -> None:
        connection = self.socket
        super().connect(primitive)
        if self.socket is None and connection is not None:
            connection.close()

    @property
    def ready(self) -> bool:
        if not isinstance(self.socket, TlsSocket) or not self._is_connected:
            return super().ready
        try:
            return self.socket.has_data()
        except (OSError, ValueError):
            # Evt17: the transport connection is closed
            self.event_queue.put("Evt17")
            return False

    def _shutdown_socket(self) -> None:
        connection = self.socket
        if isinstance(connection, _Socket | TlsSocket):
            self.failure = connection.failure or self.failure
        super()._shutdown_socket()
        # where the peer was quicker, shutdown raises in there and close is passed over
        if connection is not None:
            connection.close()


class _Entity(ApplicationEntity):
    def _create_socket(
        self,
        assoc: Association,
        address: AddressInformation,
        tls_args: tuple[ssl.SSLContext, str] | None,
    ) -> AssociationSocket:
        SharedAssociation.adopt(assoc)
        transport = _Transport(assoc, address=address)
        if tls_args is not None:
            tls_args[0].sslsocket_class = TlsSocket
            transport.tls_args = tls_args
        return transport


@contextlib.contextmanager
def associated(
    destination: DestinationAddress,
    contexts: Sequence[PresentationContext],
    caller: Caller,
    handlers: Sequence[tuple[evt.EventType, Callable[..., Any]]] = (),
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
) -> Iterator[tuple[Association, Heard]]:
    """Open an association, which may have no accepted context; release it, or abort it after an exception.

    Raises
    ------
    PeerUnreachable
        With the reason, as far as the peer or the operating system gave one; also where the association is
        gone by the time that the caller's block sends something.
    """
    heard = Heard()
    entity = _Entity(ae_title=caller.ae_title)
    configure(entity, caller.timeouts, caller.max_pdu)
    try:
        association = entity.associate(
            destination.host,
            destination.port,
            contexts=list(contexts),
            ae_title=destination.ae_title,
            max_pdu=caller.max_pdu,
            ext_neg=list(roles),
            tls_args=None if destination.tls is None else destination.tls.for_host(destination.host),
            evt_handlers=[
                (evt.EVT_CONN_OPEN, heard.on_open),
                (evt.EVT_DIMSE_RECV, heard.on_message),
                *handlers,
            ],
        )
    except OSError as error:
        raise PeerUnreachable(f"{destination}: {error.strerror or error}") from error
    no_context_accepted = bool(association.rejected_contexts) and not association.accepted_contexts
    if not association.is_established and not no_context_accepted:
        raise PeerUnreachable(f"{destination} {_why_not(association, heard)}")
    try:
        yield association, heard
        association.release()
    except (RuntimeError, ValueError) as error:
        # so pynetdicom answers a caller that sends after the peer has aborted
        if association.is_established or no_context_accepted:
            raise
        raise PeerUnreachable(f"{destination} aborted the association, or the connection was lost") from error
    finally:
        if association.is_established:
            association.abort()


def _why_not(association: Association, heard: Heard) -> str:
    rejection = _rejection(association)
    if rejection is not None:
        return f"rejected the association: {rejection.result_str}, {rejection.reason_str}"
    transport = association.dul.socket
    failure = transport.failure if isinstance(transport, _Transport) else None
    is_secured = transport is not None and transport.tls_args is not None
    if is_secured and isinstance(failure, ssl.SSLError | ConnectionResetError):
        metrics.tls_failed("out")
        return f"cannot be talked to: {failure_of(failure)}"
    if heard.connected_at is not None:
        timeout = association.acse_timeout or 0.0
        if time.monotonic() - heard.connected_at >= timeout:
            return f"did not answer the association request within {timeout:g} s"
        return "aborted the association, or closed the connection, instead of answering"
    said = "no reason given" if failure is None else failure.strerror or str(failure)
    return f"cannot be connected to: {said}"


def _rejection(association: Association) -> A_ASSOCIATE | None:
    if association.is_rejected:
        return cast(A_ASSOCIATE, association.acceptor.primitive)
    # a peer may reject and close before pynetdicom looks whether it is connected: the answer was not taken
    answer: object = association.dul.peek_next_pdu()
    return answer if isinstance(answer, A_ASSOCIATE) and answer.result else None
