"""Keeping what arrived: real spool, real durable state."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian

from mcads_node.instance import Requestor
from mcads_node.product import IMPLEMENTATION_CLASS_UID
from mcads_node.receive.arrival import StoreCommand, arrival_of, encode_meta, keep_in
from mcads_node.spool import Spool
from mcads_node.workitems import InstanceDeclined, Workitem, Workitems, now_utc, open_store
from mcads_node.workitems.retention import FileKind
from tests.part10_files import DX_FOR_PRESENTATION, data_set_bytes, radiograph
from tests.workitems_samples import fresh_store

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


def claimed(place: Place) -> list[Workitem]:
    return place.store.claim("here", timedelta(seconds=60))


def test_an_image_whose_file_was_lost_is_kept_when_it_comes_again(place: Place) -> None:
    command, data = image()
    arrival = arrival_of(command, data)
    keep = keep_in(place.spool, place.store)
    keep(arrival)
    (old,) = place.files()
    (lost,) = claimed(place)
    for damage in (
        Path.unlink,
        lambda file: file.write_bytes(b"torn"),
        lambda file: (file.unlink(), file.mkdir()),
    ):
        (file,) = (place.spool.locate(path) for path in place.store.spool_paths())
        damage(file)
        assert keep(arrival).status == 0x0000
        (path,) = place.store.spool_paths()
        assert place.spool.read(path) == arrival.meta + data
    # whoever had the lost file to work on does not speak for the image any more
    assert place.store.fail(lost, "is gone", permanent=True) is None
    (item,) = claimed(place)
    assert item.instance is not None
    assert place.spool.read(item.instance.path) == arrival.meta + data
    assert [each.what for each in place.store.show_study(1).events].count("file replaced") == 3
    assert not old.exists()


def test_on_every_database_a_lost_file_is_replaced_once(database: str | Path, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    with fresh_store(database, now_utc) as store:
        command, data = image()
        arrival = arrival_of(command, data)
        keep = keep_in(spool, store)
        keep(arrival)
        (item,) = store.claim("here", timedelta(seconds=60))
        assert item.instance is not None
        lost = store.kept_file(item.instance, is_readable=True)
        assert lost is not None
        assert lost.path == item.instance.path
        spool.delete(lost.path)
        keep(arrival)
        (path,) = store.spool_paths()
        assert spool.read(path) == arrival.meta + data
        # another who found the same loss comes too late
        assert not store.replace_file(lost, replace(item.instance, path="2026-01-01/" + 32 * "a"))
        assert store.spool_paths() == {path}
        (again,) = store.claim("here", timedelta(seconds=60))
        assert again.instance is not None
        assert again.instance.path == path


def test_an_image_quarantined_for_its_file_is_analysed_when_it_comes_again(place: Place) -> None:
    command, data = image()
    keep = keep_in(place.spool, place.store)
    keep(arrival_of(command, data))
    (item,) = claimed(place)
    place.files()[0].unlink()
    place.store.fail(item, "is gone", permanent=True)
    # with another preface, so of another size
    other = replace(command, requestor=replace(MODALITY, ae_title="LONGER_AE_TITLE"))
    assert keep(arrival_of(other, data)).status == 0x0000
    (again,) = claimed(place)
    assert (again.instance_number, again.attempts) == (item.instance_number, 0)
    assert place.store.list_quarantined() == []
    # and a third time nothing is wrong
    assert keep(arrival_of(command, data)).status == 0x0000
    assert len(place.files()) == 1
    assert len(place.store.renew([again], timedelta(seconds=60))) == 1


@pytest.mark.parametrize("odd", [b"no data set", b"other content"])
def test_what_was_declined_is_kept_again_too(place: Place, odd: bytes) -> None:
    command, data = image()
    keep = keep_in(place.spool, place.store)
    keep(arrival_of(command, data))
    again = arrival_of(
        command, data.replace(b"Very^Secret", b"Less^Secret") if odd == b"other content" else odd
    )
    keep(again)
    before = place.store.spool_paths()
    (lost,) = (each for each in place.files() if each.read_bytes() == again.meta + again.dataset)
    lost.unlink()
    keep(again)
    assert len(place.files()) == len(place.store.spool_paths()) == 2
    assert place.store.spool_paths() != before
    assert len(claimed(place)) == 1


def test_a_file_that_was_let_go_is_not_kept_again(place: Place) -> None:
    command, data = image()
    keep = keep_in(place.spool, place.store)
    keep(arrival_of(command, data))
    (item,) = claimed(place)
    place.store.complete_analysis(item, InstanceDeclined(reason="not a chest"))
    (path,) = place.store.let_go(FileKind.DECLINED, timedelta(days=-1), [1])
    place.spool.delete(path)
    assert keep(arrival_of(command, data)).status == 0x0000
    assert place.files() == []


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
