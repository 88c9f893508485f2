"""Storage Commitment over real sockets: a peer that answers as it is told to, and Orthanc."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import structlog
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from mcads_node.backoff import RetryPolicy
from mcads_node.commitment import report_of
from mcads_node.deliver.committing import Asked, ask
from mcads_node.deliver.deliverer import Deliverer, DeliverySettings, Shelves, Terms, Transfer
from mcads_node.deliver.send import Caller, DestinationAddress, negotiate
from mcads_node.errors import PeerUnreachable, PermanentError, TransientError
from mcads_node.receive.admission import Admission, AllowedRequestor
from mcads_node.receive.commitment import CommitmentReports, Reporter
from mcads_node.receive.scp import ReceiverSettings, StorageScp
from mcads_node.spool import Spool
from mcads_node.workitems import CommitmentOutcome, CommitmentReport, CommitmentRequest, Stored, open_store
from tests.commitment_peer import CommitmentPeer, aborting_peer, event_information, report_to
from tests.peers import free_port, orthanc
from tests.test_deliver import CALLER, PROFILE, SC, SOON, Node, address_of, at, wait_until

ASK = Terms(commitment_timeout=timedelta(seconds=30), report_seconds=5)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    store = open_store(tmp_path / "node.db")
    yield Node(store=store, results=Spool(tmp_path / "results"))
    store.close()


@contextlib.contextmanager
def delivering(
    node: Node,
    peer: DestinationAddress,
    terms: Terms = ASK,
    transfers: list[Transfer] | None = None,
    policy: RetryPolicy = SOON,
) -> Iterator[None]:
    settings = DeliverySettings(
        destinations={"pacs": peer},
        caller=CALLER,
        policy=policy,
        profiles={"pacs": PROFILE},
        terms={"pacs": terms},
        poll_seconds=0.1,
        observer=None if transfers is None else transfers.append,
    )
    deliverer = Deliverer(settings, node.store, Shelves(results=node.results, received=node.results))
    deliverer.start()
    try:
        yield
    finally:
        assert deliverer.stop()


@contextlib.contextmanager
def receiving(
    node: Node, *, port: int = 0, listed: str = "MODALITY", reporter: str = "PEER"
) -> Iterator[int]:
    """Run a receiver that takes answers; gives its port."""
    take = partial(node.store.record_commitment, policy_of=lambda _name: SOON)
    reports = CommitmentReports("MCADS", [Reporter(ae_title=reporter, host="localhost")], take)
    allowed = AllowedRequestor(ae_title="MODALITY", address="127.0.0.1")
    admission = Admission(ae_title="MCADS", requestors=(allowed,), max_associations=4)
    settings = ReceiverSettings(admission=admission, transfer_syntaxes=(ExplicitVRLittleEndian,), port=port)
    scp = StorageScp(settings, lambda _arrival: 0, lambda _requestor, _refusal: None, reports=reports)
    scp.start()
    try:
        yield scp.port
    finally:
        scp.stop()


def all_committed(_number: int, uids: list[str]) -> tuple[list[str], list[str]]:
    return uids, []


def test_an_answer_on_the_same_association(node: Node) -> None:
    study = node.plan("pacs", objects=3)
    with CommitmentPeer(all_committed) as peer, delivering(node, at(peer.port)):
        wait_until(lambda: node.states(study) == ["COMMITTED"] * 3)
        assert len(peer.requests) == 1
        assert sorted(peer.requests[0][1]) == sorted(peer.stored)
        wait_until(lambda: peer.reported == [0x0000])


def test_an_answer_on_an_association_of_the_peers_own(node: Node) -> None:
    study = node.plan("pacs", objects=2)
    quick = Terms(commitment_timeout=timedelta(seconds=30), report_seconds=0)
    with (
        receiving(node) as port,
        CommitmentPeer(all_committed, node_port=port) as peer,
        delivering(node, at(peer.port), quick),
    ):
        wait_until(lambda: node.states(study) == ["COMMITTED"] * 2)
        wait_until(lambda: peer.reported == [0x0000])


def test_what_failed_is_sent_again_until_it_is_committed(node: Node) -> None:
    study = node.plan("pacs", objects=3)

    def answer(number: int, uids: list[str]) -> tuple[list[str], list[str]]:
        return (uids[1:], uids[:1]) if number == 1 else (uids, [])

    with CommitmentPeer(answer) as peer, delivering(node, at(peer.port)):
        wait_until(lambda: node.states(study) == ["COMMITTED"] * 3)
        assert len(peer.stored) == 4
        assert [len(uids) for _, uids in peer.requests] == [3, 1]


def test_what_keeps_failing_is_given_up_with_the_reason(node: Node) -> None:
    study = node.plan("pacs")
    twice = RetryPolicy(base=timedelta(seconds=0.2), cap=timedelta(seconds=1), max_attempts=2)
    with (
        CommitmentPeer(lambda _number, uids: ([], uids)) as peer,
        delivering(node, at(peer.port), policy=twice),
    ):
        wait_until(lambda: node.states(study) == ["REFUSED"], 30)
        assert len(peer.stored) == 2
    (letter,) = node.store.list_undelivered("pacs")
    assert "no such object instance" in letter.reason
    assert "2 attempts failed" in letter.reason


def test_a_peer_that_never_answers_is_asked_again(node: Node) -> None:
    study = node.plan("pacs")
    soon = Terms(commitment_timeout=timedelta(seconds=0.5), report_seconds=0.3)
    with (
        CommitmentPeer(lambda number, uids: (uids, []) if number == 3 else None) as peer,
        delivering(node, at(peer.port), soon),
    ):
        wait_until(lambda: node.states(study) == ["COMMITTED"])
        assert len({uid for uid, _ in peer.requests}) == 3
        assert len(peer.stored) == 1


@pytest.mark.parametrize("how", ["accepted", "status", "context"])
def test_a_destination_that_was_away_when_it_was_to_be_asked_is_not_failing_for_ever(
    node: Node, how: str
) -> None:
    node.plan("pacs")
    (delivery,) = node.store.due_deliveries("pacs", 10)
    node.store.record_delivery(delivery, Stored(awaits_commitment=True))
    node.store.defer_destination("pacs", datetime.now(UTC), "connection refused")
    peer = CommitmentPeer(lambda _number, _uids: None, action_status=0x0110 if how == "status" else 0)
    peer.accepts_commitment = how != "context"
    with peer, delivering(node, at(peer.port)):
        wait_until(lambda: node.store.destination_trouble("pacs") is None, 5)


def test_a_peer_that_aborts_before_it_could_be_asked_is_away(node: Node) -> None:
    node.plan("pacs")
    (delivery,) = node.store.due_deliveries("pacs", 10)
    # so many that the abort is there before the request is made
    many = CommitmentRequest(destination="pacs", transaction_uid="2.25.1", deliveries=(delivery,) * 10_000)
    asked = Asked(request=many, on_report=lambda _report: None, wait_seconds=0)
    with aborting_peer() as port, pytest.raises(PeerUnreachable, match="aborted the association"):
        ask(at(port), asked, CALLER)


@pytest.mark.parametrize("how", ["status", "context"])
def test_a_peer_that_does_not_take_the_request_keeps_getting_objects(node: Node, how: str) -> None:
    study = node.plan("pacs")
    peer = CommitmentPeer(all_committed, action_status=0x0110 if how == "status" else 0)
    peer.accepts_commitment = how == "status"
    with structlog.testing.capture_logs() as logs, peer, delivering(node, at(peer.port)):
        wait_until(lambda: any(line["event"] == "commitment.not_accepted" for line in logs))
        later = node.plan("pacs")
        wait_until(lambda: node.states(later) == ["STORED"])
        assert node.states(study) == ["STORED"]
        assert node.store.destination_trouble("pacs") is None
    line = next(each for each in logs if each["event"] == "commitment.not_accepted")
    assert ("0x0110" if how == "status" else "does not support") in line["reason"]


def test_a_node_that_died_after_storing_asks_when_it_is_back(node: Node) -> None:
    study = node.plan("pacs")
    (delivery,) = node.store.due_deliveries("pacs", 10)
    node.store.record_delivery(delivery, Stored(awaits_commitment=True))
    with CommitmentPeer(all_committed) as peer, delivering(node, at(peer.port)):
        wait_until(lambda: node.states(study) == ["COMMITTED"])
        assert peer.stored == []


def test_a_node_that_died_after_asking_asks_again(node: Node) -> None:
    study = node.plan("pacs")
    (delivery,) = node.store.due_deliveries("pacs", 10)
    node.store.record_delivery(delivery, Stored(awaits_commitment=True))
    lost = node.store.request_commitment("pacs", datetime.now(UTC) + timedelta(seconds=1))
    assert lost is not None
    with CommitmentPeer(all_committed) as peer, delivering(node, at(peer.port)):
        wait_until(lambda: node.states(study) == ["COMMITTED"])
        assert [uid for uid, _ in peer.requests] != [lost.transaction_uid]


def test_orthanc_commits_and_what_it_does_not_have_is_sent_again(tmp_path: Path, node: Node) -> None:
    study, missing = node.plan("pacs", objects=2), node.plan("pacs")
    # on record as stored, but Orthanc never had it
    (lost,) = (each for each in node.store.due_deliveries("pacs", 10) if each.study_instance_uid == missing)
    node.store.record_delivery(lost, Stored(awaits_commitment=True))
    with receiving(node, port=free_port(), reporter="ORTHANC") as port:
        modalities = {"mcads": ["MCADS", "127.0.0.1", port]}
        with orthanc(tmp_path / "peer", DicomModalities=modalities) as peer:
            with delivering(node, address_of(peer), Terms(**{**vars(ASK), "report_seconds": 0})):
                wait_until(lambda: node.states(study) == ["COMMITTED"] * 2, 30)
                wait_until(lambda: node.states(missing) == ["COMMITTED"], 30)
            assert len(peer.get("/instances")) == 3
    events = [event.what for event in node.store.show_study(missing).events]
    assert events.index("not committed") < events.index("committed")


# what comes to our own port

WITHOUT_TRANSACTION = Dataset()
WITHOUT_TRANSACTION.RetrieveAETitle = "PACS"


def test_an_unknown_transaction_is_a_processing_failure_and_logged(node: Node) -> None:
    with structlog.testing.capture_logs() as logs, receiving(node) as port:
        assert report_to(port, event_information("2.25.9", ["1.2"])) == 0x0110
    assert [(each["event"], each["transaction_uid"]) for each in logs] == [("commitment.unknown", "2.25.9")]


@pytest.mark.parametrize(
    ("information", "event_type", "status"),
    [
        (WITHOUT_TRANSACTION, 1, 0x0115),
        (None, 1, 0x0115),
        (event_information("2.25.9", ["1.2"]), 7, 0x0113),
        (event_information("2.25.9", ["1.2"]), 0, 0x0113),
    ],
)
def test_a_malformed_report_gets_an_error_status(
    node: Node, information: Dataset | None, event_type: int, status: int
) -> None:
    with structlog.testing.capture_logs() as logs, receiving(node) as port:
        assert report_to(port, information, event_type) == status
        # and the receiver is as before
        assert report_to(port, event_information("2.25.9", ["1.2"])) == 0x0110
    assert logs[0]["event"] == "commitment.malformed"


def test_a_database_that_is_busy_is_told_so(node: Node) -> None:
    def busy(_report: CommitmentReport) -> CommitmentOutcome | None:
        raise TransientError("busy")

    reports = CommitmentReports("MCADS", [Reporter(ae_title="PEER", host="127.0.0.1")], busy)
    admission = Admission(ae_title="MCADS", requestors=(), max_associations=4)
    settings = ReceiverSettings(admission=admission, transfer_syntaxes=(ExplicitVRLittleEndian,))
    scp = StorageScp(settings, lambda _arrival: 0, lambda _requestor, _refusal: None, reports=reports)
    scp.start()
    assert report_to(scp.port, event_information("2.25.9", ["1.2"])) == 0x0213
    scp.stop()


def test_who_may_answer(node: Node) -> None:
    information = event_information("2.25.9", ["1.2"])
    with receiving(node) as port:
        assert report_to(port, information, ae_title="PEER") == 0x0110
        assert report_to(port, information, ae_title="MODALITY") == 0x0110
        assert report_to(port, information, ae_title="STRANGER") == "rejected"
        # without role selection, as some peers do it
        assert report_to(port, information, ae_title="PEER", with_role=False) == 0x0110


def test_a_destination_that_may_only_answer_may_not_store(tmp_path: Path, node: Node) -> None:
    kinds = [(SC, ExplicitVRLittleEndian)]
    with receiving(node) as port:
        to_us = DestinationAddress(ae_title="MCADS", host="127.0.0.1", port=port)
        assert negotiate(to_us, kinds, Caller(ae_title="MODALITY")) == {}
        assert len(negotiate(to_us, kinds, Caller(ae_title="PEER"))) == 1


# reading a report


def encoded(dataset: Dataset, implicit: bool) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = implicit, True
    write_dataset(buffer, dataset)
    return buffer.getvalue()


@pytest.mark.parametrize("implicit", [True, False])
def test_a_report_is_read_in_either_transfer_syntax(implicit: bool) -> None:
    syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    data = encoded(event_information("2.25.9", ["1.2", "1.3"], ["1.3", "1.4"], 0x0213), implicit)
    report = report_of(data, syntax)
    # what is named as both is not committed
    assert report == CommitmentReport(
        transaction_uid="2.25.9", committed=frozenset({"1.2"}), failed={"1.3": 0x0213, "1.4": 0x0213}
    )


def test_no_damage_to_a_report_is_anything_but_an_error() -> None:
    data = encoded(event_information("2.25.9", ["1.2"], ["1.4"]), implicit=False)
    for place in range(len(data)):
        for damaged in (data[:place], data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]):
            with contextlib.suppress(PermanentError):
                report_of(damaged, ExplicitVRLittleEndian)


# several couriers


def test_couriers_share_a_queue_and_never_send_one_object_twice_at_a_time(node: Node) -> None:
    studies = [node.plan("pacs", objects=2) for _ in range(8)]
    transfers: list[Transfer] = []
    terms = Terms(associations=4)
    with (
        CommitmentPeer(all_committed, store_seconds=0.1) as peer,
        delivering(node, at(peer.port), terms, transfers),
    ):
        wait_until(lambda: not node.waiting())
        wait_until(lambda: sum(sum(each.stored.values()) for each in transfers) == 16)
    assert len(peer.stored) == len(set(peer.stored)) == 16
    assert peer.twice == []
    assert 2 <= peer.busiest <= 4
    assert all(node.states(study) == ["STORED", "STORED"] for study in studies)
    told = {study for each in transfers for study in each.stored}
    assert told == set(studies)
    assert {(each.destination, each.refused, each.deferred, each.unreachable) for each in transfers} == {
        ("pacs", 0, 0, None)
    }


def test_a_destination_that_is_down_is_tried_by_one_courier_and_counted_once(node: Node) -> None:
    for _ in range(8):
        node.plan("pacs")
    transfers: list[Transfer] = []
    port = free_port()
    with delivering(node, at(port), Terms(associations=4), transfers):
        wait_until(lambda: len(transfers) >= 6)
    trouble = node.store.destination_trouble("pacs")
    assert trouble is not None
    # at the start all may try at once; from then on one at a time
    assert trouble.failures <= len(transfers)
    assert all("refused" in (each.unreachable or "") for each in transfers)


def test_a_class_that_is_refused_by_a_status_falls_back_too(node: Node) -> None:
    study = node.plan_report("pacs")
    comprehensive = "1.2.840.10008.5.1.4.1.1.88.34"
    peer = CommitmentPeer(all_committed, store_status={comprehensive: 0x0122})
    with peer, delivering(node, at(peer.port), Terms()):
        wait_until(lambda: sorted(node.states(study)) == ["REFUSED", "STORED"])
    assert node.store.list_undelivered() == []


def test_each_destination_has_a_maximum_age_of_its_own(node: Node) -> None:
    study = node.plan("pacs")
    with delivering(node, at(free_port()), Terms(max_age=timedelta(seconds=0.5))):
        wait_until(lambda: node.states(study) == ["REFUSED"])
    (letter,) = node.store.list_undelivered("pacs")
    assert "given up: no success within" in letter.reason
    assert node.store.retry_undelivered("pacs") == 1
    with CommitmentPeer(all_committed) as peer:
        node.store.defer_destination("pacs", letter.since, "away")
        with delivering(node, at(peer.port), Terms()):
            wait_until(lambda: node.states(study) == ["STORED"])


def test_another_process_that_delivers_is_left_to_it(node: Node) -> None:
    node.plan("pacs")
    with CommitmentPeer(all_committed) as peer:
        until = node.store.show_study(1).line.last_received_at + timedelta(minutes=15)
        assert node.store.hold_destination("pacs", "another", until)
        with delivering(node, at(peer.port), Terms()):
            time.sleep(0.5)
            assert node.waiting() == 1
            node.store.let_go_destination("pacs", "another")
            wait_until(lambda: not node.waiting())
