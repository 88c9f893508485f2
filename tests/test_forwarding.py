"""Originals are sent on unchanged, to DCMTK: byte for byte, in the transfer syntax they came in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
)

from mcads_node.deliver.deliverer import Deliverer, DeliverySettings, Shelves
from mcads_node.deliver.send import Caller, DestinationAddress
from mcads_node.instance import Requestor
from mcads_node.receive.arrival import StoreCommand, arrival_of, keep_in
from mcads_node.spool import Spool
from mcads_node.workitems import Handling, Workitems, open_store
from tests.part10_files import data_set_bytes, radiograph
from tests.peers import Peer, choosy_storescp, storescp
from tests.test_deliver import wait_until

MODALITY = Requestor(ae_title="MODALITY", address="10.20.0.7", called_ae_title="MCADS")
EXPLICIT, IMPLICIT = str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian)
CR, DX = str(ComputedRadiographyImageStorage), str(DigitalXRayImageStorageForPresentation)


class Gateway:
    """A node that receives and forwards, and does nothing else."""

    def __init__(self, folder: Path) -> None:
        self.store: Workitems = open_store(folder / "node.db")
        self.shelves = Shelves(results=Spool(folder / "results"), received=Spool(folder / "spool"))
        handling = Handling(forward=("archive",))
        self._keep = keep_in(self.shelves.received, self.store, handling_of=lambda _arrival: handling)

    def receive(self, ds: Dataset) -> bytes:
        """Take an object as a peer encoded it; gives the bytes of its data set."""
        buffer = BytesIO()
        ds.save_as(buffer, enforce_file_format=True)
        data = data_set_bytes(buffer.getvalue())
        command = StoreCommand(
            requestor=MODALITY,
            sop_class_uid=ds.SOPClassUID,
            sop_instance_uid=ds.SOPInstanceUID,
            context_sop_class_uid=ds.SOPClassUID,
            transfer_syntax_uid=str(ds.file_meta.TransferSyntaxUID),
        )
        assert self._keep(arrival_of(command, data)).status == 0x0000
        return data

    def forward(self, peer: Peer) -> None:
        """Send all that is due, until nothing waits."""
        address = DestinationAddress(ae_title=peer.ae_title, host=peer.host, port=peer.port)
        settings = DeliverySettings(
            destinations={"archive": address}, caller=Caller(ae_title="MCADS"), poll_seconds=0.2
        )
        deliverer = Deliverer(settings, self.store, self.shelves)
        deliverer.start()
        try:
            wait_until(lambda: not self.store.pending_by_destination())
        finally:
            assert deliverer.stop()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    made = Gateway(tmp_path / "node")
    yield made
    made.store.close()


def image(sop_class: str = DX, syntax: str = EXPLICIT) -> Dataset:
    """Make an image with what a decoder would mend or lose: a private element, a blank too many."""
    ds = radiograph(transfer_syntax=syntax)
    ds.SOPClassUID = sop_class
    block = ds.private_block(0x0099, "MCADS TEST", create=True)
    block.add_new(0x01, "LO", "kept as it is ")
    return ds


def test_the_peer_gets_the_bytes_that_came(tmp_path: Path, gateway: Gateway) -> None:
    images = [
        image(),
        image(CR, IMPLICIT),
        image(syntax=str(ExplicitVRBigEndian)),
        image(syntax=str(DeflatedExplicitVRLittleEndian)),
        # whose frame is no codestream: nobody has to decode it
        image(syntax=str(JPEGLSLossless)),
    ]
    sent = {
        str(ds.SOPInstanceUID): (gateway.receive(ds), str(ds.file_meta.TransferSyntaxUID)) for ds in images
    }
    with storescp(tmp_path / "archive", "+xa", "+B") as peer:
        gateway.forward(peer)
        arrived = {}
        for file in peer.files():
            meta = read_file_meta_info(file)
            data = data_set_bytes(file.read_bytes())
            arrived[str(meta.MediaStorageSOPInstanceUID)] = (data, str(meta.TransferSyntaxUID))
    assert arrived == sent
    assert forwards(gateway) == ["STORED"] * len(images)


def forwards(gateway: Gateway) -> list[str]:
    records = [gateway.store.show_study(line.number) for line in gateway.store.list_studies()]
    return [str(each.state) for record in records for image in record.instances for each in image.forwarded]


def test_what_the_peer_does_not_take_is_refused_and_never_encoded_anew(
    tmp_path: Path, gateway: Gateway
) -> None:
    taken, refused, other_class = image(), image(syntax=IMPLICIT), image(CR)
    for each in (taken, refused, other_class):
        gateway.receive(each)
    with choosy_storescp(tmp_path / "archive", (DX, EXPLICIT)) as peer:
        gateway.forward(peer)
        assert len(peer.files()) == 1
    reasons = {each.sop_instance_uid: each.reason for each in gateway.store.list_undelivered()}
    assert reasons == {
        refused.SOPInstanceUID: f"the peer does not accept SOP class {DX} in transfer syntax "
        f"{IMPLICIT}: transfer syntax not supported",
        other_class.SOPInstanceUID: f"the peer does not accept SOP class {CR} in transfer syntax "
        f"{EXPLICIT}: SOP class not supported",
    }


def test_a_peer_that_is_away_gets_it_when_it_is_back(tmp_path: Path, gateway: Gateway) -> None:
    ds = image()
    data = gateway.receive(ds)
    gateway.store.defer_destination("archive", datetime.now(UTC), "connection refused")
    with storescp(tmp_path / "archive", "+B") as peer:
        gateway.forward(peer)
        (file,) = peer.files()
        assert data_set_bytes(file.read_bytes()) == data


def test_a_damaged_original_is_not_sent(tmp_path: Path, gateway: Gateway) -> None:
    gateway.receive(image())
    (delivery,) = gateway.store.due_deliveries("archive", 1)
    file = gateway.shelves.locate(delivery)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with storescp(tmp_path / "archive") as peer:
        gateway.forward(peer)
        assert peer.files() == []
    (letter,) = gateway.store.list_undelivered()
    assert "damaged" in letter.reason
