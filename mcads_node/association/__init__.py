"""What all that speak DICOM share of pynetdicom: its configuration, and who we say we are.

pynetdicom's configuration is global to the process; it is set here, on import, and nowhere else.
"""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass

from pynetdicom import _config
from pynetdicom.ae import ApplicationEntity

from mcads_node.product import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

# The default event handlers describe messages, and at debug level whole data sets: PHI. Without them, and
# with its level held at WARNING whatever the root logger says, the library's log holds UIDs, AE titles and
# addresses.
_config.LOG_HANDLER_LEVEL = "none"
_config.LOG_REQUEST_IDENTIFIERS = False
_config.LOG_RESPONSE_IDENTIFIERS = False
logging.getLogger("pynetdicom").setLevel(logging.WARNING)


def _quote_nothing(record: logging.LogRecord) -> bool:
    """Leave the type of what a library raised: its text may quote a data set that could not be decoded."""
    if isinstance(record.msg, BaseException):
        record.msg, record.args, record.exc_info = type(record.msg).__name__, None, None
    return True


logging.getLogger("pynetdicom.association").addFilter(_quote_nothing)
# A file is sent as the bytes it holds, neither decoded nor encoded anew.
_config.STORE_SEND_CHUNKED_DATASET = True

#: bytes of one P-DATA-TF PDU that we are ready to take, where nothing else is configured; 128 KiB carries a
#: 10 MB image in 80 of them
MAX_PDU = 131_072


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """How long the node waits for a peer, in seconds."""

    #: for a TCP connection
    connect: float = 10.0
    #: for an answer to an association or release request, and for the request after a connection (ARTIM)
    acse: float = 30.0
    #: for the answer to a DIMSE request, from the moment its last byte was sent
    dimse: float = 60.0
    #: without a byte from the peer, or without the peer taking one
    network: float = 60.0


def configure(entity: ApplicationEntity, timeouts: Timeouts, max_pdu: int = MAX_PDU) -> None:
    """Give a pynetdicom AE our versions, limits and timeouts."""
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.maximum_pdu_size = max_pdu
    entity.connection_timeout = timeouts.connect
    entity.acse_timeout = timeouts.acse
    entity.dimse_timeout = timeouts.dimse
    entity.network_timeout = timeouts.network


def tune(connection: socket.socket, network_timeout: float | None) -> None:
    """Make a socket fit for DICOM: no send or receive waits for ever, no small PDU waits for company."""
    # pynetdicom leaves sockets blocking: a peer that stalls within a PDU would hold its threads for good
    connection.settimeout(network_timeout)
    # Nagle's algorithm and delayed acknowledgements together cost up to 40 ms an object
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
