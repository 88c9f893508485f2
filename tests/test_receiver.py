"""The receiver of a configuration: what it promises while the disk fills, peers misbehave, UIDs collide."""

from __future__ import annotations

import contextlib
import select
import socket
import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import ExplicitVRLittleEndian
from rich.console import Console
from structlog.testing import capture_logs

from mcads_node.config import Configuration, NodeConfig, RuleBook
from mcads_node.errors import ConfigError
from mcads_node.receive.crowd import MOST_OF_ONE_LISTED, MOST_OF_ONE_UNLISTED, MOST_STRANGERS
from mcads_node.service.auditing import audit_of
from mcads_node.service.configured import disk_guard_of
from mcads_node.service.intake import Intake, Pokes
from mcads_node.service.receiver import Receiver
from mcads_node.state import State, open_state
from mcads_node.verbs.overview import list_turned_away
from mcads_node.verbs.tables import show_turned_away
from mcads_node.yamlfile import read_document, write_yaml
from tests.part10_files import DX_FOR_PRESENTATION
from tests.peers import RawPeer, associate_rq, echoscu
from tests.small_disk import MIB, leave_free, small_disk

DX = (DX_FOR_PRESENTATION, str(ExplicitVRLittleEndian))
#: marks below every size that a test leaves free
NO_MARKS = {"alert_below_mib": 0, "refuse_below_mib": 0}


@dataclass
class Place:
    """A receiver, and what it keeps things in."""

    receiver: Receiver
    state: State
    #: log events since it was started
    logs: list[Any]

    @property
    def port(self) -> int:
        return self.receiver.port

    def files(self) -> list[str]:
        folder = self.state.spool.folder
        return sorted(str(file.relative_to(folder)) for file in folder.glob("*/*"))

    def associate(self) -> RawPeer:
        return RawPeer.associate(self.port, DX)

    def told(self, event: str) -> list[Any]:
        return [each for each in self.logs if each["event"] == event]


@contextlib.contextmanager
def receiving(folder: Path, **sections: Any) -> Iterator[Place]:
    settings: dict[str, Any] = {
        "requestors": [{"ae_title": "MODALITY", "address": "127.0.0.1"}],
        "disk": NO_MARKS,
        **sections,
        "node": {"data_dir": folder / "data", "port": 0, "host": "127.0.0.1", **sections.get("node", {})},
    }
    config = NodeConfig.model_validate(settings)
    state = open_state(config)
    configuration = Configuration(node=config, book=RuleBook())
    audit = audit_of(configuration, state)
    intake = Intake(configuration, state, disk_guard_of(config), audit, Pokes())
    receiver = Receiver(configuration, state, intake, audit)
    receiver.start()
    with capture_logs() as logs:
        try:
            yield Place(receiver=receiver, state=state, logs=logs)
        finally:
            receiver.stop(1.0)
            state.close()


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def data_set(uid: str, size: int = 0, name: bytes = b"") -> bytes:
    """Encode a data set in Explicit VR Little Endian with pixels of `size` bytes."""

    def ui(group: int, number: int, text: str) -> bytes:
        value = text.encode() + b"\0" * (len(text) % 2)
        return struct.pack("<HH2sH", group, number, b"UI", len(value)) + value

    pixels = struct.pack("<HH2sxxI", 0x7FE0, 0x0010, b"OW", size) + bytes(size)
    patient = struct.pack("<HH2sH", 0x0010, 0x0010, b"PN", len(name)) + name
    head = ui(8, 0x16, DX[0]) + ui(8, 0x18, uid)
    return head + patient + ui(0x20, 0x0D, "1.2.3") + pixels


def store(peer: RawPeer, uid: str, size: int = 0, name: bytes = b"") -> int:
    """Send an object in fragments that fit the PDU size."""
    content = data_set(uid, size, name)
    peer.send_command(DX[0].encode(), uid.encode())
    step = 65536
    for start in range(0, len(content), step):
        last = start + step >= len(content)
        peer.send_fragment(0x02 if last else 0x00, content[start : start + step])
    return peer.read_status()


