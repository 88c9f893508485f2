"""The Storage SCU and the deliverer, with real peers on real sockets and the real durable state."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
)
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context

from mcads_node.association import Timeouts
from mcads_node.association.requesting import associated
from mcads_node.backoff import ErrorKind, RetryPolicy
from mcads_node.deliver.deliverer import Deliverer, DeliverySettings, Shelves, Transfer, outcome_of
from mcads_node.deliver.lane import Lane
from mcads_node.deliver.send import (
    Answer,
    Caller,
    DestinationAddress,
    ObjectUnavailable,
    Outgoing,
    echo,
    negotiate,
    send,
)
from mcads_node.errors import InstanceUnreadable, PeerUnreachable
from mcads_node.profile import Profile, negotiated
from mcads_node.result import ObjectKind, Rendition
from mcads_node.spool import Spool
from mcads_node.store_status import answer_of
from mcads_node.workitems import (
    Deferred,
    Delivery,
    Kind,
    Refused,
    Stored,
    StoredResult,
    Workitems,
    open_store,
)
from tests.commitment_peer import aborting_peer
from tests.part10_files import data_set_bytes, radiograph, write
from tests.peers import Peer, choosy_storescp, free_port, orthanc, storescp
from tests.raw_acceptor import RawAcceptor, Reply
from tests.workitems_samples import LEASE, analysed, received

CALLER = Caller(ae_title="MCADS", timeouts=Timeouts(connect=5, acse=10, dimse=2, network=10))
SR = "1.2.840.10008.5.1.4.1.1.88.34"
SC = "1.2.840.10008.5.1.4.1.1.7"
ENHANCED = "1.2.840.10008.5.1.4.1.1.88.22"
PROFILE = Profile(
    renditions=(
        Rendition(kind=ObjectKind.SR),
        Rendition(kind=ObjectKind.SR, sop_class_uid=ENHANCED),
        Rendition(kind=ObjectKind.SUMMARY),
    )
)


def at(port: int, ae_title: str = "PEER") -> DestinationAddress:
    return DestinationAddress(ae_title=ae_title, host="127.0.0.1", port=port)


def address_of(peer: Peer) -> DestinationAddress:
    return at(peer.port, peer.ae_title)


def outgoing(
    folder: Path, syntax: str = ExplicitVRLittleEndian, sop_class: str = "", size: int = 64
) -> Outgoing:
    ds = radiograph(size, size, syntax)
    if sop_class:
        ds.SOPClassUID = sop_class
    folder.mkdir(exist_ok=True)
    return Outgoing.of_file(write(ds, folder / f"{ds.SOPInstanceUID}.dcm"))


def sent(
    destination: DestinationAddress, *objects: Outgoing, caller: Caller = CALLER
) -> dict[Outgoing, Answer]:
    answers: dict[Outgoing, Answer] = {}
    send(destination, objects, answers.__setitem__, caller)
    return answers


def wait_until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def aborting() -> Iterator[int]:
    with aborting_peer() as port:
        yield port


SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    JPEGLosslessSV1,
    JPEGBaseline8Bit,
    JPEG2000Lossless,
)


def test_storescp_receives_every_data_set_bit_by_bit(tmp_path: Path) -> None:
    objects = [outgoing(tmp_path / "out", syntax) for syntax in SYNTAXES]
    objects += [outgoing(tmp_path / "out", sop_class=SR), outgoing(tmp_path / "out", sop_class=SC, size=700)]
    with storescp(tmp_path, "+xa", "+B") as peer:
        answers = sent(address_of(peer), *objects)
        assert [answers[each].status for each in objects] == [0x0000] * len(objects)
        got = sorted(data_set_bytes(file.read_bytes()) for file in peer.files())
    assert got == sorted(data_set_bytes(each.path.read_bytes()) for each in objects)


def test_the_peer_gets_what_pydicom_would_not_write(tmp_path: Path) -> None:
    # a group length, a private element of odd length, an unknown tail: encoding anew would change them
    file = outgoing(tmp_path / "out").path
    file.write_bytes(file.read_bytes() + b"\xfc\xff\xfc\xff" + b"OB\x00\x00\x03\x00\x00\x00abc")
    with RawAcceptor() as peer:
        sent(at(peer.port), Outgoing.of_file(file))
    assert peer.objects[0][1] == data_set_bytes(file.read_bytes())


def test_orthanc_stores_and_gives_back_the_same_data_set(tmp_path: Path) -> None:
    objects = [outgoing(tmp_path / "out", size=512), outgoing(tmp_path / "out", sop_class=SR)]
    with orthanc(tmp_path / "peer") as peer:
        answers = sent(address_of(peer), *objects)
        stored = [peer.get_bytes(f"/instances/{each}/file") for each in peer.get("/instances")]
    assert {answer.failure for answer in answers.values()} == {None}
    expected = sorted(data_set_bytes(each.path.read_bytes()) for each in objects)
    assert sorted(data_set_bytes(each) for each in stored) == expected


def test_orthanc_answers_an_echo_and_rejects_a_wrong_ae_title(tmp_path: Path) -> None:
    with orthanc(tmp_path / "peer") as peer:
        result = echo(address_of(peer), CALLER)
        assert result.succeeded
        assert 0 < (result.milliseconds or 0) < 2000
        wrong = at(peer.port, "NOBODY")
        failed = echo(wrong, CALLER)
        assert not failed.succeeded
        assert "rejected the association: Rejected Permanent, Called AE title not recognised" in (
            failed.reason or ""
        )
        with pytest.raises(PeerUnreachable, match="Called AE title not recognised"):
            sent(wrong, outgoing(tmp_path / "out"))


def test_a_rejection_is_told_as_such_however_soon_it_comes() -> None:
    entity = AE(ae_title="PEER")
    entity.add_supported_context(SC)
    entity.require_called_aet = True
    server = entity.start_server(("127.0.0.1", 0), block=False)
    assert server is not None
    closed = threading.Event()
    # the connection is closed before pynetdicom looks whether there is one
    handlers = [(evt.EVT_CONN_CLOSE, lambda _: closed.set()), (evt.EVT_REQUESTED, lambda _: closed.wait(10))]
    nobody = at(server.server_address[1], "NOBODY")
    rejected = pytest.raises(PeerUnreachable, match="rejected the association: Rejected Permanent, Called AE")
    with rejected, associated(nobody, [build_context(SC)], CALLER, handlers):
        pass
    server.shutdown()


def test_a_context_that_is_not_accepted_is_refused_and_the_others_are_sent(tmp_path: Path) -> None:
    plain, compressed = outgoing(tmp_path / "out"), outgoing(tmp_path / "out", JPEG2000Lossless)
    with storescp(tmp_path) as peer:
        answers = sent(address_of(peer), compressed, plain)
        alone = sent(address_of(peer), compressed)
    assert answers[plain] == Answer(failure=None, status=0x0000, reason=None)
    for answer in (answers[compressed], alone[compressed]):
        assert answer.failure is ErrorKind.PERMANENT
        assert answer.status is None
        assert "transfer syntax not supported" in (answer.reason or "")


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (0x0000, None),
        (0xB000, None),
        (0xB006, None),
        (0xB007, None),
        (0x0111, None),
        (0x0107, None),
        (0xA700, ErrorKind.UNREACHABLE),
        (0xA702, ErrorKind.UNREACHABLE),
        (0x0213, ErrorKind.UNREACHABLE),
        (0x0110, ErrorKind.TRANSIENT),
        (0xFE00, ErrorKind.TRANSIENT),
        (0xA900, ErrorKind.PERMANENT),
        (0xA9FF, ErrorKind.PERMANENT),
        (0xC000, ErrorKind.PERMANENT),
        (0xCFFF, ErrorKind.PERMANENT),
        (0x0122, ErrorKind.PERMANENT),
        (0x0124, ErrorKind.PERMANENT),
        (0xFF00, ErrorKind.PERMANENT),
        (0xD123, ErrorKind.PERMANENT),
    ],
)
def test_statuses(status: int, failure: ErrorKind | None) -> None:
    answer = answer_of(status, "John Doe is unknown")
    assert (answer.failure, answer.status) == (failure, status)
    if status:
        assert f"0x{status:04X}" in (answer.reason or "")
        assert "John Doe is unknown" in (answer.reason or "")
    assert "John Doe" not in answer.for_logs


def test_only_success_and_warnings_are_stored() -> None:
    stored = {status for status in range(0x10000) if answer_of(status).failure is None}
    assert stored == {0, 1, 0x107, 0x111, 0x116} | set(range(0xB000, 0xC000))


@pytest.mark.parametrize("comment", [b"no such study", b"\xc5\xbdukauskait\xc4\x97 ", b"x" * 200, b"a\\b"])
def test_a_peers_status_and_comment_are_reported(tmp_path: Path, comment: bytes) -> None:
    first, second = outgoing(tmp_path / "out"), outgoing(tmp_path / "out")
    replies = {first.sop_instance_uid: Reply(0xA900, comment), second.sop_instance_uid: Reply(0xB007)}
    with RawAcceptor(replies.__getitem__) as peer:
        answers = sent(at(peer.port), first, second)
    refused, warned = answers[first], answers[second]
    assert (refused.failure, refused.status) == (ErrorKind.PERMANENT, 0xA900)
    assert comment.decode("ascii", "backslashreplace").strip() in (refused.reason or "")
    # and the comment on one object is not taken for one on the next
    assert warned == Answer(failure=None, status=0xB007, reason="status 0xB007, warning")


@pytest.mark.parametrize("instead", ["silence", "abort", "close", "early"])
def test_a_peer_that_fails_in_mid_association(tmp_path: Path, instead: str) -> None:
    first, second, third = (outgoing(tmp_path / "out") for _ in range(3))
    answers: dict[Outgoing, Answer] = {}

    def reply(uid: str) -> Reply:
        return Reply(instead=instead) if uid == second.sop_instance_uid else Reply()

    with RawAcceptor(reply) as peer, pytest.raises(PeerUnreachable, match=r"aborted|lost"):
        send(at(peer.port), (first, second, third), answers.__setitem__, CALLER)
    assert answers[first].failure is None
    assert (answers[second].failure, answers[second].status) == (ErrorKind.UNREACHABLE, None)
    assert third not in answers


def test_a_full_peer_is_left_alone_at_once(tmp_path: Path) -> None:
    first, second = outgoing(tmp_path / "out"), outgoing(tmp_path / "out")
    answers: dict[Outgoing, Answer] = {}
    with RawAcceptor(lambda _uid: Reply(0xA700, b"disk of Jane Doe")) as peer:
        with pytest.raises(PeerUnreachable, match="out of resources") as raised:
            send(at(peer.port), (first, second), answers.__setitem__, CALLER)
        assert len(peer.objects) == 1
    assert "Jane" not in str(raised.value)
    assert answers[first].status == 0xA700


# an abort between pynetdicom's look at the association and its sending ends the thread of its upper layer,
# which by then has nothing more to do: its `fsm` has no transition for a P-DATA request in Sta13
@pytest.mark.filterwarnings("ignore:Exception in thread:pytest.PytestUnhandledThreadExceptionWarning")
def test_a_peer_that_aborts_at_once_is_unreachable(aborting: int) -> None:
    contexts = [build_context("1.2.840.10008.1.1")]
    with (
        pytest.raises(PeerUnreachable, match="aborted the association"),
        associated(at(aborting), contexts, CALLER) as (association, _),
    ):
        wait_until(lambda: not association.is_established)
        association.send_c_echo()
    with (
        pytest.raises(ValueError, match="our own"),
        RawAcceptor() as peer,
        associated(at(peer.port), contexts, CALLER),
    ):
        raise ValueError("a mistake of our own is none of the peer's")
    for _ in range(5):
        result = echo(at(aborting), CALLER)
        assert result.succeeded or result.reason


def test_why_a_peer_cannot_be_reached_is_said(tmp_path: Path) -> None:
    image = outgoing(tmp_path / "out")
    with pytest.raises(
        PeerUnreachable, match=r"PEER at 127.0.0.1 port \d+ cannot be connected to: Connection refused"
    ):
        sent(at(free_port()), image)
    nowhere = DestinationAddress(ae_title="PEER", host="no-such-host.invalid", port=104)
    with pytest.raises(PeerUnreachable, match=r"no-such-host.invalid"):
        sent(nowhere, image)
    assert "refused" in (echo(at(free_port()), CALLER).reason or "")
    with RawAcceptor(mute=True) as peer:
        impatient = Caller(ae_title="MCADS", timeouts=Timeouts(connect=1, acse=0.5, dimse=1, network=1))
        with pytest.raises(PeerUnreachable, match=r"did not answer the association request within 0.5 s"):
            sent(at(peer.port), image, caller=impatient)


def test_every_answer_is_told_before_the_next_object_is_sent(tmp_path: Path) -> None:
    objects = [outgoing(tmp_path / "out") for _ in range(5)]
    with RawAcceptor() as peer:
        arrived_when_told: list[int] = []
        send(
            at(peer.port),
            objects,
            lambda _object, _answer: arrived_when_told.append(len(peer.objects)),
            CALLER,
        )
    assert arrived_when_told == [1, 2, 3, 4, 5]
    assert peer.associations == 1


def test_sending_stops_between_objects(tmp_path: Path) -> None:
    objects = [outgoing(tmp_path / "out") for _ in range(5)]
    answers: dict[Outgoing, Answer] = {}
    with RawAcceptor() as peer:
        send(at(peer.port), objects, answers.__setitem__, CALLER, goes_on=lambda: len(answers) < 2)
        assert len(peer.objects) == 2
    assert list(answers) == objects[:2]


def test_what_cannot_be_sent_is_refused_without_trying(tmp_path: Path) -> None:
    good, damaged, gone, odd = (outgoing(tmp_path / "out") for _ in range(4))
    gone.path.unlink()
    damaged = Outgoing(**{**vars(damaged), "digest": hashlib.sha256(b"other").hexdigest()})
    odd = Outgoing(**{**vars(odd), "sop_instance_uid": "1.02." + "3" * 70})
    good = Outgoing(**{**vars(good), "digest": hashlib.sha256(good.path.read_bytes()).hexdigest()})
    with RawAcceptor() as peer:
        answers = sent(at(peer.port), damaged, gone, odd, good)
    assert [uid for uid, _ in peer.objects] == [good.sop_instance_uid]
    assert {answers[each].failure for each in (damaged, gone, odd)} == {ErrorKind.PERMANENT}
    assert "damaged" in (answers[damaged].reason or "")
    assert "No such file" in (answers[gone].reason or "")
    assert "not a UID" in (answers[odd].reason or "")


def test_a_file_that_cannot_be_read_just_now_is_not_refused(tmp_path: Path) -> None:
    first, odd = outgoing(tmp_path / "out"), outgoing(tmp_path / "out")
    odd.path.unlink()
    # it opens, and every read of it is an input/output error
    odd.path.symlink_to("/proc/self/mem")
    answers: dict[Outgoing, Answer] = {}
    for each in (odd, Outgoing(**{**vars(odd), "digest": "0" * 64})):
        with RawAcceptor() as peer, pytest.raises(ObjectUnavailable, match="Input/output error") as caught:
            send(at(peer.port), [first, each], answers.__setitem__, CALLER)
        assert caught.value.outgoing is each
    assert list(answers) == [first]
    assert answers[first].failure is None


def test_more_kinds_than_fit_are_a_mistake_of_the_caller(tmp_path: Path) -> None:
    one = vars(outgoing(tmp_path / "out"))
    many = [Outgoing(**{**one, "sop_class_uid": f"1.2.{number}"}) for number in range(129)]
    with pytest.raises(ValueError, match="129 kinds"):
        sent(at(1), *many)


def test_a_file_that_is_not_part_10_cannot_be_sent(tmp_path: Path) -> None:
    file = tmp_path / "x.dcm"
    file.write_bytes(b"nothing of the kind" * 20)
    with pytest.raises(InstanceUnreadable, match="not a DICOM Part 10 file"):
        Outgoing.of_file(file)


def test_no_phi_is_logged_by_sending(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with RawAcceptor(lambda _uid: Reply(0xC000, b"Very^Secret")) as peer:
        sent(at(peer.port), outgoing(tmp_path / "out"))
    assert "Secret" not in caplog.text
    assert "SECRET" not in caplog.text


# deciding what an answer means

NOW = datetime(2024, 3, 1, tzinfo=UTC)


def delivery(attempts: int = 0, age: timedelta = timedelta(0)) -> Delivery:
    return Delivery(
        number=1,
        destination="pacs",
        kind=ObjectKind.SR,
        sop_class_uid=SR,
        sop_instance_uid="1.2.3",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        study_number=1,
        study_instance_uid="1.2",
        path="2024-03-01/" + "0" * 32,
        size=1,
        digest="0" * 64,
        attempts=attempts,
        since=NOW - age,
    )


@pytest.mark.parametrize(
    ("status", "attempts", "age", "expected"),
    [
        (0x0000, 0, timedelta(0), Stored(status=0)),
        (0xB000, 0, timedelta(0), Stored(status=0xB000, reason="status 0xB000, warning")),
        (0x0111, 0, timedelta(0), Stored(status=0x0111, reason="status 0x0111, the peer has it already")),
        (0xC001, 0, timedelta(0), Refused(status=0xC001, reason="status 0xC001, cannot understand")),
        (
            0xA700,
            0,
            timedelta(0),
            Deferred(
                until=NOW + timedelta(seconds=5), status=0xA700, reason="status 0xA700, out of resources"
            ),
        ),
        (
            0xA700,
            99,
            timedelta(days=8),
            Refused(
                status=0xA700,
                reason="status 0xA700, out of resources; given up: no success within 7 days",
            ),
        ),
        (
            0x0110,
            4,
            timedelta(0),
            Refused(status=0x0110, reason="status 0x0110, processing failure; given up: 5 attempts failed"),
        ),
    ],
)
def test_what_an_answer_means_for_a_delivery(
    status: int, attempts: int, age: timedelta, expected: Stored | Deferred | Refused
) -> None:
    outcome = outcome_of(answer_of(status), delivery(attempts, age), RetryPolicy(), NOW, lambda: 1.0)
    assert outcome == expected


# the deliverer


@dataclass
class Node:
    """The durable state and the folder of results of a node."""

    store: Workitems
    results: Spool
    made: int = 0

    def plan(self, *destinations: str, objects: int = 1) -> str:
        """Have a study reported with so many objects for each destination; its UID."""
        return self._plan([self._object() for _ in range(objects)], destinations)

    def plan_report(self, *destinations: str) -> str:
        """Have a study reported with an SR in two classes, of which the first is planned; its UID."""
        made = [self._object(each) for each in PROFILE.renditions if each.kind is ObjectKind.SR]
        return self._plan(made, destinations)

    def _plan(self, made: list[StoredResult], destinations: tuple[str, ...]) -> str:
        self.made += 1
        instance = received(study=str(self.made), at=datetime.now(UTC))
        self.store.record_received(instance)
        (item,) = self.store.claim("w", LEASE, kind=Kind.ANALYSE)
        assert self.store.complete_analysis(item, analysed(quiet=0))
        (item,) = self.store.claim("w", LEASE, kind=Kind.REPORT)
        assert self.store.complete_report(item, made, dict.fromkeys(destinations, PROFILE.planned))
        return instance.study_instance_uid

    def _object(self, rendition: Rendition | None = None) -> StoredResult:
        rendition = rendition or Rendition(kind=ObjectKind.SUMMARY)
        ds = radiograph()
        ds.SOPClassUID, _ = negotiated(rendition)
        folder = self.results.folder / "making"
        folder.mkdir(exist_ok=True)
        data = write(ds, folder / "object.dcm").read_bytes()
        file = self.results.write(data)
        return StoredResult(
            kind=rendition.kind,
            sop_class_uid=ds.SOPClassUID,
            sop_instance_uid=ds.SOPInstanceUID,
            series_instance_uid=ds.SeriesInstanceUID,
            transfer_syntax_uid=ExplicitVRLittleEndian,
            path=file.path,
            size=file.size,
            digest=file.digest,
            variant=rendition.variant,
        )

    def states(self, study: str) -> list[str]:
        results = self.store.show_study(study).results
        return [str(each.state) for result in results for each in result.deliveries]

    def waiting(self) -> int:
        return sum(self.store.pending_by_destination().values())


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    store = open_store(tmp_path / "node.db")
    yield Node(store=store, results=Spool(tmp_path / "results"))
    store.close()


SOON = RetryPolicy(base=timedelta(seconds=0.2), cap=timedelta(seconds=1))


@contextlib.contextmanager
def delivering(
    node: Node, policy: RetryPolicy = SOON, **destinations: DestinationAddress
) -> Iterator[Deliverer]:
    settings = DeliverySettings(destinations=destinations, caller=CALLER, policy=policy, poll_seconds=0.2)
    deliverer = Deliverer(settings, node.store, Shelves(results=node.results, received=node.results))
    deliverer.start()
    try:
        yield deliverer
    finally:
        assert deliverer.stop()


def test_results_arrive_at_every_destination_once(tmp_path: Path, node: Node) -> None:
    study = node.plan("one", "two", objects=3)
    with (
        storescp(tmp_path / "1") as one,
        storescp(tmp_path / "2") as two,
        delivering(node, one=address_of(one), two=address_of(two)) as deliverer,
    ):
        assert deliverer.running == {"one", "two"}
        wait_until(lambda: not node.waiting())
        assert len(one.files()) == len(two.files()) == 3
        later = node.plan("one")
        deliverer.poke("one")
        wait_until(lambda: len(one.files()) == 4)
        wait_until(lambda: not node.waiting())
    assert deliverer.running == frozenset()
    assert node.states(study) == ["STORED"] * 6
    assert node.states(later) == ["STORED"]


def test_a_poke_is_heard_at_once(node: Node) -> None:
    with RawAcceptor() as peer:
        settings = DeliverySettings(destinations={"pacs": at(peer.port)}, caller=CALLER, poll_seconds=60)
        deliverer = Deliverer(settings, node.store, Shelves(results=node.results, received=node.results))
        deliverer.start()
        time.sleep(0.3)
        node.plan("pacs")
        deliverer.poke()
        wait_until(lambda: len(peer.objects) == 1, 5)
        assert deliverer.stop()


def test_a_dead_destination_delays_no_other_and_is_caught_up_with_when_it_is_back(
    tmp_path: Path, node: Node
) -> None:
    port = free_port()
    study = node.plan("dead", "alive", objects=2)
    with RawAcceptor() as alive, delivering(node, dead=at(port), alive=at(alive.port)):
        wait_until(lambda: len(alive.objects) == 2, 5)
        wait_until(
            lambda: (trouble := node.store.destination_trouble("dead")) is not None and trouble.failures > 2
        )
        trouble = node.store.destination_trouble("dead")
        assert trouble is not None
        assert "refused" in trouble.reason
        assert node.store.pending_by_destination() == {"dead": 2}
        with RawAcceptor(wanted_port=port) as back:
            wait_until(lambda: not node.waiting())
            assert len(back.objects) == 2
        assert node.store.destination_trouble("dead") is None
    assert node.states(study) == ["STORED"] * 4


def test_a_hanging_destination_delays_no_other(node: Node) -> None:
    node.plan("hanging", "alive")
    with (
        RawAcceptor(lambda _uid: Reply(instead="silence")) as hanging,
        RawAcceptor() as alive,
        delivering(node, hanging=at(hanging.port), alive=at(alive.port)),
    ):
        wait_until(lambda: len(alive.objects) == 1, 3)
        wait_until(lambda: node.store.pending_by_destination() == {"hanging": 1}, 3)


def test_refusals_warnings_and_failures_are_recorded_as_they_are(node: Node) -> None:
    study = node.plan("pacs", objects=4)
    uids = [each.sop_instance_uid for each in node.store.due_deliveries("pacs", 10)]
    attempts: list[str] = []

    def reply(uid: str) -> Reply:
        attempts.append(uid)
        if uid == uids[0]:
            return Reply(0xC123, b"no thanks")
        if uid == uids[1]:
            return Reply(0xB000)
        # answers the command and the data set: asked twice an object
        return Reply(0xA700) if uid == uids[2] and attempts.count(uid) <= 2 else Reply()

    with RawAcceptor(reply) as peer, delivering(node, pacs=at(peer.port)):
        wait_until(lambda: not node.waiting())
    records = {
        result.object.sop_instance_uid: result.deliveries[0]
        for result in node.store.show_study(study).results
    }
    refused, warned, retried, plain = (records[uid] for uid in uids)
    assert (refused.state, refused.status) == ("REFUSED", 0xC123)
    assert "no thanks" in (refused.reason or "")
    assert (warned.state, warned.status) == ("STORED", 0xB000)
    assert (retried.state, retried.status, retried.attempts) == ("STORED", 0x0000, 1)
    assert (plain.state, plain.attempts) == ("STORED", 0)


def test_what_grew_too_old_for_a_dead_destination_is_given_up_with_a_reason(node: Node) -> None:
    study = node.plan("dead")
    policy = RetryPolicy(
        base=timedelta(seconds=0.1), cap=timedelta(seconds=0.2), max_age=timedelta(seconds=0.5)
    )
    with delivering(node, policy, dead=at(free_port())):
        wait_until(lambda: not node.waiting())
    (result,) = node.store.show_study(study).results
    assert result.deliveries[0].state == "REFUSED"
    assert "given up" in (result.deliveries[0].reason or "")


def test_whatever_happens_with_one_destination_is_no_trouble_of_the_node(node: Node) -> None:
    def tell(transfer: Transfer) -> None:
        if transfer.destination == "odd":
            raise KeyError("Very^Secret")

    with structlog.testing.capture_logs() as logs, RawAcceptor() as one, RawAcceptor() as two:
        settings = DeliverySettings(
            destinations={"odd": at(one.port), "other": at(two.port)},
            caller=CALLER,
            policy=SOON,
            poll_seconds=0.2,
            observer=tell,
        )
        deliverer = Deliverer(settings, node.store, Shelves(results=node.results, received=node.results))
        deliverer.start()
        for _ in range(2):
            node.plan("odd", "other")
            wait_until(lambda: node.waiting() == 0)
            wait_until(lambda: any(line["event"] == "courier.fault" for line in logs))
        assert deliverer.running == {"odd", "other"}
        assert deliverer.stop()
    fault = next(line for line in logs if line["event"] == "courier.fault")
    assert (fault["destination"], fault["error"]) == ("odd", "KeyError")
    assert fault["where"].startswith("test_deliver.py:")
    assert "Secret" not in str(logs)


def test_a_file_that_cannot_be_read_holds_up_no_other(node: Node) -> None:
    node.plan("pacs", objects=2)
    odd, good = node.store.due_deliveries("pacs", 10)
    path = node.results.locate(odd.path)
    path.unlink()
    path.symlink_to("/proc/self/mem")
    with (
        structlog.testing.capture_logs() as logs,
        RawAcceptor() as peer,
        delivering(node, pacs=at(peer.port)),
    ):
        wait_until(lambda: [uid for uid, _ in peer.objects] == [good.sop_instance_uid])
        wait_until(lambda: node.waiting() == 1)
    assert [line["event"] for line in logs] == ["delivery.interrupted"]
    (record,) = node.store.show_study(1).results[0].deliveries
    assert (str(record.state), record.attempts) == ("PENDING", 0)
    assert node.store.destination_trouble("pacs") is None
    assert timedelta(seconds=30) < (node.store.next_due("pacs") or NOW) - datetime.now(UTC)


def test_one_process_looks_anew_who_has_a_destination_after_the_clock_stepped_back(node: Node) -> None:
    lane = Lane("pacs", node.store, 1, "one", timedelta(minutes=15))
    assert lane.hold()
    # as if the clock had been set back by a day since, and another had taken it
    lane._held_until += timedelta(days=1)
    node.store.let_go_destination("pacs", "one")
    assert node.store.hold_destination("pacs", "two", datetime.now(UTC) + timedelta(minutes=15))
    assert not lane.hold()


def test_stop_finishes_the_object_being_sent_and_leaves_the_rest(node: Node) -> None:
    node.plan("pacs", objects=6)

    def slowly(_uid: str) -> Reply:
        time.sleep(0.15)
        return Reply()

    with RawAcceptor(slowly) as peer:
        settings = DeliverySettings(destinations={"pacs": at(peer.port)}, caller=CALLER)
        deliverer = Deliverer(settings, node.store, Shelves(results=node.results, received=node.results))
        deliverer.start()
        wait_until(lambda: len(peer.objects) == 2)
        begun = time.monotonic()
        assert deliverer.stop()
        assert time.monotonic() - begun < 2
        # what the peer has got is recorded as such, nothing was cut off
        assert len(peer.objects) + node.waiting() == 6
        assert node.waiting() >= 2


# another SR class, and asking beforehand


def test_a_rejected_class_is_told_from_every_other_refusal(tmp_path: Path) -> None:
    first, second = outgoing(tmp_path / "out", sop_class=SR), outgoing(tmp_path / "out", sop_class=SC)
    with choosy_storescp(tmp_path / "peer", (SC, ExplicitVRLittleEndian)) as peer:
        answers = sent(address_of(peer), first, second)
    assert (answers[first].failure, answers[first].not_negotiated) == (ErrorKind.PERMANENT, True)
    assert (answers[second].failure, answers[second].not_negotiated) == (None, False)
    with RawAcceptor(lambda _uid: Reply(0xC000)) as peer_:
        assert not sent(at(peer_.port), first)[first].not_negotiated


def test_a_peer_is_asked_what_it_would_take(tmp_path: Path) -> None:
    kinds = {negotiated(each) for each in PROFILE.renditions} | {(SC, RLELossless)}
    with choosy_storescp(
        tmp_path / "peer", (SC, ExplicitVRLittleEndian), (ENHANCED, ExplicitVRLittleEndian)
    ) as peer:
        refused = negotiate(address_of(peer), kinds, CALLER)
        assert negotiate(address_of(peer), [(SR, ExplicitVRLittleEndian)], CALLER).keys() == {
            (SR, ExplicitVRLittleEndian)
        }
        assert not peer.files()
    assert refused == {
        (SR, ExplicitVRLittleEndian): "SOP class not supported",
        (SC, RLELossless): "transfer syntax not supported",
    }
    with pytest.raises(PeerUnreachable, match="refused"):
        negotiate(at(free_port()), kinds, CALLER)


def test_a_peer_of_enhanced_sr_only_gets_that(tmp_path: Path, node: Node) -> None:
    study = node.plan_report("pacs")
    with choosy_storescp(tmp_path / "peer", (ENHANCED, ExplicitVRLittleEndian)) as peer:
        settings = DeliverySettings(
            destinations={"pacs": address_of(peer)},
            caller=CALLER,
            policy=SOON,
            profiles={"pacs": PROFILE},
            poll_seconds=0.2,
        )
        deliverer = Deliverer(settings, node.store, Shelves(results=node.results, received=node.results))
        deliverer.start()
        wait_until(lambda: not node.waiting())
        assert deliverer.stop()
        assert len(peer.files()) == 1
    comprehensive, enhanced = (each.deliveries for each in node.store.show_study(study).results)
    assert (comprehensive[0].state, enhanced[0].state) == ("REFUSED", "STORED")
    assert f"SOP class {SR}" in (comprehensive[0].reason or "")
    assert enhanced[0].stands_in_for == comprehensive[0].number
