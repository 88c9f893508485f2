"""Destinations get what their profiles say, from a real node; what was sent is taken back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import (
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    ExplicitVRLittleEndian,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from mcads_node.instance import View
from mcads_node.result import ObjectKind
from tests.acceptance.node import RULES, ServedNode, served
from tests.acceptance.test_first_light import chest, results_in, send
from tests.peers import Peer, choosy_storescp, orthanc
from tests.referees import dciodvfy

ALL_KINDS = [str(kind) for kind in ObjectKind]
VERIFICATION = "1.2.840.10008.1.1"
EXPLICIT = str(ExplicitVRLittleEndian)


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    with orthanc(tmp_path_factory.mktemp("pacs")) as peer:
        yield peer


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """Takes Enhanced SR, and captures that are not compressed."""
    kinds = [(each, EXPLICIT) for each in (VERIFICATION, EnhancedSRStorage, SecondaryCaptureImageStorage)]
    with choosy_storescp(tmp_path_factory.mktemp("registry") / "peer", *kinds) as peer:
        yield peer


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, pacs: Peer, registry: Peer) -> Iterator[ServedNode]:
    """Send everything to Orthanc, and to a registry what it takes, and what it does not."""
    destination = {"ae_title": pacs.ae_title, "port": pacs.port, "objects": ALL_KINDS}
    others = {
        "registry": {
            "ae_title": registry.ae_title,
            "host": "127.0.0.1",
            "port": registry.port,
            "objects": ["sr", "summary"],
            "captures": {"transfer_syntax": "rle"},
            "series": {"sr": {"number": 77, "description": "Registry report"}},
        }
    }
    rules = [{**RULES[0], "send_to": ["pacs", "registry"]}, RULES[1]]
    folder = tmp_path_factory.mktemp("node")
    with served(folder, destination, rules, others) as running:
        yield running


@pytest.fixture(scope="module")
def images() -> list[Any]:
    lateral = chest("profiles", View.LATERAL)
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "PatientOrientation"):
        delattr(lateral, keyword)
    return [chest("profiles"), lateral]


@pytest.fixture(scope="module")
def study(node: ServedNode, images: list[Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    send(node, tmp_path_factory.mktemp("sent"), *images)
    return node.finished(images[0].StudyInstanceUID)


def deliveries_to(study: Any, destination: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Deliveries by kind and SOP class of the object."""
    return {
        (result["kind"], result["sop_class_uid"]): delivery
        for result in study["results"]
        for delivery in result["deliveries"]
        if delivery["destination"] == destination
    }


def test_every_kind_arrives_and_is_valid(study: Any, pacs: Peer) -> None:
    ours = [
        result for result in study["results"] if any(d["destination"] == "pacs" for d in result["deliveries"])
    ]
    received = results_in(pacs, {"results": ours})
    # the lateral has no spacing, so that there is one segmentation, and the reason why there are not two
    assert set(received) == set(ALL_KINDS), [event for event in study["events"] if event["what"] == "omitted"]
    once = Counter(result["kind"] for result in ours)
    assert {kind: once[kind] for kind in ("sr", "summary", "basic-text-sr", "kos", "pdf")} == dict.fromkeys(
        ("sr", "summary", "basic-text-sr", "kos", "pdf"), 1
    )
    for kind, objects in received.items():
        for data in objects:
            assert dciodvfy(data).errors == (), kind
    assert {each["variant"] for each in ours} == {""}


def test_what_cannot_be_made_of_an_image_costs_itself_alone(study: Any) -> None:
    omitted = [event for event in study["events"] if event["what"] == "omitted"]
    assert [event["why"].partition(":")[0] for event in omitted] == ["seg"], omitted


