"""A listening socket for associations: what pynetdicom's own lacks to stand in an open network."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from socketserver import BaseServer
from typing import Any, cast

import structlog
from pydicom.errors import BytesLengthException
from pynetdicom.association import Association
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.fsm import InvalidEventError
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from mcads_node import pulse
from mcads_node.association import tune
from mcads_node.draft import Draft
from mcads_node.receive.admission import plain_address
from mcads_node.receive.bulk import Bulk
from mcads_node.receive.content import Incoming
from mcads_node.receive.crowd import Crowd, Peer
from mcads_node.receive.doorbell import Doorbell
from mcads_node.receive.handshake import Handshakes
from mcads_node.receive.transfer import shorten

#: the longest PDU that is read, where none twice as long is offered; an association request with all 128
#: contexts stays below it, as do the P-DATA of peers that disregard our limit by some factor
LONGEST_PDU = 1_048_576
#: a listening thread that is silent for longer stands still
_SILENCE_SECONDS = 120.0

#: what pynetdicom and pydicom raise over a command set that is none
_MALFORMED = (
    AttributeError,
    BytesLengthException,
    LookupError,
    NotImplementedError,
    TypeError,
    ValueError,
    struct.error,
)

log = structlog.stdlib.get_logger(__name__)


class Listener(ThreadedAssociationServer):
    """Hands each connection to a thread of its own."""

    request_queue_size = 128
    #: says who may wait to be asked in; set before `listen`
    crowd: Crowd
    #: told the address of a connection that was refused since there were too many, and why
    on_crowded: Callable[[str, str], None] | None = None
    #: bytes of a message, and of those that wait behind it; None: no limit
    longest_message: int | None = None
    #: told of an association that is ended for a longer one
    on_oversized: Callable[[Association], None] | None = None
    #: makes a file for the data set of a message whose command has come; None: it stays in memory. Set before
    #: `listen`
    begin: Callable[[Association, DIMSEMessage], Draft | None] = staticmethod(
        lambda _association, _message: None
    )
    #: makes TLS of connections; None: they are plain
    handshakes: Handshakes | None = None

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept a connection."""
        connection, address = super().get_request()
        tune(connection, self.ae.network_timeout)
        return connection, address

    def verify_request(self, _request: object, client_address: tuple[str, int]) -> bool:
        """Refuse a connection, unanswered, where there are too many: each costs two threads at once."""
        objection = self.crowd.objection(_peer(client_address), self._negotiating)
        if objection is not None and self.on_crowded is not None:
            self.on_crowded(client_address[0], objection)
        return objection is None

    def _negotiating(self) -> Iterator[Peer]:
        # those that are accepted are as many as `Admission` allows
        for each in self.active_associations:
            if not each.is_established:
                yield plain_address(each.requestor.address or ""), each.requestor.port or 0

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handle a connection in a thread of its own, in which it shakes hands too."""
        if self.handshakes is not None:
            self.handshakes.begin(request)
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            # no thread could be started
            self.crowd.arrived(_peer(client_address))
            if self.handshakes is not None:
                self.handshakes.end(request)
            raise

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Handle a connection, once it is secure where it must be."""
        handshakes, connection = self.handshakes, request
        try:
            if handshakes is not None:
                request = handshakes.secure(cast(socket.socket, connection), str(client_address[0]))
            if request is not None:
                super().finish_request(request, client_address)
        finally:
            # the association runs by now, and is counted as such
            self.crowd.arrived(_peer(client_address))
            if handshakes is not None:
                handshakes.end(connection)

    def listen(self) -> None:
        """Accept connections from now on, in a thread."""
        serving = {"poll_interval": 0.1}
        threading.Thread(target=self.serve_forever, kwargs=serving, name="receiver", daemon=True).start()

    def service_actions(self) -> None:
        """Give a sign of life, several times a second."""
        pulse.beat(within=_SILENCE_SECONDS)

    def shutdown(self) -> None:
        """Accept no more; associations go on."""
        # past pynetdicom's own, which removes the server from a list that only its start_server() puts it on
        BaseServer.shutdown(self)
        if self.handshakes is not None:
            # first, since what follows waits for their threads
            self.handshakes.close()
        self.server_close()
        pulse.rest("receiver")


def _peer(client_address: tuple[Any, ...]) -> Peer:
    return plain_address(str(client_address[0])), int(client_address[1])


class Connection(RequestHandler):
    """Makes the association of one connection."""

    def _create_association(self) -> Association:
        association = super()._create_association()
        transport = association.dul.socket
        if transport is None:
            raise ConnectionError("the connection is gone")
        shorten(association, transport, max(LONGEST_PDU, 2 * self.ae.maximum_pdu_size))
        _Vigilance(association, transport, cast(Listener, self.server))
        return association


