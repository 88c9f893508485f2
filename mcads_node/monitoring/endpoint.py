"""The port at which the node tells how it is: plain HTTP, three pages, for this machine.

It is no part of the node's work: a port that is in use is told in the log, and the node runs without it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET6, socket
from typing import Any

import structlog

from mcads_node.errors import NodeError
from mcads_node.metrics import CONTENT_TYPE
from mcads_node.monitoring.health import Health

log = structlog.stdlib.get_logger(__name__)

#: a client that is slower is no monitoring system
_PATIENCE_SECONDS = 10.0
#: requests that are answered at the same time
_MOST_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class Pages:
    """What is answered; each is called from a thread of its own."""

    #: in Prometheus' text format
    metrics: Callable[[], bytes]
    liveness: Callable[[], Health]
    readiness: Callable[[], Health]
    #: who answers, in the JSON of both health pages
    identity: Mapping[str, Any]


class Endpoint:
    """An HTTP server of three pages.

    Parameters
    ----------
    host, port
        Where to listen; port 0: any free one.
    pages
        What is answered.
    """

    def __init__(self, host: str, port: int, pages: Pages) -> None:
        self._place = (host, port)
        self._pages = pages
        self._server: _Server | None = None

    @property
    def port(self) -> int | None:
        """The port it listens on; None where it does not."""
        return None if self._server is None else int(self._server.server_address[1])

    def start(self) -> None:
        """Listen, if the port can be had."""
        host, port = self._place
        try:
            self._server = _Server(self._place, self._pages)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            log.warning("monitoring.unavailable", host=host, port=port, reason=reason)
            return
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, name="monitoring", daemon=True
        ).start()
        log.info("monitoring.listening", host=host, port=self.port)

    def stop(self) -> None:
        """Listen no more."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, place: tuple[str, int], pages: Pages) -> None:
        self.pages = pages
        self._room = threading.BoundedSemaphore(_MOST_AT_ONCE)
        if ":" in place[0]:
            self.address_family = AF_INET6
        super().__init__(place, _Request)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, if there are not too many."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        """Say nothing: a client that went away is no affair of the node's."""


class _Request(BaseHTTPRequestHandler):
    server: _Server
    timeout = _PATIENCE_SECONDS
    protocol_version = "HTTP/1.1"
    server_version = "mcads-node"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with a page."""
        pages = self.server.pages
        match self.path.partition("?")[0]:
            case "/metrics":
                self._metrics(pages.metrics)
            case "/healthz":
                self._health(pages.liveness(), pages.identity)
            case "/readyz":
                self._health(pages.readiness(), pages.identity)
            case _:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"/metrics, /healthz, /readyz\n")

    do_HEAD = do_GET  # noqa: N815 - the name is http.server's

    def _metrics(self, metrics: Callable[[], bytes]) -> None:
        try:
            content = metrics()
        except NodeError as error:
            text = f"{error}\n".encode()
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", text)
            return
        self._answer(HTTPStatus.OK, CONTENT_TYPE, content)

    def _health(self, health: Health, identity: Mapping[str, Any]) -> None:
        status = HTTPStatus.OK if health.ok else HTTPStatus.SERVICE_UNAVAILABLE
        content = json.dumps({**identity, **health.as_json()}, ensure_ascii=False, indent=1).encode()
        self._answer(status, "application/json", content + b"\n")

    def _answer(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        """Log no requests: they come every few seconds."""
