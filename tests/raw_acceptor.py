"""An association acceptor that answers C-STORE as it is told to, byte by byte: any status, or silence."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.peers import command_elements, element, pdu


@dataclass(frozen=True)
class Reply:
    """What a C-STORE is answered."""

    status: int = 0x0000
    comment: bytes = b""
    #: instead of an answer: ``silence``, ``abort``, ``close``, or ``early``: close before the data set came
    instead: str = ""


@dataclass
class RawAcceptor:
    """Listens on loopback; `reply` is asked with the SOP Instance UID of each object."""

    reply: Callable[[str], Reply] = lambda _uid: Reply()
    #: accept connections but never answer the association request
    mute: bool = False
    #: 0: any free one
    wanted_port: int = 0
    #: with it, TLS
    context: ssl.SSLContext | None = None
    #: SOP Instance UID and data set of every object, when it has arrived
    objects: list[tuple[str, bytes]] = field(default_factory=list)
    associations: int = 0

    def __enter__(self) -> RawAcceptor:
        self._listening = socket.create_server(("127.0.0.1", self.wanted_port))
        self.port: int = self._listening.getsockname()[1]
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # shutdown, not close alone: that would not wake the thread in accept()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self.mute:
                connection.recv(1)
                return
            if self.context is not None:
                connection = self.context.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        uid, data = "", b""
        while True:
            kind, content = _read_pdu(connection)
            if kind == 0x01:
                self.associations += 1
                connection.sendall(_accept_all(content))
            elif kind == 0x05:
                connection.sendall(pdu(0x06, bytes(4)))
            elif kind != 0x04:
                connection.close()
                return
            else:
                context, control, fragment = content[4], content[5], content[6:]
                if control & 1:
                    uid = command_elements(fragment)[0x1000].rstrip(b"\0").decode()
                    data = b""
                    if self.reply(uid).instead == "early":
                        connection.close()
                        return
                    continue
                data += fragment
                if control & 2:
                    self.objects.append((uid, data))
                    self._answer(connection, context, self.reply(uid))

    def _answer(self, connection: socket.socket, context: int, reply: Reply) -> None:
        if reply.instead == "abort":
            connection.sendall(pdu(0x07, bytes(4)))
        elif reply.instead == "close":
            connection.shutdown(socket.SHUT_RDWR)
        if reply.instead:
            return
        body = element(0, 0x0100, b"\x01\x80") + element(0, 0x0120, b"\x01\x00")
        body += element(0, 0x0800, b"\x01\x01") + element(0, 0x0900, struct.pack("<H", reply.status))
        if reply.comment:
            body += element(0, 0x0902, reply.comment)
        body += element(0, 0x1000, b"../not/a/uid")
        command = element(0, 0x0000, struct.pack("<I", len(body))) + body
        connection.sendall(pdu(0x04, struct.pack(">IBB", len(command) + 2, context, 3) + command))


def _accept_all(request: bytes) -> bytes:
    """Answer an A-ASSOCIATE-RQ: every context with its first transfer syntax."""
    items, at = b"", 68
    while at < len(request):
        kind, length = struct.unpack_from(">BxH", request, at)
        content = request[at + 4 : at + 4 + length]
        if kind == 0x10:
            items += request[at : at + 4 + length]
        elif kind == 0x20:
            (abstract,) = struct.unpack_from(">H", content, 6)
            syntax = content[8 + abstract :]
            items += struct.pack(">BxHBBBB", 0x21, 4 + len(syntax), content[0], 0, 0, 0) + syntax
        at += 4 + length
    user = struct.pack(">BxHI", 0x51, 4, 16384) + struct.pack(">BxH", 0x52, 7) + b"1.2.3.4"
    items += struct.pack(">BxH", 0x50, len(user)) + user
    return pdu(0x02, request[:68] + items)


def _read_pdu(connection: socket.socket) -> tuple[int, bytes]:
    header = _read(connection, 6)
    if len(header) < 6:
        return 0, b""
    kind, length = struct.unpack(">BxI", header)
    return kind, _read(connection, length)


def _read(connection: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            break
        data += part
    return bytes(data)
