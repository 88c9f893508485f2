"""A real node tells nobody who its patients are: not in its log, file names, reasons, metrics or audit trail.

Good, broken, refused and undeliverable objects of one patient go through a node that logs all it can; then
everything it said is searched for the patient's name, ID and birth date.
"""

from __future__ import annotations

import contextlib
import sqlite3
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pydicom.dataset import Dataset

from mcads_node import phantom
from mcads_node.verbs.chronicle import list_events
from mcads_node.verbs.overview import list_studies
from tests.acceptance.node import ServedNode, served, wait_for
from tests.audit.repositories import Receiver, attribute, complaint, event, receiving
from tests.peers import RawPeer, element, free_port, storescu
from tests.raw_acceptor import RawAcceptor, Reply

CR = "1.2.840.10008.5.1.4.1.1.1"
IMPLICIT = "1.2.840.10008.1.2"
NAME, PATIENT_ID, BIRTH_DATE = "Žukauskaitė^Ona", "ID-47112", "19470815"
#: parts too, in the ways they might be written
SECRETS = ("ukauskait", "UKAUSKAIT", "^Ona", "ID-47112", "47112", "19470815", "1947-08-15", "1947")
#: what a destination writes about an object that it does not take
COMMENT = f"no such patient {PATIENT_ID} {BIRTH_DATE} ".encode()
assert len(COMMENT) % 2 == 0


def image(study: str, **changes: Any) -> Dataset:
    """Draw a small phantom, and say that it is of the patient."""
    dataset = phantom.radiograph(rows=256, columns=256, study=study)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = NAME, PATIENT_ID, BIRTH_DATE
    dataset.OtherPatientNames = NAME
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    return dataset


def broken() -> Iterator[bytes]:
    """Give files that go wrong somewhere, each in its own way."""
    yield phantom.save(image("matrix", Rows=4000))
    truncated = image("truncated")
    truncated.PixelData = truncated.PixelData[:1000]
    yield phantom.save(truncated)
    # values that their VR does not allow, of which pydicom warns in their words
    yield phantom.save(image("date")).replace(BIRTH_DATE.encode(), b"1947-0X1")
    yield phantom.save(image("set")).replace(b"ISO_IR 192", b"ISO_IR 999")
    yield phantom.save(image("text")).replace("Ž".encode(), b"\xff\xfe")
    yield phantom.save(image("declined", BodyPartExamined="LEG"))
    yield phantom.save(image("age", PatientAge="079Y")).replace(b"079Y", b"47yr")[:-7]


@dataclass
class Told:
    """A node that has had all of that, has ended, and everything that can be seen of it."""

    node: ServedNode
    audit: Receiver
    metrics: str

    @property
    def log(self) -> str:
        return self.node.log.read_text(errors="replace")

    @property
    def names(self) -> str:
        return "\n".join(str(path) for path in (self.node.folder / "data").rglob("*"))

    def rows(self, query: str) -> list[str]:
        with contextlib.closing(sqlite3.connect(self.node.folder / "data" / "node.db")) as database:
            return [str(value) for row in database.execute(query) for value in row if value is not None]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("told")
    monitoring = free_port()
    refusing = RawAcceptor(reply=lambda _uid: Reply(status=0xA900, comment=COMMENT))
    with receiving() as audit, refusing:
        dead = {"ae_title": "DEAD", "host": "127.0.0.1", "port": free_port()}
        node = served(
            folder,
            {"ae_title": "REFUSING", "port": refusing.port},
            rules=[
                {
                    "name": "chest",
                    "when": {},
                    "analyse": {"explain": []},
                    "complete_when": {"quiet_seconds": 0.5},
                    "send_to": ["pacs", "dead"],
                }
            ],
            others={"dead": dead},
            sections={
                "audit": {
                    "host": "127.0.0.1",
                    "port": audit.port,
                    "transport": "tcp",
                    "patient_id": True,
                },
                "monitoring": {"port": monitoring},
                "tending": {"echo_minutes": None},
            },
            # says all that is said without it, and more
            arguments=("--verbose",),
        )
        with node as running:
            metrics = _feed(running, monitoring)
        yield Told(node=running, audit=audit, metrics=metrics)


