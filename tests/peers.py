"""Real peers for the tests of the network: DCMTK's programs, Orthanc, and one that writes its own bytes."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import socket
import struct
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.programs import require_program

#: DCMTK leaves Nagle's algorithm on unless told otherwise
_ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


def _candidates() -> Iterator[int]:
    """Ports below those the system hands out, so that no connection takes one: this worker's share."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = range(20_000 + worker, 32_000, workers)
    first = random.randrange(len(ports))
    return itertools.cycle([*ports[first:], *ports[:first]])


_PORTS = _candidates()


def free_port() -> int:
    """Return a port nothing listens on, for programs that cannot say which one they were given.

    A port that the system picks (port 0) may be the local end of somebody's connection a moment later, and
    the program that was told it cannot listen there.
    """
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("unreachable: the ports go round")


def wait_for_port(port: int, process: subprocess.Popen[bytes], seconds: float = 20.0) -> None:
    """Wait until something listens on `port` of loopback."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"{process.args!r} ended with {process.returncode} before it listened")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError(f"nothing listens on port {port} after {seconds} s")


@contextlib.contextmanager
def running(*command: str, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a daemon, with its output in ``<program>.log``, and end it."""
    log = cwd / f"{Path(command[0]).name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=cwd, env=_ENVIRONMENT, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            # a stopped process takes no other signal
            process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A peer that listens on loopback."""

    ae_title: str
    port: int
    process: subprocess.Popen[bytes]
    #: where it keeps what it received
    folder: Path
    #: of its HTTP interface; 0 where it has none
    http_port: int = 0
    host: str = "127.0.0.1"

    def files(self) -> list[Path]:
        """List what storescp received, by name."""
        return sorted(each for each in self.folder.iterdir() if each.is_file())

    def get(self, path: str) -> Any:
        """Ask Orthanc's REST interface; JSON."""
        return json.loads(self.get_bytes(path))

    def post(self, path: str, body: str) -> Any:
        """Post to Orthanc's REST interface; JSON."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", body.encode())
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read())

    def get_bytes(self, path: str) -> bytes:
        """Ask Orthanc's REST interface."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=10) as answer:
            data: bytes = answer.read()
            return data