class _Vigilance:
    """Ends an association whose peer sends what is none; pynetdicom's reading thread would die of it."""

    def __init__(self, association: Association, transport: AssociationSocket, listener: Listener) -> None:
        self._association = association
        self._listener = listener
        #: bytes of messages that were complete and not looked at, when the last of them was
        self._waiting = 0
        self._transport = transport
        self._machine = association.dul.state_machine
        self._told = False
        #: the association's thread waits for a request
        self._is_awaited = True
        #: a request has come whole, and is not answered
        self._is_served = False
        Bulk(association, transport, self._may_grow, lambda: self._is_served)
        self._doorbell = Doorbell()
        association._reactor_checkpoint = self._doorbell
        self._receive, self._act = association.dimse.receive_primitive, self._machine.do_action
        association.dimse.receive_primitive = self._receive_primitive  # type: ignore[method-assign]
        self._machine.do_action = self._do_action  # type: ignore[method-assign]

    def _receive_primitive(self, primitive: P_DATA) -> None:
        dimse = self._association.dimse
        came = sum(len(data) for _, data in primitive.presentation_data_value_list)
        length = self._length_with(came)
        if not self._may_grow(came):
            self._refuse_to_grow()
            return
        try:
            self._receive(primitive)
            if dimse.message is None:
                self._waiting = length
                self._is_served = True
        except _MALFORMED as error:
            # not its text, which may quote the message
            self._tell(type(error).__name__)
            # Evt19 of PS3.8 table 9-10, an invalid PDU: answered by an abort
            self._association.dul.event_queue.put("Evt19")

    def _may_grow(self, by: int) -> bool:
        """Whether the message that comes may be so many bytes longer."""
        longest = self._listener.longest_message
        return longest is None or self._length_with(by) <= longest

    def _length_with(self, more: int) -> int:
        """Bytes of the message that comes with so many more, and of those that wait."""
        waiting = 0 if self._association.dimse.msg_queue.empty() else self._waiting
        return waiting + _length(self._message()) + more

    def _message(self) -> DIMSEMessage:
        """Give the message that comes; one that begins is put where its data set goes to a file."""
        association = self._association
        message = association.dimse.message
        if message is None:
            begun = association.dimse.message = DIMSEMessage()
            begun.data_set = Incoming(lambda: self._listener.begin(association, begun))
            return begun
        return message

    def _let_go(self) -> None:
        """Give up a message of which no more will come."""
        message, self._association.dimse.message = self._association.dimse.message, None
        if message is not None and isinstance(message.data_set, Incoming):
            message.data_set.discard()

    def _refuse_to_grow(self) -> None:
        if self._told:
            return
        self._told = True
        if self._listener.on_oversized is not None:
            self._listener.on_oversized(self._association)
        self._let_go()
        self._association.dul.event_queue.put("Evt19")

    def _do_action(self, event: str) -> None:
        if event == "Evt19":
            self._tell("InvalidPDU")
            if self._machine.current_state == "Sta13":
                # it was sent an abort, and goes on: every six bytes of noise would be sent another
                self._cut_off()
                return
        try:
            self._act(event)
        except (*_MALFORMED, InvalidEventError) as error:
            # its state is not known any more: without an answer
            self._tell(type(error).__name__)
            self._cut_off()
        if event == "Evt9":
            # P-DATA was sent: the answer
            self._is_served = False
        self._doorbell.ring()
        if event == "Evt6":
            self._is_awaited = False
        elif self._machine.current_state == "Sta1":
            self._let_go()
            self._give_up_waiting()

    def _tell(self, kind: str) -> None:
        if not self._told:
            log.warning("association.malformed", address=self._association.requestor.address, error=kind)
        self._told = True

    def _cut_off(self) -> None:
        self._association.dul.kill_dul()
        connection = self._transport.socket
        self._transport.close()
        # where the peer was quicker, shutdown raises in there and close is passed over
        if connection is not None:
            connection.close()
        self._let_go()
        self._give_up_waiting()

    def _give_up_waiting(self) -> None:
        """End the thread that waits for a request, where none will come any more."""
        if self._is_awaited:
            self._is_awaited = False
            # what it finds in the queue when the time is up
            self._association.dul.to_user_queue.put(None)


def _length(message: DIMSEMessage) -> int:
    """Bytes that have come of a message."""
    return message.encoded_command_set.tell() + cast(BytesIO, message.data_set).tell()


def is_open(association: Association) -> bool:
    """Whether an association is being negotiated or in use."""
    ended = association.is_released or association.is_aborted or association.is_rejected
    return association.is_alive() and not ended


def close(association: Association) -> None:
    """End an association for good, whatever its peer does."""
    # another thread may just have aborted it: what tells the peer so is still to be sent
    is_ending = association.is_established or association.is_aborted
    if association.is_established:
        association.abort(block=False)
    if is_ending:
        deadline = time.monotonic() + 1.0
        while not _is_idle(association) and time.monotonic() < deadline:
            time.sleep(0.005)
    transport = association.dul.socket
    if transport is not None and transport.socket is not None:
        # wakes a thread that waits for the rest of a PDU
        with contextlib.suppress(OSError):
            # not SSLSocket's own, which takes TLS off while another thread may be sending
            socket.socket.shutdown(transport.socket, socket.SHUT_RDWR)
    association.kill()


def _is_idle(association: Association) -> bool:
    # Sta1 of PS3.8 table 9-4: no association and no connection
    return association.dul.state_machine.current_state == "Sta1" or not association.dul.is_alive()