# --- the disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 24) as folder:
        yield folder


def integrity(place: Path) -> str:
    with contextlib.closing(sqlite3.connect(place / "data" / "node.db")) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


def test_a_disk_that_fills_in_the_middle_of_an_object_keeps_nothing_of_it_and_all_before(disk: Path) -> None:
    with receiving(disk) as place:
        peer = place.associate()
        assert store(peer, "1.2.1", 100_000) == 0x0000
        before = place.files()
        leave_free(disk, 3 * MIB)
        assert store(peer, "1.2.2", 8 * MIB) == 0xA700
        assert place.files() == before
        # the association and the node go on: a smaller one still fits
        assert store(peer, "1.2.3", 100_000) == 0x0000
        assert echoscu(place.port).returncode == 0
        (disk / "ballast").unlink()
        assert store(peer, "1.2.2", 8 * MIB) == 0x0000
        peer.close()
        assert len(place.files()) == 3
        assert set(place.files()) == place.state.workitems.spool_paths()
        assert [each["status"] for each in place.told("instance.refused")] == ["0xA700"]
    assert integrity(disk) == "ok"


def test_a_database_that_cannot_grow_keeps_no_file_either(disk: Path) -> None:
    with receiving(disk) as place:
        peer = place.associate()
        statuses = []
        # room for the file and not for its row; the log of the database has slack, which is used up first
        for number in range(400):
            leave_free(disk, 8192)
            statuses.append(store(peer, f"1.2.{number + 1}"))
            if statuses[-1]:
                break
        assert statuses[-1] == 0xA700
        assert set(place.files()) == place.state.workitems.spool_paths()
        (disk / "ballast").unlink()
        assert store(peer, "1.2.999") == 0x0000
        peer.close()
        assert set(place.files()) == place.state.workitems.spool_paths()
        assert len(place.files()) == statuses.count(0x0000) + 1
    assert integrity(disk) == "ok"


def test_below_the_second_mark_nothing_is_taken_and_nobody_let_in(disk: Path) -> None:
    with receiving(disk, disk={"alert_below_mib": 12, "refuse_below_mib": 6}) as place:
        peer = place.associate()
        assert store(peer, "1.2.1") == 0x0000
        before = place.files()
        leave_free(disk, 10 * MIB)
        time.sleep(1.1)
        assert store(peer, "1.2.2") == 0x0000
        assert len(place.told("disk.low")) == 1
        leave_free(disk, 5 * MIB)
        time.sleep(1.1)
        # there would be room for it, but an image of the next peer must not find none
        assert store(peer, "1.2.3") == 0xA700
        assert len(place.files()) == len(before) + 1
        refused = echoscu(place.port)
        assert "Rejected Transient" in refused.stdout
        assert "Temporary Congestion" in refused.stdout
        (disk / "ballast").unlink()
        time.sleep(1.1)
        assert store(peer, "1.2.3") == 0x0000
        assert echoscu(place.port).returncode == 0
        peer.close()
        # in the row of the rejection: why
        wait_until(place.state.workitems.list_turned_away)
        assert "no room" in place.state.workitems.list_turned_away()[0].peer.reason
        assert "disk.refuse_below_mib" in place.told("instance.refused")[0]["reason"]
        told = [each["event"] for each in place.logs if each["event"].startswith("disk.")]
        assert told == ["disk.low", "disk.full", "disk.ample"]


# --- one UID, two contents


