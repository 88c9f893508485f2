"""The attacks themselves: they see what is lost or comes twice; their cases are wrong, and repeatable."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pydicom.uid
import pytest
from pydicom.uid import Comprehensive3DSRStorage

from mcads_node.deliver.send import Caller, DestinationAddress, Outgoing, send
from mcads_node.phantom import save
from mcads_node.result import ObjectKind
from mcads_node.workitems import Kind, Stored, Workitems, open_store
from tests.attack.accounting import Account, account, open_work
from tests.attack.campaign import Plan, attack
from tests.attack.destination import Destination
from tests.attack.mutations import MUTATORS, Mutator, Pdus, case, rename, split
from tests.attack.radiographs import radiographs
from tests.attack.stepping import NodesClock
from tests.peers import associate_rq, free_port, pdu
from tests.workitems_samples import ALL_KINDS, analysed, received, stored

UID, STUDY = "1.2.3.1.1", "1.2.3.1"
UID_8 = pydicom.uid.UID("2.25.8")
ASSOCIATION = [
    associate_rq(b"MODALITY", b"MCADS", ("1.2.840.10008.1.1", "1.2.840.10008.1.2")),
    pdu(0x04, b"\0\0\0\x20\1\3" + bytes(30)),
    pdu(0x05, bytes(4)),
]


@contextmanager
def on_record(data: Path) -> Iterator[Workitems]:
    """One image and its file."""
    image = received(at=datetime.now(UTC))
    file = data / "spool" / image.path
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes(image.size))
    store = open_store(data / "node.db")
    try:
        store.record_received(image)
        yield store
    finally:
        store.close()


def analyse(store: Workitems) -> None:
    (item,) = store.claim("w", timedelta(seconds=60), kind=Kind.ANALYSE)
    assert store.complete_analysis(item, analysed(quiet=0))


def report(store: Workitems, uid: str = "2.25.7") -> None:
    (item,) = store.claim("w", timedelta(seconds=60), kind=Kind.REPORT)
    assert store.complete_report(item, [stored(ObjectKind.SR, uid)], {"pacs": ALL_KINDS}, ())


def deliver(store: Workitems) -> None:
    for delivery in store.due_deliveries("pacs", 10):
        store.record_delivery(delivery, Stored(status=0, reason=None))


def balance(data: Path, destination: Destination, acknowledged: dict[str, str] | None = None) -> Account:
    return account(data, {UID: STUDY} if acknowledged is None else acknowledged, destination)


def test_each_way_of_losing_an_image_is_seen(tmp_path: Path) -> None:
    destination = Destination(free_port())

    def trouble() -> str:
        found = balance(tmp_path, destination)
        assert found.accounted == 0
        return found.lost[UID]

    with on_record(tmp_path) as store:
        assert "not on record" in balance(tmp_path, destination, {"1.2.3.9": STUDY}).lost["1.2.3.9"]
        assert trouble() == "still RECEIVED"
        analyse(store)
        assert "no report" in trouble()
        report(store)
        assert open_work(tmp_path) == 1
        assert "is PENDING" in trouble()
        deliver(store)
        assert open_work(tmp_path) == 0
        assert "never said so" in trouble()
        next((tmp_path / "spool").glob("*/*")).unlink()
        assert "its file is gone" in trouble()


def test_a_second_report_and_a_second_content_are_seen(tmp_path: Path) -> None:
    image = next(radiographs())
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = Comprehensive3DSRStorage
    image.StudyInstanceUID = STUDY
    with on_record(tmp_path) as store, Destination(free_port()) as destination:
        analyse(store)
        report(store, str(image.SOPInstanceUID))
        deliver(store)
        transmit(tmp_path, destination, save(image))
        found = balance(tmp_path, destination)
        assert (found.accounted, found.lost, found.duplicates) == (1, {}, ())
        # the same again is the same
        transmit(tmp_path, destination, save(image))
        assert balance(tmp_path, destination).duplicates == ()
        image.PatientID = "OTHER"
        transmit(tmp_path, destination, save(image))
        (said,) = balance(tmp_path, destination).duplicates
        assert "two contents" in said
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = UID_8
        transmit(tmp_path, destination, save(image))
        assert f"2 reports of {STUDY}" in balance(tmp_path, destination).duplicates


def transmit(folder: Path, destination: Destination, data: bytes) -> None:
    file = folder / "sent.dcm"
    file.write_bytes(data)
    address = DestinationAddress(ae_title="PACS", host="127.0.0.1", port=destination.port)
    statuses: list[int | None] = []
    send(
        address,
        [Outgoing.of_file(file)],
        lambda _outgoing, answer: statuses.append(answer.status),
        Caller(ae_title="MCADS"),
    )
    assert statuses == [0x0000]


@pytest.mark.parametrize("mutator", dict.fromkeys(MUTATORS))
def test_a_mutator_changes_what_is_sent(mutator: Mutator) -> None:
    made = {b"".join(mutator(random.Random(seed), list(ASSOCIATION))) for seed in range(30)}
    assert len(made - {b"".join(ASSOCIATION)}) > 2


def test_a_case_can_be_made_again() -> None:
    def of(seed: int) -> list[Pdus]:
        return [case([ASSOCIATION], seed, number) for number in range(50)]

    assert of(1) == of(1) != of(2)
    assert split(b"".join(ASSOCIATION)) == ASSOCIATION


def test_renamed_objects_are_as_long() -> None:
    uid = b"2.25.123456789012345678901234567890123456789"
    (other,) = rename(random.Random(1), [b"<" + uid + b">"], [uid])
    assert len(other) == len(uid) + 2
    assert uid not in other
    assert other[1:-1].replace(b".", b"").isdigit()


def test_a_clock_is_set_while_a_program_runs(tmp_path: Path) -> None:
    clock = NodesClock(tmp_path)
    tell = "import datetime, time; print(datetime.datetime.now().timestamp(), time.monotonic(), flush=True)"
    code = f"{tell}\ninput()\n{tell}"
    command = [sys.executable, "-c", code]
    environment = {**os.environ, **clock.environment}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        wall, steady = map(float, program.stdout.readline().split())
        clock.set(-3600)
        later_wall, later_steady = map(float, program.communicate("go on\n", timeout=60)[0].split())
    assert abs(wall - time.time()) < 600
    # the one that never steps tells how much time has passed
    assert abs((later_wall - wall) - (later_steady - steady) + 3600) < 1


def test_the_figures_have_what_is_promised(tmp_path: Path) -> None:
    nothing = Plan(rounds=0, outage_objects=0, fuzz_cases=0, radiographs=0)
    told = attack(nothing, tmp_path, lambda _what, _done, _total: None)
    keys = {"rounds", "acknowledged", "accounted", "duplicates", "lost", "fuzzed", "alive", "faults"}
    assert set(told) == keys
