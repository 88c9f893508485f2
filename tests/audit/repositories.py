"""Audit repositories for tests: real sockets that take syslog, and a strict reader of RFC 5424."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, fromstring

from tests.programs import require_program

SCHEMA = Path(__file__).with_name("audit-message.rng")

#: RFC 5424 section 6, without structured data, which we never send
_MESSAGE = re.compile(
    rb"<(?P<pri>0|[1-9][0-9]{0,2})>(?P<version>[1-9][0-9]?) "
    rb"(?P<stamp>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)) "
    rb"(?P<host>[!-~]{1,255}) (?P<app>[!-~]{1,48}) (?P<process>[!-~]{1,128}) (?P<msgid>[!-~]{1,32}) - "
    rb"\xef\xbb\xbf(?P<xml>.*)",
    re.DOTALL,
)


@dataclass(frozen=True, kw_only=True)
class Syslog:
    """One syslog message, taken apart."""

    facility: int
    severity: int
    at: datetime
    host: str
    app: str
    process: str
    msgid: str
    xml: bytes

    @classmethod
    def of(cls, raw: bytes) -> Syslog:
        found = _MESSAGE.fullmatch(raw)
        assert found, raw
        assert found["version"] == b"1"
        facility, severity = divmod(int(found["pri"]), 8)
        return cls(
            facility=facility,
            severity=severity,
            at=datetime.fromisoformat(found["stamp"].decode()),
            host=found["host"].decode(),
            app=found["app"].decode(),
            process=found["process"].decode(),
            msgid=found["msgid"].decode(),
            xml=found["xml"],
        )

    @property
    def root(self) -> Element:
        return fromstring(self.xml)


def attribute(root: Element, path: str, name: str) -> str:
    """Value of an attribute of the one element at `path`."""
    (found,) = root.findall(path)
    return found.attrib[name]


def event(root: Element) -> tuple[str, str | None, str, str]:
    """Event ID, type, action and outcome of a message."""
    identification = root.find("EventIdentification")
    assert identification is not None
    kind = identification.find("EventTypeCode")
    return (
        attribute(identification, "EventID", "csd-code"),
        None if kind is None else kind.attrib["csd-code"],
        identification.attrib["EventActionCode"],
        identification.attrib["EventOutcomeIndicator"],
    )


def complaint(xml: bytes) -> str:
    """What xmllint has to say against a message; empty where it fits the schema."""
    done = subprocess.run(
        [require_program("xmllint"), "--noout", "--nonet", "--relaxng", str(SCHEMA), "-"],
        input=xml,
        capture_output=True,
        timeout=30,
        check=False,
    )
    return "" if done.returncode == 0 else done.stderr.decode()


class Receiver:
    """Takes what comes; `port` may be one that was used before."""

    def __init__(
        self, port: int = 0, context: ssl.SSLContext | None = None, *, datagrams: bool = False
    ) -> None:
        kind = socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM
        self._listener = socket.socket(socket.AF_INET, kind)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._context = context
        self._raw: list[bytes] = []
        self._connections: list[socket.socket] = []
        self._ended = False
        if not datagrams:
            self._listener.listen()
        work = self._datagrams if datagrams else self._accept
        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()

    @property
    def messages(self) -> list[Syslog]:
        return [Syslog.of(raw) for raw in list(self._raw)]

    def wait_for(self, count: int, seconds: float = 10.0) -> list[Syslog]:
        """Wait until so many messages are here."""
        wait_until(lambda: len(self._raw) >= count, seconds)
        return self.messages

    def hang_up(self) -> None:
        """End every connection; new ones are taken."""
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._connections.clear()

    def close(self) -> None:
        self._ended = True
        # wakes the thread that accepts, or receives
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", ("127.0.0.1", self.port))
        self._listener.close()
        self.hang_up()
        self._thread.join(5)

    def _datagrams(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._listener.recv(65536):
                self._raw.append(data)

    def _accept(self) -> None:
        while not self._ended:
            try:
                connection, _ = self._listener.accept()
                if self._context is not None:
                    connection = self._context.wrap_socket(connection, server_side=True)
            except OSError:
                continue
            self._connections.append(connection)
            threading.Thread(target=self._stream, args=(connection,), daemon=True).start()

    def _stream(self, connection: socket.socket) -> None:
        """Read frames of octet counting: MSG-LEN SP SYSLOG-MSG."""
        with contextlib.suppress(OSError), connection.makefile("rb") as stream:
            while True:
                length = b""
                while (digit := stream.read(1)) not in (b" ", b""):
                    length += digit
                if not digit:
                    return
                assert re.fullmatch(rb"[1-9][0-9]*", length), length
                data = stream.read(int(length))
                if len(data) == int(length):
                    self._raw.append(data)


@contextlib.contextmanager
def receiving(
    port: int = 0, context: ssl.SSLContext | None = None, *, datagrams: bool = False
) -> Iterator[Receiver]:
    """Run a repository."""
    receiver = Receiver(port, context, datagrams=datagrams)
    try:
        yield receiver
    finally:
        receiver.close()


def wait_until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)