@pytest.mark.parametrize(("answer", "status"), [("keep", 0x0000), ("refuse", 0xC111)])
def test_other_bytes_under_a_known_uid(tmp_path: Path, answer: str, status: int) -> None:
    with receiving(tmp_path, receive={"conflicting_instances": answer}) as place:
        peer = place.associate()
        assert store(peer, "1.2.1", name=b"Very^Secret ") == 0x0000
        # the same again, before and after a conflict, is no conflict
        assert store(peer, "1.2.1", name=b"Very^Secret ") == 0x0000
        assert [store(peer, "1.2.1", name=b"Other^Secret") for _ in range(3)] == [status] * 3
        assert store(peer, "1.2.1", name=b"Very^Secret ") == 0x0000
        peer.close()
        # whatever is answered: nothing is lost, and repeating fills no disk
        assert len(place.files()) == 2
        assert set(place.files()) == place.state.workitems.spool_paths()
        study = place.state.workitems.show_study("1.2.3")
        assert [str(each.state) for each in study.instances] == ["RECEIVED", "DECLINED"]
        assert "same SOP Instance UID" in str(study.instances[1].reason)
        told = place.told("instance.conflict")
        assert [each["again"] for each in told] == [False, True, True]
        assert told[0]["instance"] == "1.2.1"
        assert "Secret" not in str(place.logs)
        assert len(place.told("instance.refused")) == (3 if status else 0)


# --- who may associate


def test_a_requestor_may_be_bound_to_ae_titles_of_its_own(tmp_path: Path) -> None:
    listed = [
        {"ae_title": "CR", "address": "127.0.0.1"},
        {"ae_title": "TEST", "address": "127.0.0.1", "called_ae_title": "MCADS_TEST"},
        {"ae_title": "BOTH", "address": "127.0.0.1", "called_ae_title": ["MCADS", "MCADS_TEST"]},
    ]
    with receiving(tmp_path, requestors=listed) as place:
        answers = {
            (calling, called): echoscu(place.port, calling=calling, called=called).returncode == 0
            for calling in ("CR", "TEST", "BOTH")
            for called in ("MCADS", "MCADS_TEST")
        }
    assert answers == {
        ("CR", "MCADS"): True,
        ("CR", "MCADS_TEST"): False,
        ("TEST", "MCADS"): False,
        ("TEST", "MCADS_TEST"): True,
        ("BOTH", "MCADS"): True,
        ("BOTH", "MCADS_TEST"): True,
    }


def test_one_requestor_does_not_take_the_associations_of_all(tmp_path: Path) -> None:
    listed = [{"ae_title": name, "address": "127.0.0.1"} for name in ("MODALITY", "OTHER")]
    limits = {"max_associations": 3, "max_associations_per_requestor": 2}
    with receiving(tmp_path, requestors=listed, node=limits) as place:
        greedy = [place.associate() for _ in range(2)]
        third = echoscu(place.port)
        assert "Local Limit Exceeded" in third.stdout
        assert echoscu(place.port, calling="OTHER").returncode == 0
        greedy.pop().close()
        wait_until(lambda: echoscu(place.port).returncode == 0)
        greedy.pop().close()
        reasons = {each["reason"] for each in place.told("association.rejected")}
    assert reasons == {"all its 2 associations (node.max_associations_per_requestor) are in use"}


def test_who_was_turned_away_is_on_record(tmp_path: Path) -> None:
    with receiving(tmp_path) as place:
        for _ in range(4):
            assert echoscu(place.port, calling="STRANGER").returncode != 0
        assert echoscu(place.port, called="OTHER").returncode != 0
        peer = RawPeer.associate(place.port, (DX[0], "1.2.840.10008.1.2.4.100"))
        peer.close()
        rows = place.state.workitems.list_turned_away
        wait_until(lambda: len(rows()) == 3)
        assert len(place.told("association.rejected")) == 6
    # what remained of the minute was written when the receiver stopped
    write_yaml(tmp_path / "node.yaml", {"node": {"data_dir": str(tmp_path / "data")}})
    found = list_turned_away(tmp_path / "node.yaml", limit=50)
    told = [(each["requestor"], each["subject"], each["times"]) for each in found]
    here = "association from 127.0.0.1 to"
    assert sorted(told) == [
        ("MODALITY", f"{here} MCADS", 1),
        ("MODALITY", f"{here} OTHER", 1),
        ("STRANGER", f"{here} MCADS", 1),
        ("STRANGER", f"{here} MCADS", 3),
    ]
    shown = StringIO()
    show_turned_away(Console(file=shown, width=300), found)
    assert f"STRANGER, {here} MCADS: its AE title is not listed in requestors (3 times)" in shown.getvalue()
    assert len(list_turned_away(tmp_path / "node.yaml", limit=2)) == 2


