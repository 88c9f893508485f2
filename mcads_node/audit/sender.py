"""The way to the audit repository: UDP (RFC 5426), TCP with octet counting (RFC 6587), TLS (RFC 5425).

Syslog acknowledges nothing. What was given to a connection that breaks may be lost, and neither side knows; a
connection that the repository has closed is noticed before the next message is put into it.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mcads_node.audit.syslog import octet_counted
from mcads_node.errors import PeerUnreachable

#: for a connection, a handshake, and for the repository to take a message
_PATIENCE_SECONDS = 10.0


class Transport(StrEnum):
    """How messages travel."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"


@dataclass(frozen=True, kw_only=True)
class Repository:
    """Where the audit repository listens, and how it is talked to."""

    host: str
    port: int
    transport: Transport
    #: PEM file of the authorities that its certificate is checked against; None: those of the system
    ca: Path | None = None
    #: PEM files of the node's own certificate and key, shown to the repository
    certificate: Path | None = None
    key: Path | None = None

    def __str__(self) -> str:
        return f"{self.host} port {self.port} ({self.transport})"


class Sender:
    """Gives syslog messages to a repository, one at a time; connects where it is not connected.

    Parameters
    ----------
    repository
        Where to, and how.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._connection: socket.socket | None = None

    def send(self, message: bytes) -> None:
        """Send one syslog message.

        Raises
        ------
        PeerUnreachable
            The repository cannot be connected to, or did not take the message; it may be tried again.
        """
        try:
            if self._connection is not None and self._has_ended(self._connection):
                self.close()
            if self._connection is None:
                self._connection = self._connect()
            datagrams = self._repository.transport is Transport.UDP
            self._connection.sendall(message if datagrams else octet_counted(message))
        except (OSError, ValueError) as error:
            # ValueError: a host name that cannot be one
            self.close()
            reason = getattr(error, "strerror", None) or str(error)
            raise PeerUnreachable(f"the audit repository at {self._repository}: {reason}") from error

    def close(self) -> None:
        """End the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with contextlib.suppress(OSError, ValueError):
            if isinstance(connection, ssl.SSLSocket):
                # close_notify (RFC 5425 section 4.4); the answer to it is not waited for
                connection.settimeout(0.0)
                connection.unwrap()
        connection.close()

    def _connect(self) -> socket.socket:
        repository = self._repository
        if repository.transport is Transport.UDP:
            family, kind, protocol, _, address = socket.getaddrinfo(
                repository.host, repository.port, type=socket.SOCK_DGRAM
            )[0]
            connection = socket.socket(family, kind, protocol)
            # connected, so that an ICMP "port unreachable" comes back as an error of the next send
            connection.connect(address)
            return connection
        connection = socket.create_connection((repository.host, repository.port), timeout=_PATIENCE_SECONDS)
        if repository.transport is Transport.TCP:
            return connection
        try:
            return self._tls().wrap_socket(connection, server_hostname=repository.host)
        except (OSError, ValueError):
            connection.close()
            raise

    def _tls(self) -> ssl.SSLContext:
        # made for each connection: certificates that were renewed are read again
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=self._repository.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._repository.certificate is not None:
            context.load_cert_chain(self._repository.certificate, self._repository.key)
        return context

    def _has_ended(self, connection: socket.socket) -> bool:
        """Whether the other end has closed the connection; it has nothing else to say."""
        if self._repository.transport is Transport.UDP:
            return False
        connection.settimeout(0.0)
        try:
            return connection.recv(1024) == b""
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        finally:
            connection.settimeout(_PATIENCE_SECONDS)
