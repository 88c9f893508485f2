"""A radiograph goes in by DCMTK, and a report and overlays come back to Orthanc, whatever dies on the way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from mcads_node import phantom
from mcads_node.instance import View
from mcads_node.report.readback import findings_in
from tests.acceptance.node import START_SECONDS, ServedNode, served, wait_for
from tests.model_samples import DEMONSTRATION, shipped_store
from tests.peers import Peer, RawPeer, orthanc, storescu
from tests.referees import dciodvfy

KINDS = ["heatmap", "sr", "summary"]


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    with orthanc(tmp_path_factory.mktemp("pacs")) as peer:
        yield peer


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, pacs: Peer) -> Iterator[ServedNode]:
    destination = {"ae_title": pacs.ae_title, "port": pacs.port}
    with served(tmp_path_factory.mktemp("node"), destination) as running:
        yield running


def chest(study: str, view: View = View.PA, **changes: Any) -> Dataset:
    """Draw a small phantom; studies of different names are different studies."""
    dataset = phantom.radiograph(view, rows=320, columns=256, study=study)
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    return dataset


def send(node: ServedNode, folder: Path, *datasets: Dataset) -> None:
    files = []
    for number, dataset in enumerate(datasets):
        files.append(folder / f"{number}.dcm")
        files[-1].write_bytes(phantom.save(dataset))
    done = storescu(node.port, *map(str, files))
    assert done.returncode == 0, done.stdout


def results_in(pacs: Peer, study: dict[str, Any]) -> dict[str, list[bytes]]:
    """Objects of a study that Orthanc has, by kind; every one that was due must be there, once."""
    found: dict[str, list[bytes]] = {}
    # an SR is also made in the class that would be sent were the first rejected: that one goes nowhere
    for result in (each for each in study["results"] if each["deliveries"]):
        answer = [
            each
            for each in pacs.get("/instances?expand")
            if each["MainDicomTags"]["SOPInstanceUID"] == result["sop_instance_uid"]
        ]
        assert len(answer) == 1, result
        found.setdefault(result["kind"], []).append(pacs.get_bytes(f"/instances/{answer[0]['ID']}/file"))
    return found


def test_storescu_to_node_to_orthanc(node: ServedNode, pacs: Peer, tmp_path: Path) -> None:
    images = [chest("light"), chest("light", View.LATERAL)]
    send(node, tmp_path, *images)
    study = node.finished(images[0].StudyInstanceUID)
    assert [image["state"] for image in study["images"]] == ["ANALYSED", "ANALYSED"]
    assert {image["view"] for image in study["images"]} == {"PA", "LATERAL"}
    received = results_in(pacs, study)
    assert sorted(received) == KINDS
    assert (len(received["sr"]), len(received["summary"])) == (1, 1)
    reported = findings_in(received["sr"][0])
    assert set(reported) == {str(image.SOPInstanceUID) for image in images}
    for image in study["images"]:
        told = {finding["label"]: finding["presence"] for finding in image["findings"]}
        assert told.keys() == set(shipped_store(tmp_path).manifest(DEMONSTRATION).labels)
        assert told == {each.label: each.presence for each in reported[image["sop_instance_uid"]]}
    for data in (data for objects in received.values() for data in objects):
        assert dciodvfy(data).errors == ()
        assert b"DEMONSTRATION" in data


def test_the_same_study_again_makes_nothing_new(node: ServedNode, tmp_path: Path) -> None:
    image = chest("again")
    send(node, tmp_path, image)
    before = node.finished(image.StudyInstanceUID)
    send(node, tmp_path, image)
    after = node.finished(image.StudyInstanceUID)
    assert (after["revision"], len(after["images"])) == (1, 1)
    assert after["results"] == before["results"]


def test_a_late_image_revises_the_report(node: ServedNode, pacs: Peer, tmp_path: Path) -> None:
    first, second = chest("late"), chest("late", View.LATERAL)
    send(node, tmp_path, first)
    assert node.finished(first.StudyInstanceUID)["revision"] == 1
    send(node, tmp_path, second)
    study = wait_for(
        "revision 2", lambda: (found := node.finished(first.StudyInstanceUID))["revision"] == 2 and found
    )
    reports = results_in(pacs, study)["sr"]
    assert [len(findings_in(report)) for report in reports] == [1, 2]


def test_our_own_results_are_not_analysed(node: ServedNode, tmp_path: Path) -> None:
    image = chest("echo")
    send(node, tmp_path, image)
    study = node.finished(image.StudyInstanceUID)
    capture = next(result for result in study["results"] if result["kind"] == "summary")
    done = storescu(node.port, str(node.folder / "data" / "results" / capture["path"]))
    assert done.returncode == 0, done.stdout
    came_back = wait_for(
        "the capture is declined",
        lambda: [
            each for each in node.study(image.StudyInstanceUID)["images"] if each["state"] == "DECLINED"
        ],
    )
    assert "coming back" in came_back[0]["reason"]
    assert node.finished(image.StudyInstanceUID)["revision"] == 1


@pytest.mark.parametrize(
    ("name", "changes", "state", "reason"),
    [
        ("leg", {"BodyPartExamined": "LEG"}, "DECLINED", "BodyPartExamined says LEG"),
        ("frames", {"NumberOfFrames": "2"}, "DECLINED", "2 frames (0028,0008)"),
        ("processing", {"PresentationIntentType": "FOR PROCESSING"}, "DECLINED", "FOR PROCESSING"),
        ("modality", {"Modality": "PX"}, "DECLINED", "no route (rule 'rest')"),
        ("too-large", {"Rows": 4000}, "QUARANTINED", "4000"),
    ],
)
def test_bad_input_has_a_reason_and_the_next_image_is_read(
    node: ServedNode, tmp_path: Path, name: str, changes: dict[str, Any], state: str, reason: str
) -> None:
    bad, good = chest(f"bad-{name}", **changes), chest(f"good-{name}")
    send(node, tmp_path, bad, good)
    image = node.finished(bad.StudyInstanceUID)["images"][0]
    assert (image["state"], reason in image["reason"]) == (state, True), image
    assert node.finished(good.StudyInstanceUID)["images"][0]["state"] == "ANALYSED"


def test_a_truncated_object_and_one_without_pixels(node: ServedNode, tmp_path: Path) -> None:
    truncated, bare = chest("truncated"), chest("bare")
    truncated.PixelData = truncated.PixelData[: len(truncated.PixelData) // 2]
    del bare.PixelData
    for dataset, reason in ((truncated, "Pixel Data"), (bare, "Pixel Data")):
        send(node, tmp_path, dataset)
        image = node.finished(dataset.StudyInstanceUID)["images"][0]
        assert image["state"] == "QUARANTINED"
        assert reason in image["reason"]


def test_a_worker_killed_in_mid_analysis_costs_nothing(node: ServedNode, pacs: Peer, tmp_path: Path) -> None:
    image = chest("killed")
    (worker,) = wait_for("one worker", lambda: node.workers() if len(node.workers()) == 1 else None)
    # stopped, it takes the work and does not finish it
    os.kill(worker, signal.SIGSTOP)
    send(node, tmp_path, image)

    def claimed() -> bool:
        return any(work["state"] == "IN PROGRESS" for work in node.study(image.StudyInstanceUID)["workitems"])

    wait_for("the work is claimed", claimed)
    os.kill(worker, signal.SIGKILL)
    study = node.finished(image.StudyInstanceUID)
    assert any("died" in (event["why"] or "") for event in study["events"]), study["events"]
    received = results_in(pacs, study)
    assert sorted(received) == KINDS
    assert (study["revision"], len(received["sr"])) == (1, 1)


def told(manager: socket.socket, what: bytes) -> bytes:
    """Wait for a message to systemd; how the node is doing is told between others."""
    while not (message := manager.recv(1000)).startswith(what):
        assert message.startswith((b"STATUS=", b"WATCHDOG=")), message
    return message


def test_the_node_killed_and_started_again_goes_on(tmp_path: Path, pacs: Peer) -> None:
    image = chest("power")
    # as systemd listens to a unit of Type=notify
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(START_SECONDS)
    destination = {"ae_title": pacs.ae_title, "port": pacs.port}
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    with manager, served(tmp_path / "node", destination, environment=environment) as node:
        assert told(manager, b"READY=1") == f"READY=1\nSTATUS=listening on port {node.port}".encode()
        (worker,) = wait_for("one worker", lambda: node.workers() if len(node.workers()) == 1 else None)
        os.kill(worker, signal.SIGSTOP)
        send(node, tmp_path, image)
        assert node.stop(signal.SIGKILL) == -signal.SIGKILL
        os.kill(worker, signal.SIGCONT)
        wait_for("the worker ends with its parent", lambda: not Path(f"/proc/{worker}/cwd").exists())
        node.start()
        study = node.finished(image.StudyInstanceUID)
        assert sorted(results_in(pacs, study)) == KINDS
        assert node.stop() == 0
        assert told(manager, b"READY=1")
        assert told(manager, b"STOPPING=1") == b"STOPPING=1"


def test_a_destination_that_is_away_gets_everything_later(tmp_path: Path) -> None:
    image = chest("away")
    with orthanc(tmp_path / "later") as later:
        pass
    with served(tmp_path / "node", {"ae_title": later.ae_title, "port": later.port}) as node:
        send(node, tmp_path, image)
        wait_for("the report is made", lambda: node.study(image.StudyInstanceUID)["revision"] == 1)
        assert "FAIL" in node.verb("check", code=1)
        with orthanc(tmp_path / "later", DicomPort=later.port) as back:
            study = node.finished(image.StudyInstanceUID)
            assert sorted(results_in(back, study)) == KINDS


def test_an_unknown_peer_is_turned_away(node: ServedNode, tmp_path: Path) -> None:
    file = tmp_path / "chest.dcm"
    file.write_bytes(phantom.save(chest("stranger")))
    done = storescu(node.port, str(file), calling="STRANGER")
    assert done.returncode != 0
    assert "Calling AE Title Not Recognized" in done.stdout


def test_the_verbs(node: ServedNode, tmp_path: Path) -> None:
    image = chest("verbs")
    send(node, tmp_path, image)
    study = node.finished(image.StudyInstanceUID)
    listed = node.json("studies", "--limit", "100")
    assert image.StudyInstanceUID in [each["study_instance_uid"] for each in listed]
    assert image.StudyInstanceUID in node.verb("show", str(study["number"]))
    assert node.json("show", image.StudyInstanceUID) == study
    assert all(check["ok"] for check in node.json("check"))
    assert "answered in" in node.verb("echo", "pacs")
    assert "0 piece(s) of work" in node.verb("retry", str(study["number"]))
    node.verb("show", "1.2.3", code=65)
    node.verb("echo", "nowhere", code=78)


def test_no_phi_in_the_log_and_private_folders(node: ServedNode, tmp_path: Path) -> None:
    image = chest("phi", SpecificCharacterSet="ISO_IR 192", PatientID="ID-47112")
    image.PatientName, image.PatientBirthDate = "Žukauskaitė^Ona", "19470815"
    send(node, tmp_path, image, chest("phi-bad", PatientID="ID-47112", Rows=4000))
    node.finished(image.StudyInstanceUID)
    log = node.log.read_text()
    for secret in ("Žukauskaitė", "ukauskait", "ID-47112", "19470815"):
        assert secret not in log
    for folder in ("spool", "results"):
        assert (node.folder / "data" / folder).stat().st_mode & 0o077 == 0


def test_an_object_that_cannot_be_read_is_refused_kept_and_listed(node: ServedNode) -> None:
    sop_class = "1.2.840.10008.5.1.4.1.1.1"
    peer = RawPeer.associate(node.port, (sop_class, "1.2.840.10008.1.2"))
    assert peer.store(sop_class.encode() + b"\0", b"1.2.3.4.5.6", b"this is not a data set") == 0xC000
    peer.close()
    refused = node.json("refused")
    assert (node.folder / "data" / "spool" / refused[0]["path"]).read_bytes().endswith(b"not a data set")
    assert refused[0]["reason"] in node.verb("refused")
    assert "instance.refused" in node.log.read_text()


def test_one_data_folder_one_node(node: ServedNode) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "mcads_node", "serve", "--config", str(node.config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert "in use by another node" in second.stderr


def test_sighup_takes_new_routes_and_keeps_old_ones_on_error(node: ServedNode, tmp_path: Path) -> None:
    routes = node.folder / "routes.yaml"
    before = routes.read_text()
    assert node.process is not None
    try:
        for wrong in (
            "routes: [{name: broken, when: {Modality: [}]",
            "routes: [{name: new, when: {}, analyse: {}, send_to: [elsewhere]}]",
        ):
            kept = node.log.read_text().count("routes.kept")
            routes.write_text(wrong)
            node.process.send_signal(signal.SIGHUP)
            wait_for("the old routes are kept", lambda: node.log.read_text().count("routes.kept") > kept)  # noqa: B023
        routes.write_text("routes: [{name: nobody, when: {}, decline: closed today}]")
        node.process.send_signal(signal.SIGHUP)
        wait_for("new routes", lambda: "routes.reloaded" in node.log.read_text())
        image = chest("closed")
        send(node, tmp_path, image)
        assert "closed today" in node.finished(image.StudyInstanceUID)["images"][0]["reason"]
    finally:
        routes.write_text(before)
        node.process.send_signal(signal.SIGHUP)
        wait_for("old routes again", lambda: node.log.read_text().count("routes.reloaded") == 2)
