"""OHIF's files and an Orthanc's DICOMweb under one origin, so that a browser lets them mix."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).parent
#: the prebuilt viewer
DIST = HERE / "node_modules" / "@ohif" / "app" / "dist"

#: what the browser's requests carry on to Orthanc, and what comes back
_ASKED = ("Accept", "Content-Type")
_ANSWERED = ("Content-Type", "Content-Location", "Location")


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *arguments: object, orthanc_port: int) -> None:
        self._orthanc_port = orthanc_port
        super().__init__(*arguments, directory=str(DIST))  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if self.path.startswith("/dicom-web/"):
            self._proxy()
        else:
            super().do_GET()

    def _proxy(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._orthanc_port, timeout=60)
        # Host as the browser named it: Orthanc writes it into the addresses of bulk data
        headers = {"Host": self.headers["Host"]}
        headers |= {name: self.headers[name] for name in _ASKED if name in self.headers}
        try:
            connection.request("GET", self.path, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        self.send_response(answer.status)
        for name in _ANSWERED:
            if value := answer.getheader(name):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def translate_path(self, path: str) -> str:
        asked = path.partition("?")[0]
        if asked == "/app-config.js":
            return str(HERE / "app-config.js")
        found = super().translate_path(path)
        # a page of the viewer's own router
        return found if Path(found).is_file() else str(DIST / "index.html")

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: the browser reports what it could not get."""


@contextmanager
def viewer(orthanc_port: int) -> Iterator[str]:
    """Serve OHIF on loopback, with the DICOMweb of the Orthanc on `orthanc_port`; gives the origin."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, orthanc_port=orthanc_port))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