def test_a_registry_of_enhanced_sr_gets_that(study: Any, registry: Peer) -> None:
    sent = deliveries_to(study, "registry")
    (first,) = [each for (kind, uid), each in sent.items() if kind == "sr" and uid != EnhancedSRStorage]
    second = sent["sr", EnhancedSRStorage]
    assert (first["state"], second["state"]) == ("REFUSED", "STORED")
    assert second["stands_in_for"] == first["number"]
    assert ("sr", ComprehensiveSRStorage) not in sent
    (file,) = registry.files()
    report = dcmread(file, force=True)
    assert (report.SOPClassUID, report.SeriesNumber) == (EnhancedSRStorage, 77)
    assert report.SeriesDescription == "DEMONSTRATION MODEL — NOT FOR CLINICAL USE Registry report"
    assert "alternative planned" in [event["what"] for event in study["events"]]


def test_a_capture_is_not_encoded_anew_where_its_transfer_syntax_is_rejected(
    study: Any, node: ServedNode
) -> None:
    page = deliveries_to(study, "registry")["summary", SecondaryCaptureImageStorage]
    assert page["state"] == "REFUSED"
    assert RLELossless in page["reason"]
    assert "transfer syntax not supported" in page["reason"]
    made = [result for result in study["results"] if result["kind"] == "summary"]
    assert sorted(result["variant"] for result in made) == ["", f"transfer_syntax_uid={RLELossless}"]
    for result in made:
        data = (node.folder / "data" / "results" / result["path"]).read_bytes()
        assert dciodvfy(data).errors == ()
        syntax = dcmread(BytesIO(data)).file_meta.TransferSyntaxUID
        assert syntax == (RLELossless if result["variant"] else ExplicitVRLittleEndian)


def test_check_says_what_a_destination_takes(node: ServedNode) -> None:
    told = node.json("check")
    assert all(check["ok"] for check in told)
    of_pacs = [check for check in told if check["name"] == "pacs"]
    assert [check["warning"] for check in of_pacs] == [False, True, False]
    assert "OHIF" in of_pacs[1]["text"]
    assert of_pacs[2]["text"].startswith("takes sr")
    *_, of_registry = (check for check in told if check["name"] == "registry")
    assert of_registry["warning"]
    assert f"summary as SOP class {SecondaryCaptureImageStorage}" in of_registry["text"]
    assert "rejection notes" in of_registry["text"]
    assert EnhancedSRStorage not in of_registry["text"]
    assert "warn" in node.verb("check")


def test_what_was_sent_is_taken_back(node: ServedNode, pacs: Peer, tmp_path: Path) -> None:
    image = chest("retracted")
    send(node, tmp_path, image)
    before = node.finished(image.StudyInstanceUID)
    number = str(before["number"])
    said = node.verb("retract", number, "--reason", "images of another patient", "--title", "safety")
    assert "pacs" in said
    after = node.finished(image.StudyInstanceUID)
    note = after["results"][-1]
    states = {each["destination"]: each["state"] for each in note["deliveries"]}
    # the registry takes no Key Object Selection, and says so
    assert states == {"pacs": "STORED", "registry": "REFUSED"}
    (data,) = results_in(pacs, {"results": [note]})["kos"]
    assert dciodvfy(data).errors == ()
    written = dcmread(BytesIO(data))
    assert written.ConceptNameCodeSequence[0].CodeValue == "113037"
    named = {
        reference.ReferencedSOPInstanceUID
        for study in written.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    }
    stored = {
        result["sop_instance_uid"]
        for result in before["results"]
        if any(delivery["state"] == "STORED" for delivery in result["deliveries"])
    }
    assert named == stored
    assert all(result["retracted_by"] for result in after["results"][:-1])
    assert ("retracted", "images of another patient") in [
        (event["what"], event["why"]) for event in after["events"]
    ]
    assert "retracted" in node.verb("show", number)
    node.verb("retract", number, "--reason", "again", code=65)
    # an image that comes later makes a report as usual
    send(node, tmp_path, chest("retracted", View.LATERAL))
    again = node.finished(image.StudyInstanceUID)
    assert again["revision"] == 2
    assert not [each for each in again["results"] if each["revision"] == 2 and each["retracted_by"]]
