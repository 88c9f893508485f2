"""The middle of a data set, taken as much at a time as has come: the same objects, however they come."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRLittleEndian

from mcads_node.association import Timeouts
from mcads_node.draft import Draft, StoredFile
from mcads_node.receive.admission import Admission, AllowedRequestor
from mcads_node.receive.arrival import Arrival
from mcads_node.receive.bulk import CAPACITY
from mcads_node.receive.doorbell import Doorbell
from mcads_node.receive.scp import ReceiverSettings, StorageScp
from mcads_node.spool import Spool
from tests.part10_files import DX_FOR_PRESENTATION
from tests.peers import RawPeer, element, pdu

DX = (DX_FOR_PRESENTATION, str(ExplicitVRLittleEndian))
MOST = 3_000_000


class Kept:
    """What a receiver was given to keep, in order."""

    def __init__(self, folder: Path) -> None:
        self.spool = Spool(folder)
        self.files: list[StoredFile] = []

    def keep(self, arrival: Arrival) -> int:
        self.files.append(arrival.content.keep(self.spool, arrival.meta))
        return 0x0000

    @property
    def names(self) -> list[str]:
        return [each.name for each in self.spool.folder.rglob("*") if each.is_file()]


@contextlib.contextmanager
def receiving(kept: Kept, timeouts: Timeouts | None = None) -> Iterator[int]:
    modality = AllowedRequestor(ae_title="MODALITY", address="127.0.0.1")
    admission = Admission(ae_title="MCADS", requestors=(modality,), max_associations=5)
    scp = StorageScp(
        ReceiverSettings(
            admission=admission,
            transfer_syntaxes=(DX[1],),
            max_object=MOST,
            timeouts=timeouts or Timeouts(),
        ),
        kept.keep,
        lambda _who, _why: None,
        begin=kept.spool.begin,
    )
    scp.start()
    try:
        yield scp.port
    finally:
        scp.stop(1.0)


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "spool")


@pytest.fixture(scope="module")
def open_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kept, RawPeer]]:
    kept = Kept(tmp_path_factory.mktemp("spool"))
    with receiving(kept) as port:
        peer = RawPeer.associate(port, DX)
        yield kept, peer
        peer.close()


def item(control: int, content: bytes) -> bytes:
    return struct.pack(">IBB", len(content) + 2, 1, control) + content


def command() -> bytes:
    body = element(0, 0x0002, DX_FOR_PRESENTATION.encode()) + element(0, 0x0100, b"\x01\x00")
    body += element(0, 0x0110, b"\x01\x00") + element(0, 0x0700, b"\x00\x00")
    body += element(0, 0x0800, b"\x00\x00") + element(0, 0x1000, b"1.2.3\0")
    return pdu(0x04, item(0x03, element(0, 0x0000, struct.pack("<I", len(body))) + body))


def request(dataset: bytes, sizes: list[int], together: int) -> bytes:
    """A C-STORE request whose data set is cut into fragments of these sizes in turn, so many a PDU."""
    cut: list[bytes] = []
    at = 0
    while at < len(dataset) or not cut:
        size = sizes[len(cut) % len(sizes)]
        cut.append(dataset[at : at + size])
        at += size
    items = [item(0x02 if each is cut[-1] else 0x00, each) for each in cut[:-1]]
    items.append(item(0x02, cut[-1]))
    pdus = [pdu(0x04, b"".join(items[n : n + together])) for n in range(0, len(items), together)]
    return command() + b"".join(pdus)


@settings(max_examples=30, deadline=None)
@given(
    length=st.integers(1, 2_000) | st.integers(1, 1_200_000),
    sizes=st.lists(st.integers(500, 4_000) | st.integers(1, 700_000), min_size=1, max_size=4),
    together=st.integers(1, 5),
    breaks=st.lists(st.floats(0, 1), max_size=3),
    twice=st.booleans(),
)
def test_an_object_is_what_was_sent_however_it_comes(
    open_door: tuple[Kept, RawPeer],
    length: int,
    sizes: list[int],
    together: int,
    breaks: list[float],
    twice: bool,
) -> None:
    kept, peer = open_door
    # no fragments of a few bytes by the hundred thousand, nor PDUs longer than are read
    sizes = [max(each, length // 400 + 1) for each in sizes]
    together = max(1, min(together, 1_000_000 // max(sizes)))
    dataset = hashlib.shake_128(str(length).encode()).digest(length)
    # the second is sent before the first is answered: bytes of both are read together
    sent = request(dataset, sizes, together) * (2 if twice else 1)
    cuts = [0, *sorted(int(each * len(sent)) for each in breaks), len(sent)]
    for begin, end in itertools.pairwise(cuts):
        peer.connection.sendall(sent[begin:end])
    for _ in range(2 if twice else 1):
        assert peer.read_status() == 0x0000
        stored = kept.files.pop(0)
        assert stored.digest == hashlib.sha256(dataset).hexdigest()
        assert kept.spool.read(stored.path).endswith(dataset)
        kept.spool.delete(stored.path)
    assert kept.names == []


def test_what_came_together_is_written_together(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    added: list[int] = []
    add = Draft.add

    def told(self: Draft, piece: bytes | memoryview) -> None:
        added.append(len(piece))
        add(self, piece)

    monkeypatch.setattr(Draft, "add", told)
    dataset = bytes(1_000_000)
    with receiving(kept) as port:
        peer = RawPeer.associate(port, DX)
        peer.connection.sendall(request(dataset, [2_000], 1))
        assert peer.read_status() == 0x0000
        peer.close()
    assert sum(added) == len(dataset)
    assert len(added) < 250, "500 fragments were sent at once"
    # the first and the last come as they are
    assert (added[0], added[-1]) == (2_000, 2_000)
    assert max(added) <= CAPACITY


def test_of_a_peer_that_stops_within_a_pdu_nothing_is_left(kept: Kept) -> None:
    with receiving(kept, Timeouts(network=0.5)) as port:
        peer = RawPeer.associate(port, DX)
        sent = request(bytes(500_000), [100_000], 1)
        peer.connection.sendall(sent[:350_000])
        assert peer.read_pdu()[0] in (0x00, 0x07)
        wait_until(lambda: kept.names == [])
        peer.close()
    assert kept.files == []


def test_a_peer_that_keeps_sending_is_not_idle(kept: Kept) -> None:
    with receiving(kept, Timeouts(network=0.5)) as port:
        peer = RawPeer.associate(port, DX)
        sent = request(bytes(100_000), [10_000], 1)
        for at in range(0, len(sent), len(sent) // 10):
            peer.connection.sendall(sent[at : at + len(sent) // 10])
            time.sleep(0.1)
        assert peer.read_status() == 0x0000
        peer.close()


@pytest.mark.parametrize("what", ["a longer object than is taken", "no PDU", "an A-RELEASE-RQ", "the end"])
def test_what_is_not_more_of_the_data_set_ends_the_association(kept: Kept, what: str) -> None:
    more = {
        "a longer object than is taken": pdu(0x04, item(0x00, bytes(100_000))) * (MOST // 100_000),
        "no PDU": b"\x99" * 100,
        "an A-RELEASE-RQ": pdu(0x05, bytes(4)),
        "the end": b"",
    }
    all_but_the_last = request(bytes(500_000), [50_000], 1)[: -50_000 - 12]
    with receiving(kept) as port:
        peer = RawPeer.associate(port, DX)
        with contextlib.suppress(OSError):
            peer.connection.sendall(all_but_the_last + more[what])
        if what == "the end":
            peer.close()
        else:
            with contextlib.suppress(OSError):
                assert peer.read_pdu()[0] in (0x00, 0x06, 0x07)
        wait_until(lambda: kept.names == [])
        peer.close()
    assert kept.files == []


def test_a_thread_is_let_in_when_it_is_rung_for() -> None:
    bell, passed = Doorbell(), threading.Event()
    bell.ring()
    bell.wait()
    bell.clear()
    bell.ring()

    def pass_by() -> None:
        bell.wait()
        passed.set()

    thread = threading.Thread(target=pass_by)
    thread.start()
    # rung for, but the checkpoint is closed
    assert not passed.wait(0.1)
    bell.set()
    assert passed.wait(10)
    thread.join()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)
