"""Associations with TLS, in either direction: DCMTK, Orthanc, and peers that are not what they should be."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian

from mcads_node.association import Timeouts
from mcads_node.association.tls_socket import TlsSocket
from mcads_node.deliver.send import Answer, Caller, DestinationAddress, EchoResult, Outgoing, echo, send
from mcads_node.instance import Requestor
from mcads_node.pull.fetching import Hands, fetch, find
from mcads_node.pull.query import StudyQuery
from mcads_node.pull.scu import Incoming, Source
from mcads_node.read.transfer_syntaxes import TRANSFER_SYNTAXES
from mcads_node.receive.admission import Admission, AllowedRequestor, Cause, Refusal
from mcads_node.receive.arrival import Arrival
from mcads_node.receive.crowd import MOST_STRANGERS
from mcads_node.receive.scp import ReceiverSettings, StorageScp
from mcads_node.tls import PeerTls, Tls, TlsFiles, now
from tests import documents
from tests.certificates import Authority, Issued
from tests.part10_files import DX_FOR_PRESENTATION, data_set_bytes, radiograph, write
from tests.peers import RawPeer, associate_rq, echoscu, free_port, orthanc, storescp, storescu
from tests.programs import require_program
from tests.raw_acceptor import RawAcceptor

CALLER = Caller(ae_title="MODALITY", timeouts=Timeouts(connect=5, acse=5, dimse=5, network=5))
EXPIRED = "its certificate is not accepted: certificate has expired"
UNKNOWN_CA = "its certificate is of no CA in node.tls.ca"


@dataclass
class Certificates:
    """What the tests' parties show each other."""

    ca: Authority
    node: Issued
    peer: Issued
    expired: Issued
    other_ca: Authority
    #: of the other CA
    stranger: Issued
    #: with the kind of key that every peer can use
    rsa: Issued

    @classmethod
    def in_folder(cls, folder: Path) -> Certificates:
        ca, other = Authority(folder / "ca"), Authority(folder / "other", "Other CA")
        return cls(
            ca=ca,
            node=ca.issue("node", "127.0.0.1", "node.example"),
            peer=ca.issue("peer", "127.0.0.1", "peer.example"),
            expired=ca.issue("expired", "127.0.0.1", ends=timedelta(hours=-1)),
            other_ca=other,
            stranger=other.issue("stranger", "127.0.0.1"),
            rsa=ca.issue("rsa", "127.0.0.1", key=rsa.generate_private_key(65537, 2048)),
        )


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.in_folder(tmp_path_factory.mktemp("certificates"))


def dcmtk(issued: Issued, ca: Authority) -> tuple[str, ...]:
    """Options of a DCMTK program that has this certificate and trusts this CA."""
    return ("+tls", str(issued.key), str(issued.certificate), "+cf", str(ca.certificate))


@dataclass
class Receiving:
    """A receiver with TLS, and what it was told."""

    port: int
    arrivals: list[Arrival] = field(default_factory=list)
    refusals: list[tuple[Requestor, Refusal]] = field(default_factory=list)

    def refusal(self) -> Refusal:
        """Wait for the one refusal."""
        wait_until(lambda: len(self.refusals) == 1)
        who, why = self.refusals.pop()
        assert who == Requestor(ae_title="", address="127.0.0.1", called_ae_title="")
        assert why.cause is Cause.TLS
        return why


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@contextlib.contextmanager
def receiving(tls: Tls, acse: float = 10.0, network: float = 10.0) -> Iterator[Receiving]:
    admission = Admission(
        ae_title="MCADS",
        requestors=(AllowedRequestor(ae_title="MODALITY", address="127.0.0.1"),),
        max_associations=4,
    )
    settings = ReceiverSettings(
        admission=admission,
        transfer_syntaxes=TRANSFER_SYNTAXES,
        timeouts=Timeouts(acse=acse, network=network),
        tls=tls,
    )
    found = Receiving(port=0)

    def keep(arrival: Arrival) -> int:
        found.arrivals.append(arrival)
        return 0x0000

    scp = StorageScp(settings, keep, lambda who, why: found.refusals.append((who, why)))
    scp.start()
    found.port = scp.port
    try:
        yield found
    finally:
        scp.stop(1.0)


@pytest.fixture
def receiver(certificates: Certificates) -> Iterator[Receiving]:
    with receiving(Tls(certificates.ca.files(certificates.node))) as found:
        yield found


