"""Keeping what arrived: real spool, real durable state."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian

from mcads_node.instance import Requestor
from mcads_node.product import IMPLEMENTATION_CLASS_UID
from mcads_node.receive.arrival import StoreCommand, arrival_of, encode_meta, keep_in
from mcads_node.spool import Spool
from mcads_node.workitems import Workitems, open_store
from tests.part10_files import DX_FOR_PRESENTATION, data_set_bytes, radiograph

MODALITY = Requestor(ae_title="MODALITY", address="10.20.0.7", called_ae_title="MCADS")


@dataclass
class Place:
    store: Workitems
    spool: Spool

    def files(self) -> list[Path]:
        return sorted(each for each in self.spool.folder.glob("*/*"))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    store = open_store(tmp_path / "node.db")
    yield Place(store=store, spool=Spool(tmp_path / "spool"))
    store.close()


def image() -> tuple[StoreCommand, bytes]:
    ds = radiograph()
    file = BytesIO()
    ds.save_as(file, enforce_file_format=True)
    command = StoreCommand(
        requestor=MODALITY,
        sop_class_uid=DX_FOR_PRESENTATION,
        sop_instance_uid=ds.SOPInstanceUID,
        context_sop_class_uid=DX_FOR_PRESENTATION,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    return command, data_set_bytes(file.getvalue())


def test_an_image_is_in_the_spool_and_on_record_when_success_is_answered(place: Place) -> None:
    command, data = image()
    arrival = arrival_of(command, data)
    assert keep_in(place.spool, place.store)(arrival).status == 0x0000
    (file,) = place.files()
    assert file.read_bytes() == arrival.meta + data
    assert place.store.spool_paths() == {f"{file.parent.name}/{file.name}"}
    (study,) = place.store.list_studies()
    assert study.study_instance_uid == arrival.study_instance_uid


def test_the_same_image_again_is_a_success_and_keeps_one_file(place: Place) -> None:
    command, data = image()
    keep = keep_in(place.spool, place.store)
    assert [keep(arrival_of(command, data)).status for _ in range(3)] == [0x0000] * 3
    assert len(place.files()) == 1
    # a sender's other AE title is in the meta, which is ours: it does not make another image
    other = replace(command, requestor=replace(MODALITY, ae_title="PACS"))
    assert keep(arrival_of(other, data)).status == 0x0000
    assert len(place.files()) == 1


def test_other_content_under_a_known_uid_is_kept_apart(place: Place) -> None:
    command, data = image()
    keep = keep_in(place.spool, place.store)
    assert keep(arrival_of(command, data)).status == 0x0000
    assert keep(arrival_of(command, data.replace(b"Very^Secret", b"Less^Secret"))).status == 0x0000
    assert len(place.files()) == len(place.store.spool_paths()) == 2


@pytest.mark.parametrize("data", [b"", b"no data set", b"\x08\x00\x16\x00UI\xff\xff1.2"])
def test_bytes_that_are_no_data_set_are_kept_and_refused(place: Place, data: bytes) -> None:
    command, _ = image()
    keep = keep_in(place.spool, place.store)
    assert [keep(arrival_of(command, data)).status for _ in range(2)] == [0xC000, 0xC000]
    (file,) = place.files()
    assert file.read_bytes().endswith(data)
    assert len(place.store.spool_paths()) == 1


@pytest.mark.parametrize("uid", ["../../etc/passwd", "1.02.3", "1" * 65, "", "1." * 5000, "\\xff"])
def test_an_odd_uid_is_kept_on_record_and_no_path_is_made_of_it(place: Place, uid: str) -> None:
    command, data = image()
    arrival = arrival_of(replace(command, sop_instance_uid=uid), data)
    assert keep_in(place.spool, place.store)(arrival).status == 0xA900
    (file,) = place.files()
    assert place.store.spool_paths() == {f"{file.parent.name}/{file.name}"}
    assert file.read_bytes() == arrival.meta + data


def test_a_full_disk_is_out_of_resources_and_leaves_nothing(place: Place) -> None:
    command, data = image()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # no file of this process may grow past this: the write ends in EFBIG, as it would in ENOSPC
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
    try:
        status = keep_in(place.spool, place.store)(arrival_of(command, data + bytes(3_000_000))).status
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert status == 0xA700
    assert place.files() == []
    assert keep_in(place.spool, place.store)(arrival_of(command, data)).status == 0x0000


def test_the_meta_is_what_pydicom_reads() -> None:
    command, data = image()
    read = dcmread(BytesIO(encode_meta(command) + data))
    meta = read.file_meta
    assert meta.FileMetaInformationVersion == b"\0\1"
    assert meta.MediaStorageSOPClassUID == DX_FOR_PRESENTATION
    assert meta.MediaStorageSOPInstanceUID == read.SOPInstanceUID
    assert meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.SourceApplicationEntityTitle == "MODALITY"
    # the group length leads to the data set
    assert data_set_bytes(encode_meta(command) + data) == data