def _feed(node: ServedNode, monitoring: int) -> str:
    """Send everything, wait until it is dealt with, and give what the metrics say then."""
    folder = node.folder / "sent"
    folder.mkdir()
    good = image("good")
    for number, data in enumerate([phantom.save(good), *broken()]):
        (folder / f"{number}.dcm").write_bytes(data)
    files = [str(path) for path in sorted(folder.iterdir())]
    storescu(node.port, "--no-halt", *files)
    # other content under a UID that is known, and a stranger
    (folder / "again.dcm").write_bytes(phantom.save(image("good", PatientName=f"{NAME}^^Dr")))
    storescu(node.port, str(folder / "again.dcm"))
    storescu(node.port, files[0], calling="STRANGER")
    peer = RawPeer.associate(node.port, (CR, IMPLICIT))
    for dataset in _unparsable():
        assert peer.store(CR.encode() + b"\0", b"1.2.3.4.5.6", dataset) != 0x0000
    peer.close()

    def dealt_with() -> bool:
        study = node.study(good.StudyInstanceUID)
        states = {
            (each["destination"], each["state"])
            for result in study["results"]
            for each in result["deliveries"]
        }
        return ("pacs", "REFUSED") in states and ("pacs", "PENDING") not in states

    wait_for("the good image is reported, and refused", dealt_with)
    wait_for(
        "all is looked at",
        lambda: not any(each["open_workitems"] for each in list_studies(node.config, 100)),
    )
    address = f"http://127.0.0.1:{monitoring}/metrics"
    with urllib.request.urlopen(address, timeout=10) as answer:
        metrics: str = answer.read().decode()
    node.verb("retry", good.StudyInstanceUID)
    return metrics


def _unparsable() -> Iterator[bytes]:
    name = element(0x0010, 0x0010, NAME.encode() + b" ")
    head = element(0x0008, 0x0016, CR.encode() + b"\0") + element(0x0008, 0x0018, b"1.2.3.4.5.6\0")
    yield name + b"\x10\x00\x20\x00\xff\xff\xff\x7f" + PATIENT_ID.encode()
    yield head + name + element(0x0010, 0x0020, PATIENT_ID.encode())
    yield head + name + element(0x0010, 0x0030, BIRTH_DATE.encode()) + b"\x20\x00"
    yield NAME.encode() * 10


def secrets_in(text: str) -> list[str]:
    return [f"{secret}: {line[:300]}" for line in text.splitlines() for secret in SECRETS if secret in line]


def test_the_log_does_not_name_the_patient(told: Told) -> None:
    log = told.log
    # what was to go wrong went wrong, and was told
    for name in ("instance.refused", "work.failed", "association.rejected", "destination.deferred"):
        assert f'"{name}"' in log, name
    assert secrets_in(log) == []


def test_names_of_files_do_not_name_the_patient(told: Told) -> None:
    assert told.names.count("spool/") > 8
    assert secrets_in(told.names) == []


def test_reasons_in_the_record_do_not_name_the_patient(told: Told) -> None:
    for query in (
        "SELECT who, what, subject, why FROM events",
        "SELECT reason FROM instances",
        "SELECT reason FROM workitems",
        "SELECT trouble FROM studies",
        "SELECT name, reason FROM destinations",
    ):
        found = told.rows(query)
        assert found or "trouble" in query, query
        assert secrets_in("\n".join(found)) == [], query
    # the destination's own words are kept where an administrator looks for them, and only there
    assert any(PATIENT_ID in each for each in told.rows("SELECT reason FROM deliveries"))


def test_metrics_do_not_name_the_patient(told: Told) -> None:
    assert "mcads_instances_received" in told.metrics
    assert secrets_in(told.metrics) == []


def test_folders_and_files_are_private(told: Told) -> None:
    data = told.node.folder / "data"
    for folder in ("spool", "results"):
        assert (data / folder).stat().st_mode & 0o777 == 0o700
        found = list((data / folder).rglob("*"))
        assert any(path.is_file() for path in found)
        for path in found:
            assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    assert data.stat().st_mode & 0o777 == 0o700
    for path in data.glob("node.db*"):
        assert path.stat().st_mode & 0o777 == 0o600, path


def test_the_audit_trail_tells_what_happened(told: Told) -> None:
    wait_for("the node's end is told", lambda: event(told.audit.messages[-1].root)[1] == "110121", 10.0)
    messages = told.audit.messages
    assert {each.facility for each in messages} == {10}
    assert [complaint(each.xml) for each in messages] == [""] * len(messages)
    kinds = [event(each.root) for each in messages]
    assert kinds[0][:2] == ("110100", "110120")
    # received and taken, received and refused; sent and refused; a stranger
    assert ("110104", None, "C", "0") in kinds
    assert ("110104", None, "R", "4") in kinds
    assert ("110113", "110126", "E", "4") in kinds
    transferred = [each.root for each in messages if event(each.root)[0] == "110104"]
    studies = {
        attribute(root, "ParticipantObjectIdentification[1]", "ParticipantObjectID") for root in transferred
    }
    assert phantom.radiograph(rows=64, columns=64, study="good").StudyInstanceUID in studies
    text = "\n".join(each.xml.decode() for each in messages)
    # audit.patient_id: true tells the ID, where the standard wants it, and nothing else
    assert f'ParticipantObjectID="{PATIENT_ID}"' in text
    assert secrets_in(text.replace(f'ParticipantObjectID="{PATIENT_ID}"', "")) == []


def test_the_record_of_events_tells_of_the_node_itself(told: Told) -> None:
    found = list_events(told.node.config, None, None, 1000)
    ours = [(each["what"], each["subject"]) for each in found if each["subject"] == "node"]
    assert ours == [("started", "node"), ("stopped", "node")]
    assert any(each["what"] == "retried" and each["who"] not in ("", "administrator") for each in found)
