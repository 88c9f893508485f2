"""A listening socket for associations: what pynetdicom's own lacks to stand in an open network."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from socketserver import BaseServer

from pynetdicom.association import Association
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from mcads_node.association import MAX_PDU, tune

#: the longest PDU that is read; an association request with all 128 contexts stays below it, as do the
#: P-DATA of peers that disregard our limit by some factor
LONGEST_PDU = 8 * MAX_PDU
#: connections that have not asked for an association yet, or are being refused one
MOST_STRANGERS = 100


class Listener(ThreadedAssociationServer):
    """Hands each connection to a thread of its own."""

    request_queue_size = 128

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept a connection."""
        connection, address = super().get_request()
        tune(connection, self.ae.network_timeout)
        return connection, address

    def verify_request(self, _request: object, _client_address: object) -> bool:
        """Refuse a connection, unanswered, where there are too many: each costs two threads at once."""
        return len(self.active_associations) <= self.ae.maximum_associations

    def listen(self) -> None:
        """Accept connections from now on, in a thread."""
        serving = {"poll_interval": 0.1}
        threading.Thread(target=self.serve_forever, kwargs=serving, name="receiver", daemon=True).start()

    def shutdown(self) -> None:
        """Accept no more; associations go on."""
        # past pynetdicom's own, which removes the server from a list that only its start_server() puts it on
        BaseServer.shutdown(self)
        self.server_close()


class Connection(RequestHandler):
    """Makes the association of one connection."""

    def _create_association(self) -> Association:
        association = super()._create_association()
        transport = association.dul.socket
        if transport is None:
            raise ConnectionError("the connection is gone")
        read = transport.recv

        def recv(nr_bytes: int) -> bytearray:
            # pynetdicom reads whatever length a PDU's header claims, up to 4 GiB, from anyone
            if nr_bytes > LONGEST_PDU:
                raise OSError(f"a PDU of {nr_bytes} bytes was announced, at most {LONGEST_PDU} are read")
            return read(nr_bytes)

        transport.recv = recv  # type: ignore[method-assign]
        return association


def is_open(association: Association) -> bool:
    """Whether an association is being negotiated or in use."""
    ended = association.is_released or association.is_aborted or association.is_rejected
    return association.is_alive() and not ended


def close(association: Association) -> None:
    """End an association for good, whatever its peer does."""
    if association.is_established:
        association.abort(block=False)
        deadline = time.monotonic() + 1.0
        while not _is_idle(association) and time.monotonic() < deadline:
            time.sleep(0.005)
    transport = association.dul.socket
    if transport is not None and transport.socket is not None:
        # wakes a thread that waits for the rest of a PDU
        with contextlib.suppress(OSError):
            transport.socket.shutdown(socket.SHUT_RDWR)
    association.kill()


def _is_idle(association: Association) -> bool:
    # Sta1 of PS3.8 table 9-4: no association and no connection
    return association.dul.state_machine.current_state == "Sta1" or not association.dul.is_alive()