def peer_at(port: int, tls: Tls | None, ae_title: str = "STORESCP", **terms: Any) -> DestinationAddress:
    peer = None if tls is None else PeerTls(tls=tls, **terms)
    return DestinationAddress(ae_title=ae_title, host="127.0.0.1", port=port, tls=peer)


def why_not(result: EchoResult) -> str:
    assert result.milliseconds is None
    return str(result.reason)


# receiving


def test_storescu_sends_over_tls(receiver: Receiving, certificates: Certificates, tmp_path: Path) -> None:
    sent = radiograph(900, 700)
    file = write(sent, tmp_path / "image.dcm")
    done = storescu(receiver.port, *dcmtk(certificates.peer, certificates.ca), str(file))
    assert done.returncode == 0, done.stdout
    (arrival,) = receiver.arrivals
    assert arrival.sop_instance_uid == sent.SOPInstanceUID
    assert arrival.dataset == data_set_bytes(file.read_bytes())
    assert receiver.refusals == []


def test_what_is_not_allowed_is_refused_and_told_while_others_go_on(
    receiver: Receiving, certificates: Certificates
) -> None:
    right = dcmtk(certificates.peer, certificates.ca)
    unfit = {
        "its certificate is not accepted: certificate has expired": dcmtk(
            certificates.expired, certificates.ca
        ),
        "its certificate is of no CA in node.tls.ca (unable to get local issuer certificate)": dcmtk(
            certificates.stranger, certificates.ca
        ),
        "it presented no certificate": ("+tla", "-ic"),
        "it ended TLS with the alert unknown ca": dcmtk(certificates.peer, certificates.other_ca),
        "it asked for an association in plain text; expected TLS": (),
    }
    for reason, options in unfit.items():
        assert echoscu(receiver.port, *options).returncode != 0, reason
        assert receiver.refusal().reason == reason
        assert echoscu(receiver.port, *right).returncode == 0, reason
    assert receiver.refusals == []


def test_who_may_send_is_still_asked(receiver: Receiving, certificates: Certificates) -> None:
    done = echoscu(receiver.port, *dcmtk(certificates.peer, certificates.ca), calling="STRANGER")
    assert done.returncode != 0
    wait_until(lambda: len(receiver.refusals) == 1)
    assert receiver.refusals[0][1].cause is Cause.UNKNOWN_AE_TITLE


def test_peers_without_a_certificate_may_be_let_in(certificates: Certificates) -> None:
    files = certificates.ca.files(certificates.node, require_client_certificate=False)
    with receiving(Tls(files)) as receiver:
        assert echoscu(receiver.port, "+tla", "-ic").returncode == 0
        assert echoscu(receiver.port).returncode != 0
        assert "plain text" in receiver.refusal().reason


def test_peers_that_say_nothing_hold_nobody_and_are_cut_off(certificates: Certificates) -> None:
    with receiving(Tls(certificates.ca.files(certificates.node)), acse=1.0) as receiver:
        mute = [RawPeer.connect(receiver.port) for _ in range(20)]
        # begins a record of TLS, and never ends it
        mute[0].connection.sendall(b"\x16\x03\x01\x02\x00\x01")
        begun = time.monotonic()
        assert echoscu(receiver.port, *dcmtk(certificates.peer, certificates.ca)).returncode == 0
        assert time.monotonic() - begun < 1.0
        wait_until(lambda: len(receiver.refusals) == 20)
        reasons = [why.reason for _, why in receiver.refusals]
        assert reasons.count("it said nothing within 1 s; expected TLS") == 19
        assert reasons.count("the TLS handshake was not finished in time") == 1
        for peer in mute:
            assert peer.connection.recv(1) == b""
            peer.close()


def test_connections_that_say_nothing_are_limited(certificates: Certificates) -> None:
    files = certificates.ca.files(certificates.node)
    threads = threading.active_count()
    with receiving(Tls(files), acse=30.0) as receiver:
        mute = [RawPeer.connect(receiver.port) for _ in range(MOST_STRANGERS + 30)]
        wait_until(lambda: any(why.cause is Cause.LIMIT for _, why in receiver.refusals))
        assert threading.active_count() <= threads + MOST_STRANGERS + 10
        begun = time.monotonic()
    # a stop does not wait for them
    assert time.monotonic() - begun < 3.0
    for peer in mute:
        peer.close()
    wait_until(lambda: threading.active_count() <= threads)


