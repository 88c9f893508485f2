"""Real servers that take alerts: HTTP, and SMTP with STARTTLS and a login."""

from __future__ import annotations

import base64
import json
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.programs import require_program


@dataclass
class Webhook:
    """What an HTTP server was sent, and what it answers."""

    port: int = 0
    status: int = 204
    location: str | None = None
    received: list[dict[str, Any]] = field(default_factory=list)
    authorization: list[str | None] = field(default_factory=list)


@contextmanager
def webhook() -> Iterator[Webhook]:
    """Run an HTTP server."""
    told = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if told.status < 300:
                told.received.append(json.loads(content))
                told.authorization.append(self.headers["Authorization"])
            self.send_response(told.status)
            if told.location:
                self.send_header("Location", told.location)
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.port = int(server.server_address[1])
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        try:
            yield told
        finally:
            server.shutdown()


def make_certificate(folder: Path, name: str = "localhost") -> Path:
    """Make a certificate of `name` and its key, in one PEM file."""
    file = folder / f"{name}.pem"
    subprocess.run(
        [
            *(require_program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}"),
            *("-addext", f"subjectAltName=DNS:{name}", "-keyout", str(folder / "key"), "-out", str(file)),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    with file.open("a") as both:
        both.write((folder / "key").read_text())
    return file


@dataclass
class MailServer:
    """What an SMTP server was sent, and how it behaves."""

    port: int = 0
    #: answer to MAIL FROM
    mail_answer: str = "250 fine"
    letters: list[EmailMessage] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)


class _Conversation(socketserver.StreamRequestHandler):
    told: MailServer
    certificate: Path | None

    def handle(self) -> None:
        self.encrypted = False
        self.say("220 localhost")
        while line := self.rfile.readline().decode().strip():
            if not self.answer(*line.partition(" ")[::2]):
                return

    def say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{each}\r\n" for each in lines).encode())

    def answer(self, verb: str, rest: str) -> bool:
        match verb.upper():
            case "EHLO":
                offers = (
                    ["250-AUTH PLAIN"] if self.encrypted else ["250-STARTTLS"] if self.certificate else []
                )
                self.say("250-localhost", *offers, "250 8BITMIME")
            case "STARTTLS":
                self.say("220 go on")
                self.encrypt()
            case "AUTH":
                self.told.logins.append(base64.b64decode(rest.partition(" ")[2]).decode())
                self.say("235 welcome")
            case "MAIL":
                self.say(self.told.mail_answer)
            case "DATA":
                self.say("354 go on")
                self.take()
                self.say("250 taken")
            case "QUIT":
                self.say("221 bye")
                return False
            case _:
                self.say("250 fine")
        return True

    def take(self) -> None:
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line)
        self.told.letters.append(message_from_bytes(b"".join(lines), policy=default))
        self.told.encrypted.append(self.encrypted)

    def encrypt(self) -> None:
        assert self.certificate is not None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        self.connection = context.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = (
            self.connection.makefile("rb"),
            self.connection.makefile("wb", buffering=0),
        )
        self.encrypted = True

    def finish(self) -> None:
        self.rfile.close()
        self.wfile.close()
        self.connection.close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that trusts no certificate of ours goes away in the middle."""


@contextmanager
def mail_server(certificate: Path | None = None) -> Iterator[MailServer]:
    """Run an SMTP server (RFC 5321), as far as a client that hands over one message needs it."""
    told = MailServer()
    conversation = type("Conversation", (_Conversation,), {"told": told, "certificate": certificate})
    with _Server(("127.0.0.1", 0), conversation) as server:
        told.port = int(server.server_address[1])
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        try:
            yield told
        finally:
            server.shutdown()