def run(program: str, *arguments: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run a program of DCMTK to its end; stdout and stderr are joined in ``stdout``."""
    return subprocess.run(
        [require_program(program), *arguments],
        env=_ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )


def storescu(
    port: int, *arguments: str, calling: str = "MODALITY", called: str = "MCADS"
) -> subprocess.CompletedProcess[str]:
    """Send files with DCMTK's storescu, verbosely."""
    return run("storescu", "-v", "-aet", calling, "-aec", called, "127.0.0.1", str(port), *arguments)


def echoscu(
    port: int, *arguments: str, calling: str = "MODALITY", called: str = "MCADS"
) -> subprocess.CompletedProcess[str]:
    """Send a C-ECHO with DCMTK's echoscu, verbosely."""
    return run("echoscu", "-v", "-aet", calling, "-aec", called, *arguments, "127.0.0.1", str(port))


@contextlib.contextmanager
def storescp(folder: Path, *arguments: str, ae_title: str = "STORESCP") -> Iterator[Peer]:
    """Run DCMTK's storescp, which writes what it gets bit by bit (``+B``) to ``folder/received``."""
    received = folder / "received"
    received.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [
        require_program("storescp"),
        "-v",
        "-aet",
        ae_title,
        "-od",
        str(received),
        *arguments,
        str(port),
    ]
    with running(*command, cwd=folder) as process:
        wait_for_port(port, process)
        yield Peer(ae_title=ae_title, port=port, process=process, folder=received)


@contextlib.contextmanager
def choosy_storescp(folder: Path, *kinds: tuple[str, str]) -> Iterator[Peer]:
    """Run DCMTK's storescp, which accepts these SOP classes in these transfer syntaxes and no others."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["[[TransferSyntaxes]]"]
    lines += [f"[Syntax{number}]\nTransferSyntax1 = {syntax}" for number, (_, syntax) in enumerate(kinds)]
    lines += ["[[PresentationContexts]]", "[Accepted]"]
    lines += [
        f"PresentationContext{number + 1} = {sop_class}\\Syntax{number}"
        for number, (sop_class, _) in enumerate(kinds)
    ]
    lines += ["[[Profiles]]", "[Peer]", "PresentationContexts = Accepted"]
    configuration = folder / "storescp.cfg"
    configuration.write_text("\n".join(lines) + "\n")
    with storescp(folder, "-xf", str(configuration), "Peer") as peer:
        yield peer


@contextlib.contextmanager
def orthanc(folder: Path, **settings: object) -> Iterator[Peer]:
    """Run Orthanc with an empty store in `folder`; `settings` are keys of its configuration."""
    port, http_port = int(str(settings.get("DicomPort") or free_port())), free_port()
    configuration = {
        "Name": "tests",
        "StorageDirectory": str(folder / "orthanc"),
        "IndexDirectory": str(folder / "orthanc"),
        "DicomServerEnabled": True,
        "DicomAet": "ORTHANC",
        "DicomPort": port,
        "DicomCheckCalledAet": True,
        "HttpPort": http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True,
        "Plugins": [],
        **settings,
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "orthanc.json"
    file.write_text(json.dumps(configuration))
    with running(require_program("Orthanc"), str(file), cwd=folder) as process:
        wait_for_port(http_port, process)
        wait_for_port(port, process)
        peer = Peer(
            ae_title="ORTHANC", port=port, process=process, folder=folder / "orthanc", http_port=http_port
        )
        _wait_for_answer(peer)
        yield peer


def _wait_for_answer(peer: Peer) -> None:
    for _ in range(200):
        with contextlib.suppress(urllib.error.URLError):
            peer.get("/system")
            return
        time.sleep(0.05)
    raise AssertionError("Orthanc does not answer on HTTP")


# a peer that writes its own bytes


def element(group: int, number: int, value: bytes) -> bytes:
    """One element in implicit VR little endian; `value` is not padded."""
    return struct.pack("<HHI", group, number, len(value)) + value


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(content)) + content


def pdu(kind: int, content: bytes) -> bytes:
    """One PDU (PS3.8 section 9.3)."""
    return struct.pack(">BxI", kind, len(content)) + content


def associate_rq(calling: bytes, called: bytes, *contexts: tuple[str, str]) -> bytes:
    """Encode an A-ASSOCIATE-RQ whose contexts 1, 3, 5 … are pairs of abstract and transfer syntax."""
    items = _item(0x10, b"1.2.840.10008.3.1.1.1")
    for index, (abstract, transfer) in enumerate(contexts):
        syntaxes = _item(0x30, abstract.encode()) + _item(0x40, transfer.encode())
        items += _item(0x20, struct.pack("BBBB", 2 * index + 1, 0, 0, 0) + syntaxes)
    items += _item(0x50, _item(0x51, struct.pack(">I", 16384)) + _item(0x52, b"1.2.3.4"))
    return pdu(0x01, struct.pack(">HH16s16s32x", 1, 0, called.ljust(16), calling.ljust(16)) + items)


@dataclass
class RawPeer:
    """An association requestor that sends what it is told to, byte by byte."""

    connection: socket.socket

    @classmethod
    def connect(cls, port: int, seconds: float = 10.0) -> RawPeer:
        """Open a connection, without a word."""
        return cls(socket.create_connection(("127.0.0.1", port), timeout=seconds))

    @classmethod
    def associate(cls, port: int, *contexts: tuple[str, str], calling: bytes = b"MODALITY") -> RawPeer:
        """Open an association; the answer must be an A-ASSOCIATE-AC."""
        peer = cls.connect(port)
        peer.connection.sendall(associate_rq(calling, b"MCADS", *contexts))
        kind, _ = peer.read_pdu()
        assert kind == 0x02, f"PDU of type {kind} instead of A-ASSOCIATE-AC"
        return peer

    def read_pdu(self) -> tuple[int, bytes]:
        """Type and content of the next PDU; type 0 where the connection ends."""
        header = self._read(6)
        if len(header) < 6:
            return 0, b""
        kind, length = struct.unpack(">BxI", header)
        return kind, self._read(length)

    def store(self, sop_class_uid: bytes, sop_instance_uid: bytes | None, dataset: bytes) -> int:
        """Send a C-STORE-RQ on context 1 and return the status of the response."""
        self.send_command(sop_class_uid, sop_instance_uid)
        self.send_fragment(0x02, dataset)
        return self.read_status()

    def send_command(self, sop_class_uid: bytes, sop_instance_uid: bytes | None) -> None:
        """Send the command set of a C-STORE-RQ, without its data set."""
        body = element(0, 0x0002, sop_class_uid) + element(0, 0x0100, b"\x01\x00")
        body += element(0, 0x0110, b"\x01\x00") + element(0, 0x0700, b"\x00\x00")
        body += element(0, 0x0800, b"\x00\x00")
        if sop_instance_uid is not None:
            body += element(0, 0x1000, sop_instance_uid)
        self.send_fragment(0x03, element(0, 0x0000, struct.pack("<I", len(body))) + body)

    def send_fragment(self, control: int, content: bytes) -> None:
        """Send a P-DATA-TF with one fragment on context 1."""
        value = struct.pack(">IBB", len(content) + 2, 1, control) + content
        self.connection.sendall(pdu(0x04, value))

    def read_status(self) -> int:
        """Read the response, and give its status (0000,0900)."""
        kind, content = self.read_pdu()
        assert kind == 0x04, f"PDU of type {kind} instead of P-DATA-TF"
        return int.from_bytes(command_elements(content[6:])[0x0900], "little")

    def close(self) -> None:
        """End the connection without releasing the association."""
        self.connection.close()

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.connection.recv(count - len(data))
            if not part:
                break
            data += part
        return data


def command_elements(data: bytes) -> dict[int, bytes]:
    """Values of a command set by element number."""
    elements, at = {}, 0
    while at < len(data):
        _, number, length = struct.unpack_from("<HHI", data, at)
        elements[number] = data[at + 8 : at + 8 + length]
        at += 8 + length
    return elements
