"""Storage Commitment with real peers: Orthanc over TLS in both directions, and DCMTK, which has none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import structlog
from pydicom.uid import ExplicitVRLittleEndian

from mcads_node.deliver.deliverer import Terms
from mcads_node.instance import Requestor
from mcads_node.receive.admission import Admission, Refusal
from mcads_node.receive.commitment import CommitmentReports, Reporter
from mcads_node.receive.scp import ReceiverSettings, StorageScp
from mcads_node.spool import Spool
from mcads_node.tls import PeerTls, Tls
from mcads_node.workitems import open_store
from tests.certificates import Authority
from tests.peers import orthanc, storescp
from tests.test_commitment import delivering
from tests.test_deliver import SOON, Node, address_of, wait_until

#: no answer is waited for over the association of the request
ASK = Terms(commitment_timeout=timedelta(seconds=30), report_seconds=0)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    store = open_store(tmp_path / "node.db")
    yield Node(store=store, results=Spool(tmp_path / "results"))
    store.close()


def test_orthanc_is_asked_and_answers_over_tls(tmp_path: Path, node: Node) -> None:
    ca = Authority(tmp_path / "ca")
    tls, peer_files = Tls(ca.files(ca.issue("node", "127.0.0.1"))), ca.issue("orthanc", "127.0.0.1")
    refused: list[tuple[Requestor, Refusal]] = []
    take = partial(node.store.record_commitment, policy_of=lambda _name: SOON)
    reports = CommitmentReports("MCADS", [Reporter(ae_title="ORTHANC", host="127.0.0.1")], take)
    settings = ReceiverSettings(
        admission=Admission(ae_title="MCADS", requestors=(), max_associations=4),
        transfer_syntaxes=(ExplicitVRLittleEndian,),
        tls=tls,
    )
    scp = StorageScp(settings, lambda _arrival: 0, lambda *told: refused.append(told), reports=reports)
    scp.start()
    us = {"AET": "MCADS", "Host": "127.0.0.1", "Port": scp.port, "UseDicomTls": True}
    configuration = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(peer_files.certificate),
        "DicomTlsPrivateKey": str(peer_files.key),
        "DicomTlsTrustedCertificates": str(ca.certificate),
        "DicomTlsRemoteCertificateRequired": True,
        "DicomModalities": {"mcads": us},
    }
    study = node.plan("pacs", objects=2)
    try:
        with orthanc(tmp_path / "peer", **configuration) as peer:
            secure = replace(address_of(peer), tls=PeerTls(tls=tls))
            with delivering(node, secure, ASK):
                wait_until(lambda: node.states(study) == ["COMMITTED"] * 2, 60)
    finally:
        scp.stop()
    assert refused == []


def test_dcmtk_stores_what_it_cannot_commit_to(tmp_path: Path, node: Node) -> None:
    study = node.plan("pacs")
    with structlog.testing.capture_logs() as logs, storescp(tmp_path / "peer") as peer:
        with delivering(node, address_of(peer), ASK):
            wait_until(lambda: any(each["event"] == "commitment.not_accepted" for each in logs), 60)
        assert node.states(study) == ["STORED"]
        assert len(list(peer.folder.iterdir())) == 1
    (told,) = [each for each in logs if each["event"] == "commitment.not_accepted"]
    assert "Storage Commitment" in told["reason"]
