"""The receiver, with real peers on real sockets."""

from __future__ import annotations

import contextlib
import logging
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from pynetdicom import evt

from mcads_node.association import Timeouts
from mcads_node.errors import PeerUnreachable
from mcads_node.instance import Requestor
from mcads_node.read.transfer_syntaxes import TRANSFER_SYNTAXES
from mcads_node.receive.admission import Admission, AllowedRequestor, Cause, Refusal
from mcads_node.receive.arrival import Arrival
from mcads_node.receive.contexts import by_preference
from mcads_node.receive.scp import ReceiverSettings, StorageScp
from tests.part10_files import DX_FOR_PRESENTATION, data_set_bytes, radiograph, write
from tests.peers import RawPeer, associate_rq, command_elements, echoscu, pdu, storescu

DX = (DX_FOR_PRESENTATION, str(ExplicitVRLittleEndian))
MODALITY = AllowedRequestor(ae_title="MODALITY", address="127.0.0.1")


class Kept:
    """Keeps arrivals in memory."""

    def __init__(self, status: int = 0x0000, delay: float = 0.0) -> None:
        self.arrivals: list[Arrival] = []
        self.status = status
        self.delay = delay

    def __call__(self, arrival: Arrival) -> int:
        time.sleep(self.delay)
        self.arrivals.append(arrival)
        return self.status if arrival.objection is None else arrival.objection.status


Refusals = list[tuple[Requestor, Refusal]]


def ignore(_who: Requestor, _why: Refusal) -> None:
    """Stand where nobody asks who was refused."""


@contextlib.contextmanager
def receiving(
    keep: Callable[[Arrival], int],
    *requestors: AllowedRequestor,
    refusals: Refusals | None = None,
    max_associations: int = 25,
    timeouts: Timeouts | None = None,
    is_congested: Callable[[], bool] = lambda: False,
) -> Iterator[StorageScp]:
    admission = Admission(
        ae_title="MCADS", requestors=requestors or (MODALITY,), max_associations=max_associations
    )
    settings = ReceiverSettings(
        admission=admission, transfer_syntaxes=TRANSFER_SYNTAXES, timeouts=timeouts or Timeouts()
    )
    seen: Refusals = [] if refusals is None else refusals
    scp = StorageScp(settings, keep, lambda who, why: seen.append((who, why)), is_congested)
    scp.start()
    try:
        yield scp
    finally:
        scp.stop(1.0)


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


SYNTAXES = [
    (ExplicitVRLittleEndian, "-xe"),
    (ImplicitVRLittleEndian, "-xi"),
    (ExplicitVRBigEndian, "-xb"),
    (DeflatedExplicitVRLittleEndian, "-xd"),
    (RLELossless, "-xr"),
    (JPEGLosslessSV1, "-xs"),
    (JPEGBaseline8Bit, "-xy"),
    (JPEGExtended12Bit, "-xx"),
    (JPEGLSLossless, "-xt"),
    (JPEGLSNearLossless, "-xu"),
    (JPEG2000Lossless, "-xv"),
    (JPEG2000, "-xw"),
]


@pytest.mark.parametrize(("syntax", "option"), SYNTAXES, ids=str)
def test_storescu_sends_in_every_syntax_it_has(tmp_path: Path, syntax: UID, option: str) -> None:
    sent = radiograph(transfer_syntax=syntax)
    file = write(sent, tmp_path / "image.dcm")
    kept = Kept()
    with receiving(kept) as scp:
        done = storescu(scp.port, option, str(file))
    assert done.returncode == 0, done.stdout
    (arrival,) = kept.arrivals
    assert arrival.objection is None
    assert arrival.requestor == Requestor(ae_title="MODALITY", address="127.0.0.1", called_ae_title="MCADS")
    assert (arrival.sop_instance_uid, arrival.study_instance_uid) == (
        sent.SOPInstanceUID,
        sent.StudyInstanceUID,
    )
    assert arrival.transfer_syntax_uid == syntax
    got = dcmread(BytesIO(arrival.meta + arrival.dataset))
    assert got.file_meta.TransferSyntaxUID == syntax
    assert got.file_meta.SourceApplicationEntityTitle == "MODALITY"
    assert got.PixelData == sent.PixelData
    assert got.PatientName == sent.PatientName


