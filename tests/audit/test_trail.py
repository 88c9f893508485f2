"""The audit trail reaches real sockets, adds up, comes back after an outage, and never holds up the node."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from mcads_node.audit import AuditTrail, Direction, Identity, Peer, Repository, Transfer, Transport
from mcads_node.audit.trail import Pace
from mcads_node.errors import TransientError
from tests.audit.repositories import Receiver, attribute, complaint, event, receiving, wait_until
from tests.peers import free_port, running
from tests.programs import require_program

NODE = Identity(ae_title="MCADS", host="reader", process=4711)
MODALITY = Peer(ae_title="CR_ROOM1", address="10.20.0.7")
CR = "1.2.840.10008.5.1.4.1.1.1"
FAST = Pace(quiet_seconds=0.2, longest_seconds=1.0, first_pause_seconds=0.05, longest_pause_seconds=0.1)


def transfer(study: str = "1.2.3") -> Transfer:
    return Transfer(direction=Direction.RECEIVED, peer=MODALITY, study_instance_uid=study)


def at(port: int, transport: Transport = Transport.TCP, **files: Path) -> Repository:
    return Repository(host="127.0.0.1", port=port, transport=transport, **files)


@contextlib.contextmanager
def trail(
    repository: Repository | None, pace: Pace = FAST, grace_seconds: float = 5.0
) -> Iterator[AuditTrail]:
    started = AuditTrail(NODE, repository, pace=pace)
    started.start()
    try:
        yield started
    finally:
        started.stop(grace_seconds)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority (ca.pem) that vouches for 127.0.0.1 (server.pem), and for the node (node.pem)."""
    folder = tmp_path_factory.mktemp("certificates")
    program = require_program("openssl")

    def openssl(*arguments: str) -> None:
        subprocess.run([program, *arguments], cwd=folder, check=True, capture_output=True, timeout=60)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    for authority in ("ca", "other"):
        openssl(
            *("req", "-x509", *key, "-subj", f"/CN={authority}"),
            *("-keyout", f"{authority}.key", "-out", f"{authority}.pem"),
            *("-addext", "keyUsage=critical,keyCertSign"),
        )
    for name in ("server", "node"):
        openssl(
            *("req", "-x509", *key, "-subj", f"/CN={name}", "-CA", "ca.pem", "-CAkey", "ca.key"),
            *("-keyout", f"{name}.key", "-out", f"{name}.pem"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"),
        )
    return folder


def server_context(certificates: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    context.load_verify_locations(certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.mark.parametrize("transport", list(Transport))
def test_every_transport_brings_whole_messages(transport: Transport, certificates: Path) -> None:
    tls = transport is Transport.TLS
    files = {
        "ca": certificates / "ca.pem",
        "certificate": certificates / "node.pem",
        "key": certificates / "node.key",
    }
    context = server_context(certificates) if tls else None
    with receiving(context=context, datagrams=transport is Transport.UDP) as repository:
        with trail(at(repository.port, transport, **(files if tls else {}))) as told:
            told.application_started()
            told.instances_transferred(transfer(), CR, 2)
            repository.wait_for(2)
            told.application_stopped()
        messages = repository.wait_for(3)
    assert [event(each.root)[:2] for each in messages] == [
        ("110100", "110120"),
        ("110104", None),
        ("110100", "110121"),
    ]
    assert {(each.facility, each.severity, each.app, each.host) for each in messages} == {
        (10, 5, "mcads-node", "reader")
    }
    assert [complaint(each.xml) for each in messages] == ["", "", ""]
    assert told.lost == 0


def test_a_repository_that_another_authority_vouches_for_gets_nothing(certificates: Path) -> None:
    with receiving(context=server_context(certificates)) as repository:
        files = {"ca": certificates / "other.pem"}
        stranger = trail(at(repository.port, Transport.TLS, **files), grace_seconds=2.0)
        with structlog.testing.capture_logs() as logged, stranger as told:
            told.application_started()
            wait_until(lambda: any(each["event"] == "audit.unreachable" for each in logged))
        assert repository.messages == []
    assert "certificate verify failed" in logged[0]["reason"].lower()
    assert told.lost == 1
    assert logged[-1] == {"event": "audit.lost", "log_level": "error", "messages": 1}


def test_what_belongs_together_is_one_message() -> None:
    with receiving() as repository, trail(at(repository.port)) as told:
        for _ in range(100):
            told.instances_transferred(transfer("1.2.3"), CR)
            told.instances_transferred(transfer("1.2.4"), CR)
        for _ in range(50):
            told.security_alert(Peer(ae_title="STRANGER", address="192.0.2.7"), "not listed")
        messages = repository.wait_for(3)
        time.sleep(2 * FAST.quiet_seconds)
        assert len(repository.messages) == 3
    counts = [each.root.find(".//SOPClass") for each in messages]
    assert [each is not None and each.get("NumberOfInstances") for each in counts] == ["100", "100", False]
    alert = attribute(messages[2].root, ".//ParticipantObjectDetail", "value")
    assert base64.b64decode(alert) == b"not listed; 50 times"
    assert [each.severity for each in messages] == [5, 5, 4]


def test_a_sum_that_never_becomes_quiet_is_told_all_the_same() -> None:
    with receiving() as repository, trail(at(repository.port)) as told:
        deadline = time.monotonic() + 10
        while not repository.messages and time.monotonic() < deadline:
            told.instances_transferred(transfer(), CR)
            time.sleep(0.02)
        assert repository.messages


def test_a_repository_that_is_away_gets_everything_when_it_is_back() -> None:
    port = free_port()
    with structlog.testing.capture_logs() as logged, trail(at(port)) as told:
        told.application_started()
        for number in range(20):
            told.instances_transferred(transfer(f"1.2.{number}"), CR)
        wait_until(lambda: any(each["event"] == "audit.unreachable" for each in logged))
        with receiving(port) as repository:
            repository.wait_for(21)
            wait_until(lambda: any(each["event"] == "audit.reachable" for each in logged))
    # one line for the outage, however often it was tried
    assert [each["event"] for each in logged] == ["audit.unreachable", "audit.reachable"]
    assert told.lost == 0


def test_a_connection_that_was_closed_is_noticed_before_a_message_is_put_into_it(certificates: Path) -> None:
    for context, transport, files in (
        (None, Transport.TCP, {}),
        (
            server_context(certificates),
            Transport.TLS,
            {
                "ca": certificates / "ca.pem",
                "certificate": certificates / "node.pem",
                "key": certificates / "node.key",
            },
        ),
    ):
        repository = Receiver(context=context)
        with trail(at(repository.port, transport, **files)) as told:
            for number in range(1, 5):
                told.application_started()
                repository.wait_for(number)
                repository.hang_up()
                time.sleep(0.05)
        repository.close()


def test_a_repository_that_does_not_answer_holds_nobody_up_and_the_loss_is_told() -> None:
    pace = Pace(capacity=50, quiet_seconds=0.05, first_pause_seconds=0.05)
    # it listens and never accepts
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as silent,
        structlog.testing.capture_logs() as logged,
    ):
        begun = time.monotonic()
        with trail(at(silent.getsockname()[1]), pace, grace_seconds=0.5) as told:
            for number in range(20_000):
                told.instances_transferred(transfer(f"1.2.{number}"), CR)
            assert time.monotonic() - begun < 5.0
        stopped = time.monotonic() - begun
    assert stopped < 7.0
    assert told.lost >= 19_000
    # once in the minute, and once at the end
    assert [each["event"] for each in logged if each["event"] == "audit.lost"] == ["audit.lost"] * 2
    assert logged[-1]["messages"] == told.lost


def test_strangers_under_ever_new_names_hide_no_transfer() -> None:
    pace = Pace(capacity=5000, quiet_seconds=60.0)
    with receiving() as repository:
        with trail(at(repository.port), pace, grace_seconds=30.0) as told:
            for number in range(3000):
                told.security_alert(Peer(ae_title=f"S{number}", address="192.0.2.7"), "not listed")
            told.instances_transferred(transfer(), CR)
        messages = repository.wait_for(1001)
    assert any(event(each.root)[0] == "110104" for each in messages)
    assert told.lost == 2000


def test_the_patient_is_told_only_where_that_is_wanted() -> None:
    def broken(_study: str) -> str:
        raise TransientError("the database is away")

    for patient_of, told_as in (
        (None, "withheld"),
        (lambda study: f"ID of {study}", "ID of 1.2.3"),
        (lambda _study: None, "unknown"),
        (broken, "unknown"),
    ):
        with receiving() as repository:
            told = AuditTrail(NODE, at(repository.port), patient_of, FAST)
            told.start()
            told.instances_transferred(transfer(), CR)
            told.stop()
            (message,) = repository.wait_for(1)
        _, patient = message.root.findall("ParticipantObjectIdentification")
        assert patient.get("ParticipantObjectID") == told_as


def test_without_a_repository_nothing_happens() -> None:
    with structlog.testing.capture_logs() as logged, trail(None) as told:
        told.application_started()
        told.instances_transferred(transfer(), CR)
        told.security_alert(MODALITY, "not listed")
    assert (logged, told.lost) == ([], 0)


def test_rsyslog_takes_the_messages_apart_as_we_meant_them(tmp_path: Path) -> None:
    """A receiver of another maker, over TCP with octet counting and over UDP."""
    tcp, udp, output = free_port(), free_port(), tmp_path / "messages"
    fields = "pri syslogfacility syslogseverity hostname app-name procid msgid protocol-version msg".split()
    parts = " ".join(f'property(outname="{name}" name="{name}" format="jsonf")' for name in fields)
    (tmp_path / "rsyslog.conf").write_text(
        f'global(workDirectory="{tmp_path}" maxMessageSize="32k")\n'
        'module(load="imtcp") module(load="imudp")\n'
        f'template(name="fields" type="list" option.jsonf="on") {{ {parts} }}\n'
        f'ruleset(name="audit") {{ action(type="omfile" file="{output}" template="fields") }}\n'
        f'input(type="imtcp" address="127.0.0.1" port="{tcp}" ruleset="audit")\n'
        f'input(type="imudp" address="127.0.0.1" port="{udp}" ruleset="audit")\n'
    )
    pid = str(tmp_path / "rsyslog.pid")
    command = [require_program("rsyslogd"), "-n", "-f", str(tmp_path / "rsyslog.conf"), "-i", pid]
    with running(*command, cwd=tmp_path):
        for port, transport in ((tcp, Transport.TCP), (udp, Transport.UDP)):
            if transport is Transport.TCP:
                wait_until(lambda: _listens(tcp))
            with trail(at(port, transport)) as told:
                told.application_started()
                told.instances_transferred(transfer(), CR, 3)
            assert told.lost == 0
        wait_until(lambda: output.exists() and len(output.read_text().splitlines()) == 4)
    for line in output.read_text().splitlines():
        read = json.loads(line)
        assert (read["syslogfacility"], read["pri"]) == ("10", "85")
        assert (read["hostname"], read["app-name"], read["procid"]) == ("reader", "mcads-node", "4711")
        assert (read["msgid"], read["protocol-version"]) == ("DICOM+RFC3881", "1")
        assert complaint(read["msg"].removeprefix("\ufeff").encode()) == ""


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
