"""From the socket to the file: the short way gives what pynetdicom's own gives, and leaves nothing undone."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.transport import AssociationSocket

from mcads_node.draft import Draft, StoredFile
from mcads_node.instance import Requestor
from mcads_node.receive.admission import Admission, AllowedRequestor
from mcads_node.receive.arrival import Arrival, StoreCommand, arrival_of, encode_meta, keep_in
from mcads_node.receive.content import Incoming, InDraft, InMemory
from mcads_node.receive.scp import ReceiverSettings, StorageScp
from mcads_node.receive.transfer import decode, fragments, reader
from mcads_node.spool import Spool
from tests.part10_files import DX_FOR_PRESENTATION, data_set_bytes, radiograph, write
from tests.peers import RawPeer, element, pdu, storescu

DX = (DX_FOR_PRESENTATION, str(ExplicitVRLittleEndian))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def files(spool: Spool) -> list[str]:
    return [str(path.relative_to(spool.folder)) for path in spool.folder.rglob("*") if path.is_file()]


def item(context_id: int, value: bytes) -> bytes:
    return struct.pack(">IB", len(value) + 1, context_id) + value


# PDUs


@given(items=st.lists(st.tuples(st.integers(0, 255), st.binary(min_size=1, max_size=40)), max_size=6))
def test_fragments_are_those_that_were_sent(items: list[tuple[int, bytes]]) -> None:
    sent = pdu(0x04, b"".join(item(*each) for each in items))
    assert [(number, bytes(value)) for number, value in fragments(bytearray(sent))] == items
    assert [tuple(each) for each in usual_items(sent)] == items


@given(content=st.binary(max_size=40) | st.lists(st.sampled_from([0, 1, 2, 3, 5]), max_size=30).map(bytes))
def test_bytes_that_are_no_items_are_refused_as_by_pynetdicom(content: bytes) -> None:
    sent = pdu(0x04, content)
    try:
        expected = usual_items(sent)
    except (AssertionError, struct.error, IndexError):
        with pytest.raises((ValueError, struct.error)):
            list(fragments(bytearray(sent)))
        return
    if any(not value for _, value in expected):
        # pynetdicom takes a fragment without a control header, and ends the association over it a step later
        with pytest.raises(ValueError, match="not within"):
            list(fragments(bytearray(sent)))
    else:
        assert [(number, bytes(value)) for number, value in fragments(bytearray(sent))] == expected


def usual_items(sent: bytes) -> list[tuple[int, bytes]]:
    usual = P_DATA_TF()
    usual.decode(sent)
    return [
        (cast(int, each.presentation_context_id), cast(bytes, each.presentation_data_value))
        for each in usual.presentation_data_value_items
    ]


def command_set() -> bytes:
    body = element(0, 0x0002, DX_FOR_PRESENTATION.encode()) + element(0, 0x0100, b"\x01\x00")
    body += element(0, 0x0110, b"\x01\x00") + element(0, 0x0700, b"\x00\x00")
    body += element(0, 0x0800, b"\x00\x00") + element(0, 0x1000, b"1.2.3\0")
    return element(0, 0x0000, struct.pack("<I", len(body))) + body


@st.composite
def fragmented(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A data set, and the PDUs of a C-STORE request with it, cut anywhere and joined anyhow."""
    dataset = draw(st.binary(min_size=1, max_size=200)) * draw(st.sampled_from([1, 7, 1000]))
    items = []
    for content, control in ((command_set(), 1), (dataset, 0)):
        cuts = sorted({0, len(content), *draw(st.lists(st.integers(0, len(content)), max_size=6))})
        for begin, end in itertools.pairwise(cuts):
            last = 2 if end == len(content) else 0
            items.append(item(1, bytes([control | last]) + content[begin:end]))
    pdus, at = [], 0
    while at < len(items):
        count = draw(st.integers(1, 4))
        pdus.append(pdu(0x04, b"".join(items[at : at + count])))
        at += count
    return dataset, pdus