def test_nothing_is_left_of_failed_handshakes(certificates: Certificates) -> None:
    with receiving(Tls(certificates.ca.files(certificates.node)), acse=2.0) as receiver:
        right = dcmtk(certificates.peer, certificates.ca)
        assert echoscu(receiver.port, *right).returncode == 0
        wait_until(lambda: "AcceptorThread" not in str(threading.enumerate()))
        files, threads = descriptors(), threading.active_count()
        wrong = [associate_rq(b"MODALITY", b"MCADS"), b"GET / HTTP/1.0\r\n\r\n", b"\x16" * 300]
        for number in range(60):
            peer = RawPeer.connect(receiver.port)
            peer.connection.sendall(wrong[number % 3])
            peer.close()
        wait_until(lambda: len(receiver.refusals) == 60)
        wait_until(lambda: threading.active_count() <= threads)
        wait_until(lambda: descriptors() <= files)
        assert echoscu(receiver.port, *right).returncode == 0


def test_one_who_only_looks_whether_the_port_is_open_is_not_told_of(
    receiver: Receiving, certificates: Certificates
) -> None:
    RawPeer.connect(receiver.port).close()
    assert echoscu(receiver.port, *dcmtk(certificates.peer, certificates.ca)).returncode == 0
    assert receiver.refusals == []


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def client(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certificates.ca.certificate)
    context.load_cert_chain(certificates.peer.certificate, certificates.peer.key)
    return context


def negotiated(context: ssl.SSLContext, port: int) -> tuple[str | None, str]:
    """Shake hands; give the version and the cipher suite."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        cipher = secured.cipher()
        assert cipher is not None
        return secured.version(), cipher[0]


def test_versions_and_cipher_suites_are_those_of_the_profile(
    receiver: Receiving, certificates: Certificates
) -> None:
    context = client(certificates)
    assert negotiated(context, receiver.port)[0] == "TLSv1.3"
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert negotiated(context, receiver.port) == ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384")
    receiver.refusals.clear()
    for cipher in ("ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-CHACHA20-POLY1305", "AES128-GCM-SHA256"):
        context.set_ciphers(cipher)
        with pytest.raises(ssl.SSLError):
            negotiated(context, receiver.port)
        assert receiver.refusal().reason == "it offers no cipher suite that is allowed here"


def test_tls_1_1_is_refused(receiver: Receiving, certificates: Certificates) -> None:
    context = client(certificates)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        negotiated(context, receiver.port)
    assert receiver.refusal().reason == "it offers no TLS 1.2 or later"


def test_a_new_association_uses_new_certificates(certificates: Certificates, tmp_path: Path) -> None:
    ca = Authority(tmp_path)
    first = ca.issue("node", "127.0.0.1")
    tls = Tls(ca.files(first))
    options = dcmtk(ca.issue("peer", "127.0.0.1"), ca)
    with receiving(tls) as receiver:
        assert echoscu(receiver.port, *options).returncode == 0
        # another CA and another certificate, put in place of the first ones
        new = Authority(tmp_path, "New CA")
        new.issue("node", "127.0.0.1")
        tls.reload()
        assert echoscu(receiver.port, *dcmtk(new.issue("peer2", "127.0.0.1"), new)).returncode == 0
        assert receiver.refusals == []
        old = (*options[:3], "+cf", str(new.certificate))
        assert echoscu(receiver.port, *old).returncode != 0
        assert receiver.refusal().reason.startswith(UNKNOWN_CA)


# requesting


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_storescp_receives_over_tls(
    certificates: Certificates, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    tls = Tls(certificates.ca.files(certificates.node))
    tls.requestor(verify_host=True).maximum_version = version
    objects = [
        Outgoing.of_file(write(radiograph(600, 600, ExplicitVRLittleEndian), tmp_path / f"{number}.dcm"))
        for number in range(5)
    ]
    answers: dict[Outgoing, Answer] = {}
    with storescp(tmp_path, *dcmtk(certificates.rsa, certificates.ca), "+B") as peer:
        send(peer_at(peer.port, tls), objects, answers.__setitem__, CALLER)
        assert [answers[each].status for each in objects] == [0x0000] * 5
        received = {data_set_bytes(file.read_bytes()) for file in peer.files()}
    assert received == {data_set_bytes(each.path.read_bytes()) for each in objects}


def test_a_receiver_of_ours_is_called_over_tls_1_3(receiver: Receiving, certificates: Certificates) -> None:
    tls = Tls(certificates.ca.files(certificates.peer))
    assert echo(peer_at(receiver.port, tls, "MCADS"), CALLER).succeeded
    assert why_not(echo(peer_at(receiver.port, None, "MCADS"), CALLER)).endswith("instead of answering")
    assert "plain text" in receiver.refusal().reason
    for issued, alert in (
        (certificates.expired, "certificate expired"),
        (certificates.stranger, "unknown ca"),
    ):
        unfit = Tls(certificates.ca.files(issued))
        told = why_not(echo(peer_at(receiver.port, unfit, "MCADS"), CALLER))
        assert told.endswith(f"with TLS cannot be talked to: it ended TLS with the alert {alert}")
        assert receiver.refusal().reason.startswith(EXPIRED if issued is certificates.expired else UNKNOWN_CA)


def test_a_peer_that_sends_tickets_first_is_understood(certificates: Certificates, tmp_path: Path) -> None:
    """As most servers with TLS 1.3 do: what is readable then is no PDU."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.peer.certificate, certificates.peer.key)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 4
    outgoing = Outgoing.of_file(write(radiograph(300, 300), tmp_path / "image.dcm"))
    answers: list[Answer] = []
    with RawAcceptor(context=context) as peer:
        destination = peer_at(peer.port, Tls(certificates.ca.files(certificates.node)))
        send(destination, [outgoing], lambda _, answer: answers.append(answer), CALLER)
    assert [answer.status for answer in answers] == [0x0000]


