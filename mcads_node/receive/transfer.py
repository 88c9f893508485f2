"""The bytes of a PDU from the socket to the message, without a copy too many (docs/decisions/0032).

pynetdicom asks the socket for 4096 bytes at a time, and copies what came five times before it is part of a
message: of a radiograph of 10 MB that is 2500 calls, each of which gives up the interpreter and takes it
again. Here a PDU is read into one buffer, and the fragments in it are views of that buffer.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, cast

from pynetdicom.association import Association
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.pdu_items import PresentationDataValueItem
from pynetdicom.transport import AssociationSocket

#: PDU type of P-DATA-TF, and the event that one makes (PS3.8 section 9.3.5 and table 9-10)
P_DATA_TF_TYPE, _RECEIVED = 0x04, "Evt10"
#: PDU type, reserved, length: before the items of a P-DATA-TF
HEADER = 6
#: item length and presentation context ID: before a fragment (PS3.8 table 9-23)
_ITEM = struct.Struct(">IB")


def shorten(association: Association, transport: AssociationSocket, longest: int) -> None:
    """Have an association that has not begun read PDUs the short way, none longer than `longest` bytes."""
    transport.recv = reader(transport, longest)  # type: ignore[method-assign, assignment]
    usual = association.dul._decode_pdu

    def decode_pdu(pdu: bytearray) -> tuple[Any, str]:
        return (decode(pdu), _RECEIVED) if pdu[0] == P_DATA_TF_TYPE else usual(pdu)

    association.dul._decode_pdu = decode_pdu  # type: ignore[method-assign, assignment]


def reader(transport: AssociationSocket, longest: int) -> Callable[[int], bytearray]:
    """Return a function that reads so many bytes; fewer where the peer closes the connection."""

    def recv(nr_bytes: int) -> bytearray:
        # pynetdicom reads whatever length a PDU's header claims, up to 4 GiB, from anyone
        if nr_bytes > longest:
            raise OSError(f"a PDU of {nr_bytes} bytes was announced, at most {longest} are read")
        if transport.socket is None:
            raise OSError("the connection is closed")
        buffer, filled = bytearray(nr_bytes), 0
        with memoryview(buffer) as view:
            while filled < nr_bytes and (got := transport.socket.recv_into(view[filled:])):
                filled += got
        return buffer if filled == nr_bytes else buffer[:filled]

    return recv


def decode(pdu: bytearray) -> P_DATA_TF:
    """Make a P-DATA-TF of its bytes; its fragments are views of them."""
    decoded = P_DATA_TF()
    decoded.presentation_data_value_items = [_item(*each) for each in fragments(pdu)]
    return decoded


def _item(context_id: int, fragment: memoryview) -> PresentationDataValueItem:
    item = PresentationDataValueItem()
    item.presentation_context_id = context_id
    # as good as bytes for all that pynetdicom does with it
    item.presentation_data_value = cast(bytes, fragment)
    return item


def fragments(pdu: bytearray | memoryview) -> Iterator[tuple[int, memoryview]]:
    """Give presentation context ID and fragment, with its control header, of each item of a P-DATA-TF.

    Raises
    ------
    ValueError, struct.error
        Items are longer than the PDU, or shorter than they can be.
    """
    whole, at = memoryview(pdu), HEADER
    while at < len(pdu):
        length, context_id = _ITEM.unpack_from(pdu, at)
        # the length counts the context ID; that of an empty fragment leaves no room for the control header
        begin, at = at + _ITEM.size, at + _ITEM.size + length - 1
        if not begin < at <= len(pdu):
            raise ValueError("an item of a P-DATA-TF is not within it")
        yield context_id, whole[begin:at]