@settings(max_examples=60, deadline=None)
@given(sent=fragmented())
def test_any_fragmentation_gives_the_file_that_pynetdicom_would(
    tmp_path_factory: pytest.TempPathFactory, sent: tuple[bytes, list[bytes]]
) -> None:
    dataset, pdus = sent
    spool = Spool(tmp_path_factory.getbasetemp() / "fragments")
    usual, ours = DIMSEMessage(), DIMSEMessage()

    def begin() -> Draft:
        assert isinstance(ours, C_STORE_RQ), "the command comes first"
        return spool.begin(b"meta")

    ours.data_set = Incoming(begin)
    for each in pdus:
        stock = P_DATA_TF()
        stock.decode(each)
        is_whole = usual.decode_msg(stock.to_primitive())
        assert ours.decode_msg(decode(bytearray(each)).to_primitive()) is is_whole
        assert ours.data_set.tell() == cast(Any, usual.data_set).tell()
    assert is_whole
    assert ours.command_set == usual.command_set
    stored = ours.data_set.content.keep(spool, b"meta")
    assert spool.read(stored.path) == b"meta" + cast(Any, usual.data_set).getvalue() == b"meta" + dataset
    assert stored.digest == hashlib.sha256(dataset).hexdigest()
    spool.delete(stored.path)


class _Transport:
    """As much of pynetdicom's as reading needs."""

    def __init__(self, connection: socket.socket | None) -> None:
        self.socket = connection


def read_with(connection: socket.socket | None, longest: int = 1000) -> Callable[[int], bytearray]:
    return reader(cast(AssociationSocket, _Transport(connection)), longest)


def test_a_pdu_is_read_to_its_end_and_not_further() -> None:
    here, there = socket.socketpair()
    with here, there:
        sender = threading.Thread(target=lambda: all(there.send(b"12345") for _ in range(5)))
        sender.start()
        assert read_with(here)(18) == b"123451234512345123"
        sender.join()
        assert read_with(here)(7) == b"4512345"


def test_what_a_peer_that_is_gone_has_sent_is_given_as_it_is() -> None:
    here, there = socket.socketpair()
    with here:
        there.sendall(b"123")
        there.close()
        assert read_with(here)(10) == b"123"
    with pytest.raises(OSError, match="closed"):
        read_with(None)(1)


def test_no_more_is_read_than_a_pdu_may_have() -> None:
    here, there = socket.socketpair()
    with here, there, pytest.raises(OSError, match="1001 bytes was announced, at most 1000"):
        read_with(here)(1001)


# files


@contextlib.contextmanager
def receiving(spool: Spool, keep: Callable[[Arrival], int]) -> Iterator[StorageScp]:
    modality = AllowedRequestor(ae_title="MODALITY", address="127.0.0.1")
    admission = Admission(ae_title="MCADS", requestors=(modality,), max_associations=5)
    scp = StorageScp(
        ReceiverSettings(admission=admission, transfer_syntaxes=(DX[1],), max_object=1_000_000),
        keep,
        lambda _who, _why: None,
        begin=spool.begin,
    )
    scp.start()
    try:
        yield scp
    finally:
        scp.stop(1.0)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def test_an_object_lies_in_the_spool_as_it_was_sent(tmp_path: Path, spool: Spool) -> None:
    sent = radiograph()
    kept: list[tuple[Arrival, StoredFile]] = []

    def keep(arrival: Arrival) -> int:
        kept.append((arrival, arrival.content.keep(spool, arrival.meta)))
        return 0x0000

    with receiving(spool, keep) as scp:
        done = storescu(scp.port, "-xe", str(write(sent, tmp_path / "image.dcm")))
    assert done.returncode == 0, done.stdout
    ((arrival, stored),) = kept
    data = data_set_bytes((tmp_path / "image.dcm").read_bytes())
    assert spool.read(stored.path) == arrival.meta + data
    assert stored.size == len(arrival.meta) + len(data)
    assert stored.digest == hashlib.sha256(data).hexdigest()
    assert files(spool) == [stored.path]


@pytest.mark.parametrize("how", ["closes", "aborts", "sends noise", "sends too much"])
def test_of_an_object_that_does_not_come_whole_nothing_is_left(spool: Spool, how: str) -> None:
    with receiving(spool, lambda _arrival: 0x0000) as scp:
        peer = RawPeer.associate(scp.port, DX)
        peer.send_command(DX_FOR_PRESENTATION.encode(), b"1.2.3")
        peer.send_fragment(0x00, b"x" * 100_000)
        # under a name that no reader takes for an object's
        wait_until(lambda: [name[-5:] for name in files(spool)] == [".part"])
        with contextlib.suppress(OSError):
            if how == "aborts":
                peer.connection.sendall(pdu(0x07, bytes(4)))
            elif how == "sends noise":
                peer.connection.sendall(pdu(0x04, b"\xff" * 20))
            elif how == "sends too much":
                for _ in range(10):
                    peer.send_fragment(0x00, b"x" * 100_000)
        if how == "closes":
            peer.close()
        wait_until(lambda: files(spool) == [])
        peer.close()


