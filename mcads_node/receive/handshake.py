"""The TLS handshake of a connection that a peer has opened: in a thread of its own, and for so long only."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable

from mcads_node.errors import PeerUnreachable
from mcads_node.tls import failure_of

#: RFC 8446 section 5.1: a record of the handshake begins with its content type
_HANDSHAKE = b"\x16"
#: PS3.8 section 9.3.1: an A-ASSOCIATE-RQ begins with its PDU type
_ASSOCIATE_RQ = b"\x01"
#: how long a peer that was refused may take to read why
_FAREWELL_SECONDS = 1.0


class Handshakes:
    """The connections of a listener that are not secure yet. Safe to share between threads.

    Parameters
    ----------
    context
        Asked for each connection, so that new certificates are used as soon as they are there.
    seconds
        What is not finished by then has failed.
    on_failure
        Told the peer's address, and why.
    """

    def __init__(
        self,
        context: Callable[[], ssl.SSLContext],
        seconds: float,
        on_failure: Callable[[str, str], None],
    ) -> None:
        self._context = context
        self._seconds = seconds
        self._on_failure = on_failure
        self._lock = threading.Lock()
        #: by the identity of what was accepted, which wrapping leaves empty
        self._open: dict[int, socket.socket] = {}
        self._is_closed = False

    def __len__(self) -> int:
        """How many there are."""
        return len(self._open)

    def begin(self, connection: socket.socket) -> None:
        """Count a connection, from now until `end`."""
        with self._lock:
            self._open[id(connection)] = connection

    def end(self, connection: socket.socket) -> None:
        """Count it no more."""
        with self._lock:
            self._open.pop(id(connection), None)

    def secure(self, connection: socket.socket, address: str) -> ssl.SSLSocket | None:
        """Make TLS of a connection; where that fails, close it, tell of it, and give None."""
        secured = None
        try:
            _listen_for_tls(connection, self._seconds)
            secured = self._shake_hands(connection)
        except PeerUnreachable as failure:
            connection.close()
            if not self._is_closed:
                self._on_failure(address, str(failure))
        except ConnectionError:
            # a load balancer or a monitor that only looks whether somebody is there
            connection.close()
        return secured

    def close(self) -> None:
        """Cut off every one of them: the node stops."""
        with self._lock:
            self._is_closed = True
            for connection in self._open.values():
                with contextlib.suppress(OSError):
                    # not SSLSocket's own, which would let the other thread go on in plain text
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def _shake_hands(self, connection: socket.socket) -> ssl.SSLSocket:
        key, timeout = id(connection), connection.gettimeout()
        try:
            secured = self._context().wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        except OSError as error:
            raise ConnectionError(str(error)) from error
        with self._lock:
            self._open[key] = secured
        try:
            # of the handshake as a whole, not of each of its reads
            secured.settimeout(self._seconds)
            secured.do_handshake()
            secured.settimeout(timeout)
        except OSError as error:
            _dismiss(secured)
            raise PeerUnreachable(failure_of(error)) from error
        return secured


def _dismiss(secured: ssl.SSLSocket) -> None:
    """Close a connection so that the peer can read the alert that was sent."""
    # with TLS 1.3 it may have sent a request already; closing with that unread would reset the connection
    deadline = time.monotonic() + _FAREWELL_SECONDS
    with secured, contextlib.suppress(OSError):
        socket.socket.shutdown(secured, socket.SHUT_WR)
        secured.settimeout(_FAREWELL_SECONDS)
        while time.monotonic() < deadline and socket.socket.recv(secured, 65_536):
            pass


def _listen_for_tls(connection: socket.socket, seconds: float) -> None:
    """Wait for a connection's first byte, and leave it there.

    Raises
    ------
    PeerUnreachable
        It is none of TLS, or it does not come.
    ConnectionError
        The peer has closed the connection without a word.
    """
    timeout, begun = connection.gettimeout(), time.monotonic()
    try:
        connection.settimeout(seconds)
        first = connection.recv(1, socket.MSG_PEEK)
        connection.settimeout(timeout)
    except TimeoutError as error:
        waited = time.monotonic() - begun
        raise PeerUnreachable(f"it said nothing within {waited:.0f} s; expected TLS") from error
    except OSError as error:
        raise ConnectionError(str(error)) from error
    if not first:
        raise ConnectionError("closed without a word")
    if first == _ASSOCIATE_RQ:
        raise PeerUnreachable("it asked for an association in plain text; expected TLS")
    if first != _HANDSHAKE:
        raise PeerUnreachable("what it sent is no TLS")