def test_the_data_set_is_kept_as_the_peer_encoded_it() -> None:
    # group length, odd order of VRs, trailing padding: what a decoder would mend
    file = BytesIO()
    ds = radiograph()
    ds.save_as(file, enforce_file_format=True)
    data = (
        data_set_bytes(file.getvalue()) + b"\xfc\xff\xfc\xff" + b"OB\x00\x00\x04\x00\x00\x00\x01\x02\x03\x04"
    )
    kept = Kept()
    with receiving(kept) as scp:
        peer = RawPeer.associate(scp.port, DX)
        assert peer.store(DX[0].encode(), ds.SOPInstanceUID.encode(), data) == 0x0000
        peer.close()
    assert kept.arrivals[0].dataset == data


def test_echoscu_is_answered() -> None:
    with receiving(Kept()) as scp:
        done = echoscu(scp.port)
    assert done.returncode == 0, done.stdout


def test_four_associations_at_once(tmp_path: Path) -> None:
    folders = []
    for number in range(4):
        folder = tmp_path / str(number)
        folder.mkdir()
        for index in range(5):
            write(radiograph(256, 256), folder / f"{index}.dcm")
        folders.append(folder)
    kept = Kept(delay=0.05)
    with receiving(kept) as scp, ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda folder: storescu(scp.port, "+sd", str(folder)), folders))
    assert [each.returncode for each in done] == [0, 0, 0, 0], done
    assert len({arrival.sop_instance_uid for arrival in kept.arrivals}) == 20


@pytest.mark.parametrize(
    ("calling", "called", "listed", "dcmtk_says", "reason"),
    [
        ("STRANGER", "MCADS", MODALITY, "Calling AE Title Not Recognized", "its AE title is not listed"),
        ("MODALITY", "OTHER", MODALITY, "Called AE Title Not Recognized", "only as MCADS"),
        (
            "MODALITY",
            "MCADS",
            AllowedRequestor(ae_title="MODALITY", address="10.20.0.0/16"),
            "Calling AE Title Not Recognized",
            "its address is not one listed",
        ),
    ],
)
def test_who_may_send_is_decided_at_negotiation(
    calling: str, called: str, listed: AllowedRequestor, dcmtk_says: str, reason: str
) -> None:
    refusals: Refusals = []
    with receiving(Kept(), listed, refusals=refusals) as scp:
        done = echoscu(scp.port, calling=calling, called=called)
        wait_until(lambda: bool(refusals))
    assert done.returncode != 0
    assert "Rejected Permanent" in done.stdout
    assert dcmtk_says in done.stdout
    ((who, why),) = refusals
    assert (who.ae_title, who.called_ae_title, who.address) == (calling, called, "127.0.0.1")
    assert reason in why.reason


def test_with_no_requestors_listed_nobody_comes_in() -> None:
    settings = ReceiverSettings(
        admission=Admission(ae_title="MCADS", requestors=(), max_associations=25),
        transfer_syntaxes=TRANSFER_SYNTAXES,
    )
    scp = StorageScp(settings, Kept(), ignore)
    scp.start()
    assert "Calling AE Title Not Recognized" in echoscu(scp.port).stdout
    scp.stop()


def test_the_association_past_the_limit_is_rejected_and_the_next_after_one_ended_is_not() -> None:
    refusals: Refusals = []
    with receiving(Kept(), refusals=refusals, max_associations=25) as scp:
        peers = [RawPeer.associate(scp.port, DX) for _ in range(25)]
        one_more = echoscu(scp.port)
        assert "Rejected Transient" in one_more.stdout
        assert "Local Limit Exceeded" in one_more.stdout
        # told after the peer was answered
        wait_until(lambda: bool(refusals))
        assert "all 25 associations" in refusals[0][1].reason
        assert refusals[0][1].cause is Cause.LIMIT
        peers.pop().close()
        wait_until(lambda: echoscu(scp.port).returncode == 0)
        for peer in peers:
            peer.close()


def test_connections_that_never_ask_do_not_use_up_the_associations() -> None:
    with receiving(Kept(), max_associations=2) as scp:
        silent = [RawPeer.connect(scp.port) for _ in range(20)]
        assert echoscu(scp.port).returncode == 0
        for peer in silent:
            peer.close()


def test_no_room_rejects_as_congested_before_anything_is_sent() -> None:
    with receiving(Kept(), is_congested=lambda: True) as scp:
        done = echoscu(scp.port)
    assert "Rejected Transient" in done.stdout
    assert "Temporary Congestion" in done.stdout