def test_a_readable_socket_need_not_have_data(certificates: Certificates) -> None:
    """A ticket, or half a record: whoever waited for the rest could not send meanwhile."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificates.peer.certificate, certificates.peer.key)
    server.minimum_version = ssl.TLSVersion.TLSv1_3
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    acceptor = server.wrap_bio(incoming, outgoing, server_side=True)
    context = Tls(certificates.ca.files(certificates.node)).requestor(verify_host=True)
    context.sslsocket_class = TlsSocket
    here, there = socket.socketpair()
    with here, there:
        secured = context.wrap_socket(here, server_hostname="127.0.0.1", do_handshake_on_connect=False)
        assert isinstance(secured, TlsSocket)
        with secured:
            shaking = threading.Thread(target=secured.do_handshake)
            shaking.start()
            while True:
                with contextlib.suppress(ssl.SSLWantReadError):
                    acceptor.do_handshake()
                    break
                there.sendall(outgoing.read())
                incoming.write(there.recv(65536))
            shaking.join(10)
            tickets = outgoing.read()
            assert tickets
            there.sendall(tickets)
            assert not secured.has_data()
            acceptor.write(b"0123456789")
            record = outgoing.read()
            there.sendall(record[:-1])
            assert not secured.has_data()
            there.sendall(record[-1:])
            assert secured.has_data()
            assert (secured.recv(6), secured.has_data(), secured.recv(6)) == (b"012345", True, b"6789")
            assert not secured.has_data()
            there.close()
            assert secured.has_data()
            assert secured.recv(6) == b""


def test_peers_that_are_not_who_they_should_be_are_told_of(
    certificates: Certificates, tmp_path: Path
) -> None:
    tls = Tls(certificates.ca.files(certificates.node))
    names = certificates.ca.issue("names", "peer.example")
    with storescp(tmp_path / "a", *dcmtk(names, certificates.ca)) as peer:
        mismatch = "IP address mismatch, certificate is not valid for '127.0.0.1'"
        assert mismatch in why_not(echo(peer_at(peer.port, tls), CALLER))
        assert echo(peer_at(peer.port, tls, name="peer.example"), CALLER).succeeded
        assert echo(peer_at(peer.port, tls, verify_host=False), CALLER).succeeded
        assert "mismatch" in why_not(echo(peer_at(peer.port, tls, name="other.example"), CALLER))
        # the node's own certificate is of no CA that the peer knows, and the peer's of none that we do
        other = Tls(certificates.other_ca.files(certificates.stranger))
        assert UNKNOWN_CA in why_not(echo(peer_at(peer.port, other, verify_host=False), CALLER))
    with storescp(tmp_path / "b", *dcmtk(certificates.expired, certificates.ca)) as peer:
        assert EXPIRED in why_not(echo(peer_at(peer.port, tls, verify_host=False), CALLER))
    with storescp(tmp_path / "c", *dcmtk(certificates.peer, certificates.other_ca)) as peer:
        assert "alert unknown ca" in why_not(echo(peer_at(peer.port, tls), CALLER))


def test_a_peer_without_tls_and_one_that_is_mute_are_told_of(
    certificates: Certificates, tmp_path: Path
) -> None:
    tls = Tls(certificates.ca.files(certificates.node))
    with storescp(tmp_path) as peer:
        assert "with TLS cannot be talked to: " in why_not(echo(peer_at(peer.port, tls), CALLER))
    impatient = Caller(ae_title="MODALITY", timeouts=Timeouts(connect=0.5, acse=5, dimse=5, network=5))
    with RawAcceptor(mute=True) as mute:
        begun = time.monotonic()
        assert "timed out" in why_not(echo(peer_at(mute.port, tls), impatient))
        assert time.monotonic() - begun < 4.0
    nobody = peer_at(free_port(), tls)
    assert why_not(echo(nobody, CALLER)).endswith("cannot be connected to: Connection refused")


def test_orthanc_in_both_directions(certificates: Certificates, receiver: Receiving, tmp_path: Path) -> None:
    tls = Tls(certificates.ca.files(certificates.node))
    settings = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(certificates.peer.certificate),
        "DicomTlsPrivateKey": str(certificates.peer.key),
        "DicomTlsTrustedCertificates": str(certificates.ca.certificate),
        "DicomTlsRemoteCertificateRequired": True,
        "DicomModalities": {
            "mcads": {
                "AET": "MCADS",
                "Host": "127.0.0.1",
                "Port": receiver.port,
                "LocalAet": "MODALITY",
                "UseDicomTls": True,
            }
        },
    }
    file = write(radiograph(300, 300), tmp_path / "image.dcm")
    answers: list[Answer] = []
    with orthanc(tmp_path, **settings) as peer:
        destination = peer_at(peer.port, tls, "ORTHANC")
        send(destination, [Outgoing.of_file(file)], lambda _, answer: answers.append(answer), CALLER)
        assert [answer.status for answer in answers] == [0x0000]
        (instance,) = peer.get("/instances")
        peer.post("/modalities/mcads/store", instance)
        assert pulled(destination, file) == [dcmread(file).SOPInstanceUID]
    (arrival,) = receiver.arrivals
    assert arrival.sop_class_uid == DX_FOR_PRESENTATION
    assert receiver.refusals == []


def pulled(destination: DestinationAddress, file: Path) -> list[str]:
    """Ask an archive for the study of a file, and get it; gives what came."""
    archive = Source(
        name="archive",
        address=destination,
        # Orthanc lets those ask that it knows
        caller=Caller(ae_title="MCADS", timeouts=CALLER.timeouts),
        method="get",
        modalities=("DX",),
        storage_classes=(DX_FOR_PRESENTATION,),
        transfer_syntaxes=TRANSFER_SYNTAXES,
    )
    came: list[str] = []

    def store(incoming: Incoming) -> int:
        came.append(incoming.sop_instance_uid)
        return 0x0000

    hands = Hands(known=lambda _study: came, store=store)
    (study,) = find(archive, StudyQuery(study_instance_uid=dcmread(file).StudyInstanceUID), hands).studies
    assert (fetch(archive, study, hands).received, study.missing) == (1, tuple(came))
    return came


# the documentation


def documented(program: str) -> list[str]:
    """Commands of a program in the section TLS of operations.md, as they are typed."""
    section = (
        documents.OPERATIONS.read_text(encoding="utf-8").partition("\n## TLS\n")[2].partition("\n## ")[0]
    )
    return [line[2:] for line in section.splitlines() if line.startswith(f"$ {program} ")]


def shell(command: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def test_the_documented_commands_make_certificates_that_serve(tmp_path: Path) -> None:
    require_program("openssl")
    commands = documented("openssl")
    assert len(commands) == 6
    said = [shell(command, tmp_path) for command in commands[:5]]
    assert said[3].strip() == "node.crt: OK"
    assert "IP Address:10.20.0.7" in said[4]
    tls = Tls(TlsFiles(certificate=tmp_path / "node.crt", key=tmp_path / "node.key", ca=tmp_path / "ca.crt"))
    assert (tls.faults(now()), tls.cautions(now())) == ([], [])
    with receiving(tls) as receiver:
        (echo_command,) = documented("echoscu")
        for command in (commands[5], echo_command.replace("CR_ROOM1", "MODALITY")):
            assert "10.20.0.7" in command
            here = command.replace("10.20.0.7", "127.0.0.1").replace("2762", str(receiver.port))
            said.append(shell(here, tmp_path))
        assert "Verification: OK" in said[5]
        assert "Received Echo Response (Success)" in said[6]
        assert echo(peer_at(receiver.port, tls, "MCADS", name="mcads.example.org"), CALLER).succeeded