def test_an_object_that_is_not_kept_leaves_no_file(spool: Spool) -> None:
    with receiving(spool, lambda _arrival: 0xA700) as scp:
        peer = RawPeer.associate(scp.port, DX)
        assert peer.store(DX_FOR_PRESENTATION.encode(), b"1.2.3", b"x" * 10_000) == 0xA700
        assert files(spool) == []
        peer.close()


def test_odd_uids_are_in_the_file_as_they_were_spoken(spool: Spool) -> None:
    metas: list[tuple[bytes, StoredFile]] = []

    def keep(arrival: Arrival) -> int:
        metas.append((arrival.meta, arrival.content.keep(spool, arrival.meta)))
        return 0x0000

    odd = b"1.2." + b"9" * 70
    with receiving(spool, keep) as scp:
        peer = RawPeer.associate(scp.port, DX)
        assert peer.store(b"1.2.840.10008.5.1.4.1.1.7", odd, b"data set") == 0x0000
        peer.close()
    ((meta, stored),) = metas
    assert odd in meta
    assert spool.read(stored.path) == meta + b"data set"


COMMAND = StoreCommand(
    requestor=Requestor(ae_title="MODALITY", address="127.0.0.1", called_ae_title="MCADS"),
    sop_class_uid=DX[0],
    sop_instance_uid="1.2.3",
    context_sop_class_uid=DX[0],
    transfer_syntax_uid=DX[1],
)


def explicit(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    long = vr in (b"OB", b"UN")
    return struct.pack("<HH2sxxI" if long else "<HH2sH", group, number, vr, len(value)) + value


@pytest.mark.parametrize("filling", [0, 65_462, 65_464, 65_466, 65_468, 65_480, 65_500, 65_536, 200_000])
def test_identifiers_are_found_wherever_they_lie(spool: Spool, filling: int) -> None:
    data = explicit(8, 0x16, b"UI", DX[0].encode() + b"\0" * (len(DX[0]) % 2))
    data += explicit(8, 0x18, b"UI", b"1.2.3\0") + explicit(9, 0x1001, b"OB", bytes(filling))
    data += explicit(0x10, 0x20, b"LO", b"ID") + explicit(0x20, 0x0D, b"UI", b"1.2.4\0") + bytes(200_000)
    draft = spool.begin(encode_meta(COMMAND))
    draft.add(data)
    for content in (InMemory(data), InDraft(draft)):
        arrival = arrival_of(COMMAND, content)
        assert (arrival.study_instance_uid, arrival.objection) == ("1.2.4", None)
        assert arrival.dataset == data


def test_a_file_with_another_preface_is_written_anew(spool: Spool) -> None:
    draft = spool.begin(b"one")
    draft.add(b"data set")
    stored = InDraft(draft).keep(spool, b"other")
    assert spool.read(stored.path) == b"otherdata set"
    assert files(spool) == [stored.path]


def test_a_device_that_is_full_is_told_when_the_object_is_there(spool: Spool) -> None:
    class Nobody:
        def record_received(self, *_: object) -> Any:
            raise AssertionError("there is nothing to record")

        record_unreadable = kept_file = replace_file = record_received

    draft = spool.begin(encode_meta(COMMAND))

    draft._file.close()
    draft._file = open(os.open("/dev/full", os.O_RDWR), "wb", 0)  # noqa: PTH123, SIM115
    draft.add(b"x" * 100_000)
    arrival = arrival_of(COMMAND, InDraft(draft))
    kept = keep_in(spool, cast(Any, Nobody()))(arrival)
    assert kept.status == 0xA700
    assert kept.receipt is None
    assert "No space left" in str(kept.reason)
    assert files(spool) == []


def test_a_draft_that_is_forgotten_is_gone(spool: Spool) -> None:
    draft = spool.begin()
    draft.add(b"x")
    assert len(files(spool)) == 1
    del draft
    assert files(spool) == []
