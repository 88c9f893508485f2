"""The middle of a data set: as much of it at a time as has come, from the socket to its file.

pynetdicom takes one PDU after the other, and each passes a dozen of its objects and gives up the interpreter
some eight times. Over several associations at once the threads then spend their time handing it to each other
(docs/decisions/0035). Here whatever fragments have come are read by one call, joined in place, and added to
the file by another. The first fragment of a data set, its last, and anything unusual go pynetdicom's way.
"""

from __future__ import annotations

import os
import select
import ssl
import struct
from collections.abc import Callable

from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket

from mcads_node.receive.content import Incoming
from mcads_node.receive.transfer import HEADER, P_DATA_TF_TYPE, fragments

#: bytes that are read at a time; what PDU is longer goes pynetdicom's way
CAPACITY = 524_288
#: how long to wait for more before looking whether there is something to send, and for how long where there
#: soon will be
_LOOK_SECONDS, _ANSWER_SECONDS = 0.02, 0.01
#: first byte of a fragment: bit 0 is set in those of a command, bit 1 in the last (PS3.8 annex E.2)
_ONLY_MORE_OF_THE_DATA_SET = 0x03
_PDU = struct.Struct(">BxI")


class Bulk:
    """Stands in for how an association looks at its connection, which it has not begun to.

    Parameters
    ----------
    association, transport
        Whose connection it is.
    may_grow
        Whether the message that comes may be so many bytes longer.
    is_served
        Whether a request is being served, so that the next thing to happen is its answer.
    """

    def __init__(
        self,
        association: Association,
        transport: AssociationSocket,
        may_grow: Callable[[int], bool],
        is_served: Callable[[], bool],
    ) -> None:
        self._dul = association.dul
        self._dimse = association.dimse
        self._transport = transport
        self._may_grow, self._is_served = may_grow, is_served
        self._buffer = memoryview(b"")
        #: where in the buffer lies what was read and not looked at
        self._begin = self._end = 0
        self._recv, self._usual = transport.recv, self._dul._is_transport_event
        transport.recv = self._read  # type: ignore[method-assign]
        self._dul._is_transport_event = self._look  # type: ignore[method-assign]

    def _read(self, nr_bytes: int) -> bytearray:
        """Read so many bytes; first those that were read before."""
        ahead = self._buffer[self._begin : min(self._begin + nr_bytes, self._end)]
        if not ahead:
            return self._recv(nr_bytes)
        self._begin += len(ahead)
        whole = bytearray(ahead)
        return whole if len(whole) == nr_bytes else whole + self._recv(nr_bytes - len(whole))

    def _look(self) -> bool:
        """Look whether something came; True: it did, and the connection is not idle."""
        if not self._dul.event_queue.empty():
            return False
        incoming = self._under_way()
        if incoming is not None:
            return self._take(incoming)
        if self._dul.state_machine.current_state == "Sta13":
            # what a peer sends that was sent an abort is thrown away (AA-6), and its rest not waited for
            self._begin = self._end
        if self._begin < self._end:
            self._dul._read_pdu_data()
            return True
        if self._usual():
            return True
        if self._is_served():
            self._await_answer()
        return False

    def _under_way(self) -> Incoming | None:
        """Give the data set that comes, where more of it may be added without more ado."""
        message = self._dimse.message
        connection = self._transport.socket
        if message is None or connection is None or self._dul.state_machine.current_state != "Sta6":
            return None
        # what TLS has decrypted is not seen by `poll`, and no more than 16 KiB of it is given at a time
        if isinstance(connection, ssl.SSLSocket) or not connection.gettimeout():
            return None
        incoming = message.data_set
        return incoming if isinstance(incoming, Incoming) and incoming.is_begun else None

    def _take(self, incoming: Incoming) -> bool:
        """Take what comes, until it is something else, or nothing for a while."""
        came = False
        while True:
            if not self._add(incoming):
                # the first PDU is not one that can be added
                self._dul._read_pdu_data()
                return True
            try:
                got = self._fill()
            except OSError:
                got = 0
            if got is None:
                return came
            if not got:
                # Evt17 of PS3.8 table 9-10: the connection is closed
                self._begin = self._end = 0
                self._dul.event_queue.put("Evt17")
                return True
            came = True
            self._dul._idle_timer.restart()
            if self._dul._kill_thread or self._dul.to_provider_queue.queue:
                return came

    def _add(self, incoming: Incoming) -> bool:
        """Add the fragments of whole PDUs; False: what comes next is something else."""
        buffer, at, end, is_more = self._buffer, self._begin, self._end, True
        joined: list[memoryview] = []
        while at + HEADER <= end:
            kind, length = _PDU.unpack_from(buffer, at)
            if kind != P_DATA_TF_TYPE or HEADER + length > CAPACITY:
                is_more = False
                break
            if at + HEADER + length > end:
                break
            found = _more_of_the_data_set(buffer[at : at + HEADER + length])
            if found is None or not self._may_grow(sum(map(len, joined)) + sum(map(len, found))):
                is_more = False
                break
            joined += found
            at += HEADER + length
        if joined:
            incoming.write(self._join(joined))
        self._begin = at
        return is_more

    def _join(self, found: list[memoryview]) -> memoryview:
        """Move fragments together, to where the first of the PDUs begins."""
        if len(found) == 1:
            return found[0]
        at = self._begin
        for each in found:
            # also where both overlap
            self._buffer[at : at + len(each)] = each
            at += len(each)
        return self._buffer[self._begin : at]

    def _fill(self) -> int | None:
        """Read what there is; 0: the connection is closed, None: there is nothing."""
        if not self._buffer:
            self._buffer = memoryview(bytearray(CAPACITY))
        left = self._end - self._begin
        self._buffer[:left] = self._buffer[self._begin : self._end]
        self._begin, self._end = 0, left
        connection = self._transport.socket
        if connection is None:
            return 0
        try:
            # not `recv_into`, which waits first and so gives up the interpreter twice
            got = os.readv(connection.fileno(), [self._buffer[left:]])
        except BlockingIOError:
            if not self._wait(connection.fileno()):
                return None
            return self._fill()
        self._end += got
        return got

    def _wait(self, descriptor: int) -> bool:
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        return bool(waiting.poll(1000 * _LOOK_SECONDS))

    def _await_answer(self) -> None:
        """Wait for what is to be sent, rather than look for it every millisecond."""
        waiting = self._dul.to_provider_queue
        with waiting.not_empty:
            if not waiting.queue:
                waiting.not_empty.wait(_ANSWER_SECONDS)
        self._dul._process_recv_primitive()


def _more_of_the_data_set(pdu: memoryview) -> list[memoryview] | None:
    """Give the fragments of a P-DATA-TF, without control headers; None: they are not only such."""
    found = []
    try:
        for _, fragment in fragments(pdu):
            if fragment[0] & _ONLY_MORE_OF_THE_DATA_SET:
                return None
            found.append(fragment[1:])
    except (ValueError, struct.error):
        return None
    return found