def test_a_crowd_that_asks_for_nothing_is_kept_small_and_told(tmp_path: Path) -> None:
    with receiving(tmp_path, node={"max_associations": 1}, network={"acse_seconds": 5}) as place:
        crowd = [RawPeer.connect(place.port) for _ in range(MOST_STRANGERS + 10)]
        wait_until(lambda: place.told("association.rejected"))
        (first, *_) = place.told("association.rejected")
        assert "too many connections" in first["reason"]
        assert first["address"] == "127.0.0.1"
        for peer in crowd:
            peer.close()
        wait_until(lambda: echoscu(place.port).returncode == 0)


def connect_from(address: str, port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10.0, source_address=(address, 0))


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side has closed it; a silent one that is open says nothing."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_strangers_that_say_nothing_shut_nobody_out_who_is_listed(tmp_path: Path) -> None:
    with receiving(tmp_path) as place, contextlib.ExitStack() as crowd:
        for number in range(15):
            for _ in range(MOST_OF_ONE_UNLISTED + 2):
                crowd.enter_context(connect_from(f"127.0.0.{number + 70}", place.port))
        assert echoscu(place.port).returncode == 0
        told = {each["reason"] for each in place.told("association.rejected")}
        assert any(each.startswith("too many connections of its address, which is not") for each in told)
        assert any(each.startswith("too many connections of addresses that are not") for each in told)


def test_a_stranger_is_told_so_where_there_is_room(tmp_path: Path) -> None:
    with receiving(tmp_path) as place:
        silent = [connect_from("127.0.0.70", place.port) for _ in range(MOST_OF_ONE_UNLISTED + 1)]
        wait_until(lambda: is_closed(silent[-1]))
        assert not any(is_closed(each) for each in silent[:-1])
        asking = RawPeer(connect_from("127.0.0.71", place.port))
        asking.connection.sendall(associate_rq(b"MODALITY", b"MCADS", DX))
        assert asking.read_pdu()[0] == 0x03
        asking.close()
        # whose connections end may come again
        for each in silent:
            each.close()
        time.sleep(0.3)
        again = RawPeer(connect_from("127.0.0.70", place.port))
        again.connection.sendall(associate_rq(b"MODALITY", b"MCADS", DX))
        assert again.read_pdu()[0] == 0x03
        again.close()


def test_associations_do_not_wait_at_the_door(tmp_path: Path) -> None:
    limits = {"max_associations": 60, "max_associations_per_requestor": 60}
    with receiving(tmp_path, node=limits) as place:
        peers = [RawPeer.associate(place.port, DX) for _ in range(MOST_OF_ONE_LISTED + 5)]
        assert place.told("association.rejected") == []
        for peer in peers:
            peer.close()


# --- an object without an end