def test_a_fault_in_the_decision_lets_nobody_in() -> None:
    def broken() -> bool:
        raise OSError("cannot tell")

    with receiving(Kept(), is_congested=broken) as scp:
        done = echoscu(scp.port)
    assert done.returncode != 0
    assert "Rejected Transient" in done.stdout


def test_a_transfer_syntax_that_cannot_be_read_is_refused_and_reported() -> None:
    refusals: Refusals = []
    mpeg2 = "1.2.840.10008.1.2.4.100"
    with receiving(Kept(), refusals=refusals) as scp:
        peer = RawPeer.associate(scp.port, (DX[0], mpeg2), ("1.2.840.10008.1.1", "1.2.840.10008.1.2"))
        wait_until(lambda: bool(refusals))
        peer.close()
    assert mpeg2 in refusals[0][1].reason
    assert "Digital X-Ray" in refusals[0][1].reason
    assert refusals[0][1].cause is Cause.NO_CONTEXT


def test_lossy_is_preferred_last_and_uncompressed_first() -> None:
    order = by_preference(TRANSFER_SYNTAXES)
    assert sorted(order) == sorted(TRANSFER_SYNTAXES)
    assert order[0] == ExplicitVRLittleEndian
    lossy = [order.index(uid) for uid in (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000)]
    lossless = [order.index(uid) for uid in (JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless, RLELossless)]
    assert max(lossless) < min(lossy)
    assert order.index(ImplicitVRLittleEndian) < min(lossless)


def uid_value(text: bytes) -> bytes:
    return text + b"\0" * (len(text) % 2)


def tiny(
    sop_instance_uid: bytes, study_uid: bytes = b"1.2.3", sop_class_uid: bytes = DX[0].encode()
) -> bytes:
    def ui(group: int, number: int, text: bytes) -> bytes:
        value = uid_value(text)
        head = group.to_bytes(2, "little") + number.to_bytes(2, "little")
        return head + b"UI" + len(value).to_bytes(2, "little") + value

    return ui(8, 0x16, sop_class_uid) + ui(8, 0x18, sop_instance_uid) + ui(0x20, 0x0D, study_uid)


ODD_UIDS = [
    b"../../etc/passwd",
    b"1.02.3",
    b"1." + b"2" * 63,
    b"1." * 100,
    b"",
    b"\xff\xfe1.2",
    b"1.2\\1.3",
    b"1 2",
]


@pytest.mark.parametrize("uid", ODD_UIDS)
def test_an_object_whose_uid_is_none_is_kept_and_refused_with_a_reason(uid: bytes) -> None:
    kept = Kept()
    data = tiny(uid)
    with receiving(kept) as scp:
        peer = RawPeer.associate(scp.port, DX)
        assert peer.store(DX[0].encode(), uid_value(uid), data) == 0x0117
        # and the association is as good as before
        assert peer.store(DX[0].encode(), b"1.2.4", tiny(b"1.2.4")) == 0x0000
        peer.close()
    odd, good = kept.arrivals
    assert odd.dataset == data
    assert odd.sop_instance_uid.encode("ascii") == uid or not uid.isascii()
    assert odd.objection is not None
    assert "SOP Instance UID (0008,0018)" in odd.objection.reason
    assert good.objection is None


def test_a_command_without_a_sop_instance_uid_is_answered() -> None:
    kept = Kept()
    with receiving(kept) as scp:
        peer = RawPeer.associate(scp.port, DX)
        assert peer.store(DX[0].encode(), None, tiny(b"1.2.3.4")) == 0xA900
        peer.close()
    assert kept.arrivals[0].sop_instance_uid == ""


def test_a_response_does_not_name_a_uid_the_peer_never_used() -> None:
    with receiving(Kept()) as scp:
        peer = RawPeer.associate(scp.port, DX)
        peer.send_command(DX[0].encode(), b"")
        peer.send_fragment(0x02, tiny(b""))
        kind, content = peer.read_pdu()
        peer.close()
    assert kind == 0x04
    answer = command_elements(content[6:])
    assert 0x1000 not in answer
    assert 0x0002 not in answer
    assert answer[0x0902].strip() == b"the SOP Instance UID is not a UID"


@pytest.mark.parametrize(
    ("command_class", "command_uid", "data", "status", "reason"),
    [
        (DX[0], b"1.2.9", tiny(b"1.2.4"), 0xA900, "'1.2.4'"),
        (DX[0], b"1.2.4", tiny(b"1.2.4", sop_class_uid=b"1.2.5"), 0xA900, "SOP Class UID"),
        ("1.2.840.10008.5.1.4.1.1.2", b"1.2.4", tiny(b"1.2.4"), 0x0122, "1.2.840.10008.5.1.4.1.1.2"),
        ("private", b"1.2.4", tiny(b"1.2.4"), 0x0122, "'private'"),
        (DX[0], b"1.2.4", tiny(b"1.2.4", b""), 0xA900, "Study Instance UID"),
        (DX[0], b"1.2.4", tiny(b"1.2.4", b"1.02"), 0xA900, "Study Instance UID"),
        (DX[0], b"1.2.4", b"this is no data set at all", 0xC000, "expected a VR"),
        (DX[0], b"1.2.4", tiny(b"1.2.4")[:-3], 0xC000, "only"),
    ],
)
def test_what_does_not_match_is_kept_and_refused(
    command_class: str, command_uid: bytes, data: bytes, status: int, reason: str
) -> None:
    kept = Kept()
    with receiving(kept) as scp:
        peer = RawPeer.associate(scp.port, DX)
        assert peer.store(uid_value(command_class.encode()), uid_value(command_uid), data) == status
        peer.close()
    (arrival,) = kept.arrivals
    assert arrival.dataset == data
    assert arrival.sop_class_uid == command_class
    assert arrival.objection is not None
    assert reason in arrival.objection.reason


def test_nothing_is_answered_before_it_is_kept() -> None:
    may_return = threading.Event()

    def keep(arrival: Arrival) -> int:
        may_return.wait(10)
        return 0xA700

    with receiving(keep) as scp:
        peer = RawPeer.associate(scp.port, DX)
        peer.send_command(DX[0].encode(), b"1.2.4")
        peer.send_fragment(0x02, tiny(b"1.2.4"))
        peer.connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            peer.read_pdu()
        peer.connection.settimeout(10)
        may_return.set()
        assert peer.read_status() == 0xA700
        peer.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_garbage_on_the_port_harms_nobody() -> None:
    # a malformed request ends pynetdicom's reading thread of that one connection with an exception
    noise = random.Random(4)
    messages = [noise.randbytes(noise.randrange(1, 4000)) for _ in range(8)]
    messages += [pdu(kind, noise.randbytes(200)) for kind in range(9)]
    messages += [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        associate_rq(b"\xff\xfe\x00", b"MCADS", DX),
        associate_rq(b"MODALITY", b"MCADS", ("", "")),
        associate_rq(b"MODALITY", b"MCADS"),
    ]
    with receiving(Kept(), timeouts=Timeouts(acse=1.0, network=1.0)) as scp:
        for message in messages:
            peer = RawPeer.connect(scp.port)
            peer.connection.sendall(message)
            peer.close()
        associated = RawPeer.associate(scp.port, DX)
        associated.send_fragment(0x03, noise.randbytes(100))
        assert echoscu(scp.port).returncode == 0
        associated.close()


def test_a_pdu_that_claims_gigabytes_is_not_read() -> None:
    with receiving(Kept(), timeouts=Timeouts(network=20.0)) as scp:
        peer = RawPeer.associate(scp.port, DX)
        peer.connection.sendall(b"\x04\x00\xff\xff\xff\xff" + bytes(1000))
        # closed at once, not when the network timeout has run out
        assert peer.read_pdu()[0] in (0x00, 0x07)
        peer.close()


def network_threads() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if type(each).__module__.startswith("pynetdicom")}


def test_peers_that_vanish_leave_no_threads() -> None:
    # those of an earlier test, whose peers never spoke, last until their ACSE timeout
    before = network_threads()
    with receiving(Kept(), timeouts=Timeouts(acse=0.5, network=0.5)) as scp:
        silent = RawPeer.connect(scp.port)
        idle = RawPeer.associate(scp.port, DX)
        mid_pdu = RawPeer.associate(scp.port, DX)
        mid_pdu.connection.sendall(b"\x04\x00\x00\x00\x10\x00half a PDU")
        mid_object = RawPeer.associate(scp.port, DX)
        mid_object.send_command(DX[0].encode(), b"1.2.4")
        mid_object.send_fragment(0x00, bytes(5000))
        gone = RawPeer.associate(scp.port, DX)
        gone.send_command(DX[0].encode(), b"1.2.4")
        gone.close()
        assert network_threads() - before
        wait_until(lambda: not network_threads() - before)
        for peer in (silent, idle, mid_pdu, mid_object):
            peer.close()