def send_without_end(peer: RawPeer, control: int, most: int) -> bool:
    """Send fragments until the association is aborted; False: all of it was taken."""
    fragment = bytes(100_000)
    try:
        for _ in range(most // len(fragment)):
            peer.send_fragment(control, fragment)
            if select.select([peer.connection], [], [], 0)[0]:
                break
        kind, _ = peer.read_pdu()
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return kind in (0x00, 0x07)


@pytest.mark.parametrize("control", [0x00, 0x01], ids=["data set", "command"])
def test_an_object_without_an_end_ends_the_association(tmp_path: Path, control: int) -> None:
    with receiving(tmp_path, receive={"max_object_mib": 16}) as place:
        peer = RawPeer.associate(place.port, DX)
        other = RawPeer.associate(place.port, DX)
        peer.connection.settimeout(2.0)
        if control == 0x00:
            peer.send_command(DX_FOR_PRESENTATION.encode(), b"1.2.3.4")
        assert send_without_end(peer, control, 24 * MIB)
        wait_until(lambda: place.told("association.rejected"))
        (told,) = place.told("association.rejected")
        assert told["calling"] == "MODALITY"
        assert "more than 16 MiB (receive.max_object_mib)" in told["reason"]
        # the next one below the limit is taken, of this peer and of others
        assert store(other, "1.2.3.5", 15 * MIB) == 0x0000
        assert store(other, "1.2.3.6", 15 * MIB) == 0x0000
        assert len(place.state.workitems.spool_paths()) == 2
        peer.close()
        other.close()


def test_objects_that_pile_up_end_the_association_as_well(tmp_path: Path) -> None:
    with receiving(tmp_path, receive={"max_object_mib": 16}) as place:
        peer = place.associate()
        database = sqlite3.connect(tmp_path / "data" / "node.db", isolation_level=None)
        with contextlib.closing(database), contextlib.suppress(ConnectionError):
            # the first object waits for the database, and its peer waits for no answer
            database.execute("BEGIN IMMEDIATE")
            for number in range(40):
                peer.send_command(DX[0].encode(), f"1.2.3.{number}".encode())
                peer.send_fragment(0x02, bytes(MIB // 2))
            wait_until(lambda: place.told("association.rejected"))
        assert "receive.max_object_mib" in place.told("association.rejected")[0]["reason"]
        peer.close()


# --- limits of the network


def test_timeouts_and_pdu_size_are_those_of_the_configuration(tmp_path: Path) -> None:
    network = {"acse_seconds": 0.4, "idle_seconds": 0.8, "max_pdu_bytes": 16384}
    with receiving(tmp_path, network=network) as place:
        silent = RawPeer.connect(place.port)
        begun = time.monotonic()
        with contextlib.suppress(OSError):
            assert silent.read_pdu()[0] in (0x00, 0x07)
        assert 0.3 < time.monotonic() - begun < 3
        silent.close()
        idle = RawPeer.connect(place.port)
        idle.connection.sendall(associate_rq(b"MODALITY", b"MCADS", DX))
        kind, content = idle.read_pdu()
        assert kind == 0x02
        assert b"\x51\x00\x00\x04" + struct.pack(">I", 16384) in content
        begun = time.monotonic()
        assert idle.read_pdu()[0] == 0x07
        assert 0.6 < time.monotonic() - begun < 4
        idle.close()


# --- what peers leave behind


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def test_peers_that_break_off_leave_no_thread_and_no_file(tmp_path: Path) -> None:
    network = {"acse_seconds": 0.5, "idle_seconds": 0.5}
    with receiving(tmp_path, network=network) as place:
        peer = place.associate()
        # what is opened once and kept: connections to the database
        assert store(peer, "1.2.1") == 0x0000
        peer.close()
        wait_until(lambda: echoscu(place.port).returncode == 0)
        time.sleep(1.0)
        files, threads = _open_files(), _threads()
        for number in range(60):
            _break_off(place, number)
        wait_until(lambda: _open_files() <= files and _threads() <= threads, 20)
        peer = place.associate()
        assert store(peer, "1.2.1") == 0x0000
        peer.close()


def _break_off(place: Place, number: int) -> None:
    ways: list[bytes] = [
        b"",
        b"\x01",
        b"\x01\x00\x00\x00\x00\xff",
        b"\x01\x00\x7f\xff\xff\xff",
        b"\x09\x00\x00\x00\x00\x04abcd",
        associate_rq(b"STRANGER", b"MCADS", DX),
        associate_rq(b"MODALITY", b"MCADS"),
        associate_rq(b"MODALITY", b"MCADS", DX)[:-9],
    ]
    if number % 10 < len(ways):
        peer = RawPeer.connect(place.port)
        peer.connection.sendall(ways[number % 10])
    else:
        peer = place.associate()
        if number % 10 == 8:
            peer.send_command(DX[0].encode(), b"1.2.9")
            peer.send_fragment(0x00, bytes(3000))
        else:
            peer.connection.sendall(b"\x04\x00\x00\x00\x10\x00half a PDU")
    if number % 3:
        # a reset rather than an end
        peer.connection.setsockopt(1, 13, struct.pack("ii", 1, 0))
    peer.close()


# group length alone; a command that does not exist; a length that no US has
@pytest.mark.parametrize(
    "command",
    [
        struct.pack("<HHII", 0, 0, 4, 0),
        struct.pack("<HHIH", 0, 0x0100, 2, 0x7777) + struct.pack("<HHIH", 0, 0x0800, 2, 0x0101),
        struct.pack("<HHI", 0, 0x0100, 3) + b"\x01\x00\x00",
    ],
)
def test_a_command_that_is_none_is_answered_by_an_abort_at_once(tmp_path: Path, command: bytes) -> None:
    with receiving(tmp_path) as place:
        peer = place.associate()
        peer.send_fragment(0x03, command)
        begun = time.monotonic()
        assert peer.read_pdu()[0] == 0x07
        assert time.monotonic() - begun < 5
        peer.close()
        assert [each["address"] for each in place.told("association.malformed")] == ["127.0.0.1"]
        assert echoscu(place.port).returncode == 0


def test_noise_is_answered_by_one_abort_and_told_once(tmp_path: Path) -> None:
    with receiving(tmp_path) as place:
        peer = RawPeer.connect(place.port)
        peer.connection.sendall(b"\x00" * 6)
        assert peer.read_pdu()[0] == 0x07
        with contextlib.suppress(OSError):
            peer.connection.sendall(b"\x00" * 60_000)
            assert peer.read_pdu()[0] == 0x00
        peer.close()
        assert [each["error"] for each in place.told("association.malformed")] == ["InvalidPDU"]
        assert echoscu(place.port).returncode == 0


def test_connections_that_end_without_a_request_leave_no_thread_waiting(tmp_path: Path) -> None:
    with receiving(tmp_path) as place:
        before = threading.active_count()
        for said in (b"", b"\x00" * 6, b"GET / HTTP/1.1\r\n\r\n", associate_rq(b"MODALITY", b"\xff", DX)):
            peer = RawPeer.connect(place.port)
            peer.connection.sendall(said)
            peer.close()
        # long before the 30 s that a request may take
        deadline = time.monotonic() + 5
        while threading.active_count() > before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert threading.active_count() <= before
        assert echoscu(place.port).returncode == 0


def test_a_request_with_an_impossible_context_is_cut_off_at_once(tmp_path: Path) -> None:
    request = associate_rq(b"MODALITY", b"MCADS", DX)
    context = request.index(b"\x20\x00", 74)
    with receiving(tmp_path) as place:
        peer = RawPeer.connect(place.port)
        # context IDs are odd, PS3.8 section 9.3.2.2
        peer.connection.sendall(request[: context + 4] + b"\x02" + request[context + 5 :])
        begun = time.monotonic()
        with contextlib.suppress(OSError):
            assert peer.read_pdu()[0] == 0x00
        assert time.monotonic() - begun < 5
        peer.close()
        assert len(place.told("association.malformed")) == 1
        assert echoscu(place.port).returncode == 0


# --- configuration


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"disk": {"alert_below_mib": 10, "refuse_below_mib": 20}}, "refuse_below_mib must not be more"),
        ({"disk": {"refuse_below_mib": -1}}, "greater than or equal to 0"),
        ({"network": {"dimse_seconds": 0}}, "greater than 0"),
        ({"network": {"max_pdu_bytes": 1024}}, "greater than or equal to 4096"),
        ({"network": {"dimse": 3}}, "dimse"),
        ({"receive": {"conflicting_instances": "drop"}}, "keep"),
        ({"receive": {"max_object_mib": 0}}, "greater than or equal to 16"),
        ({"requestors": [{"ae_title": "A", "address": "::1", "called_ae_title": "x" * 17}]}, "16"),
        ({"requestors": [{"ae_title": "A", "address": "::1", "called_ae_title": [3]}]}, "string"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, section: dict[str, Any], said: str) -> None:
    write_yaml(tmp_path / "node.yaml", section)
    with pytest.raises(ConfigError, match=said):
        read_document(tmp_path / "node.yaml").fit(NodeConfig)