def test_stop_finishes_what_is_being_received() -> None:
    before = network_threads()
    kept = Kept(delay=0.2)
    with receiving(kept) as scp:
        port = scp.port
        peer = RawPeer.associate(port, DX)
        idle = RawPeer.associate(port, DX)
        data = tiny(b"1.2.4")
        peer.send_command(DX[0].encode(), b"1.2.4")
        peer.send_fragment(0x00, data[:20])
        server = scp._server
        assert server is not None
        wait_until(lambda: any(map(scp._is_busy, server.active_associations)))
        stopping = threading.Thread(target=scp.stop)
        stopping.start()
        time.sleep(0.3)
        with pytest.raises(OSError, match=r"refused|reset"):
            RawPeer.connect(port, 1.0)
        peer.send_fragment(0x02, data[20:])
        assert peer.read_status() == 0x0000
        # one more object is not taken: the association is aborted between two
        assert peer.read_pdu()[0] == 0x07
        assert idle.read_pdu()[0] == 0x07
        stopping.join(5)
        assert not stopping.is_alive()
        peer.close()
        idle.close()
    assert len(kept.arrivals) == 1
    wait_until(lambda: not network_threads() - before)


@pytest.mark.parametrize("moment", [evt.EVT_DIMSE_SENT, evt.EVT_PDU_SENT], ids=["before", "after"])
def test_an_object_is_answered_before_the_abort_and_both_are_sent(moment: evt.NotificationEvent) -> None:
    stopped = threading.Event()

    def stop() -> None:
        scp.stop()
        stopped.set()

    with receiving(Kept()) as scp:
        peer = RawPeer.associate(scp.port, DX)
        peer.send_command(DX[0].encode(), b"1.2.4")
        server = scp._server
        assert server is not None
        wait_until(lambda: any(map(scp._is_busy, server.active_associations)))
        (association,) = server.active_associations
        # before the answer is on its way, or before the abort is
        association.bind(moment, lambda _event: stopped.wait(0.3))
        stopping = threading.Thread(target=stop)
        stopping.start()
        wait_until(scp._stopping.is_set)
        peer.send_fragment(0x02, tiny(b"1.2.4"))
        assert peer.read_status() == 0x0000
        assert peer.read_pdu()[0] == 0x07
        stopping.join(5)
        peer.close()


def test_stop_between_the_objects_of_a_busy_peer(tmp_path: Path) -> None:
    for index in range(60):
        write(radiograph(), tmp_path / f"{index}.dcm")
    kept = Kept(delay=0.02)
    with receiving(kept) as scp, ThreadPoolExecutor(1) as pool:
        sending = pool.submit(storescu, scp.port, "+sd", str(tmp_path))
        wait_until(lambda: len(kept.arrivals) > 3)
        scp.stop()
        done = sending.result()
    assert done.returncode != 0
    answered = done.stdout.count("Received Store Response (Success)")
    assert 3 < answered < 60
    assert answered == len(kept.arrivals)


def test_stop_waits_no_longer_than_its_grace_for_a_peer_that_stalls() -> None:
    with receiving(Kept()) as scp:
        peer = RawPeer.associate(scp.port, DX)
        peer.send_command(DX[0].encode(), b"1.2.4")
        peer.connection.sendall(b"\x04\x00\x00\x00\x10\x00half a PDU")
        time.sleep(0.2)
        begun = time.monotonic()
        scp.stop(0.5)
        assert 0.4 < time.monotonic() - begun < 3
        peer.close()


def test_a_port_that_is_taken_is_said_so() -> None:
    with receiving(Kept()) as scp:
        other = StorageScp(
            ReceiverSettings(
                admission=Admission(ae_title="MCADS", requestors=(), max_associations=1),
                transfer_syntaxes=TRANSFER_SYNTAXES,
                port=scp.port,
            ),
            Kept(),
            ignore,
        )
        with pytest.raises(PeerUnreachable, match=f"port {scp.port}.*in use"):
            other.start()


def test_no_phi_is_logged_whatever_the_level(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    file = write(radiograph(), tmp_path / "image.dcm")
    with receiving(Kept()) as scp:
        assert storescu(scp.port, str(file)).returncode == 0
        peer = RawPeer.associate(scp.port, DX)
        peer.store(DX[0].encode(), b"1.02", tiny(b"1.02"))
        peer.close()
    assert "Secret" not in caplog.text
    assert "SECRET" not in caplog.text


def test_the_network_needs_no_torch() -> None:
    program = "import sys, mcads_node.receive, mcads_node.deliver; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
