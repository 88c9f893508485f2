"""One node that forwards, reads in shadow, lets the urgent overtake, and reads again what it has."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from mcads_node import phantom
from tests.acceptance.node import RULES, ServedNode, served, wait_for
from tests.acceptance.test_first_light import chest, send
from tests.part10_files import data_set_bytes
from tests.peers import Peer, storescp

RULE = {**RULES[0], "when": {}, "forward": ["archive"]}
SHADOW = {
    "name": "new thresholds",
    "when": {"StationName": "NEW"},
    "analyse": {"threshold_sets": "low"},
    "shadow": True,
}


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Peer, Peer]]:
    folder = tmp_path_factory.mktemp("peers")
    with storescp(folder / "pacs", "+xa") as pacs, storescp(folder / "archive", "+xa", "+B") as archive:
        yield pacs, archive


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, peers: tuple[Peer, Peer]) -> Iterator[ServedNode]:
    pacs, archive = peers
    rules: list[dict[str, Any]] = [
        SHADOW,
        {"name": "phantoms", "when": {"StationName": "QA"}, "decline": "a phantom", "forward": ["archive"]},
        {**RULE, "name": "emergency room", "when": {"StationName": "ER"}, "priority": "stat"},
        RULE,
    ]
    others = {"archive": {"ae_title": "ARCHIVE", "host": "127.0.0.1", "port": archive.port}}
    sets = [{"name": "low", "thresholds": {"Mass": 0.0}}]
    destination = {"ae_title": pacs.ae_title, "port": pacs.port}
    with served(
        tmp_path_factory.mktemp("node"), destination, rules, others, routes={"threshold_sets": sets}
    ) as running:
        yield running


def archived(archive: Peer, image: Dataset) -> bytes | None:
    """Give the bytes of a data set that the archive has, as they came."""
    for file in archive.files():
        if dcmread(file, stop_before_pixels=True).SOPInstanceUID == image.SOPInstanceUID:
            return data_set_bytes(file.read_bytes())
    return None


def test_originals_go_on_unchanged_whatever_becomes_of_them(
    node: ServedNode, peers: tuple[Peer, Peer], tmp_path: Path
) -> None:
    images = [chest("forward"), chest("phantom", StationName="QA"), chest("knee", BodyPartExamined="KNEE")]
    send(node, tmp_path, *images)
    states = []
    for image in images:
        study = wait_for("it is forwarded", partial(_forwarded, node, image))
        states.append(study["images"][0]["state"])
        assert archived(peers[1], image) == data_set_bytes(phantom.save(image))
    assert states == ["ANALYSED", "DECLINED", "DECLINED"]


def _forwarded(node: ServedNode, sent: Dataset) -> dict[str, Any] | None:
    study: dict[str, Any] = node.finished(sent.StudyInstanceUID)
    (image,) = study["images"]
    return study if [each["state"] for each in image["forwarded"]] == ["STORED"] else None


def test_a_stat_image_overtakes_a_queue(node: ServedNode, tmp_path: Path) -> None:
    (worker,) = node.workers()
    os.kill(worker, signal.SIGSTOP)
    routine = [chest(f"routine {number}") for number in range(3)]
    stat = chest("stat", StationName="ER")
    try:
        send(node, tmp_path, *routine)
        send(node, tmp_path, stat)
    finally:
        os.kill(worker, signal.SIGCONT)
    claimed = [_claimed(node.finished(image.StudyInstanceUID)) for image in (*routine, stat)]
    # the worker had the first before it was stopped; of those that waited the urgent one was next
    assert sorted(claimed)[:2] == [claimed[0], claimed[3]]


def _claimed(study: dict[str, Any]) -> str:
    return min(str(event["at"]) for event in study["events"] if event["what"] == "claimed")


def test_a_shadow_finds_and_does_not_tell(node: ServedNode, peers: tuple[Peer, Peer], tmp_path: Path) -> None:
    image = chest("shadow", StationName="NEW")
    send(node, tmp_path, image)
    study = wait_for(
        "the shadow has read",
        lambda: (found := node.finished(image.StudyInstanceUID))["images"][0]["shadows"] and found,
    )
    (told,) = study["images"]
    (shadow,) = told["shadows"]
    assert (told["rule"], told["threshold_set"]) == ("chest", None)
    assert (shadow["rule"], shadow["threshold_set"]) == ("new thresholds", "low")
    findings = {each["label"]: each for each in shadow["findings"]}
    assert (findings["Mass"]["threshold"], findings["Mass"]["presence"]) == (0.0, "present")
    assert study["revision"] == 1
    assert sum(result["kind"] == "sr" and bool(result["deliveries"]) for result in study["results"]) == 1
    assert "shadow, not reported: rule 'new thresholds'" in node.verb("show", str(study["number"]))


def test_what_is_on_record_is_read_again_and_told_in_a_revised_report(
    node: ServedNode, peers: tuple[Peer, Peer], tmp_path: Path
) -> None:
    image = chest("again")
    send(node, tmp_path, image)
    before = node.finished(image.StudyInstanceUID)
    assert node.verb("reanalyse", str(before["number"])).startswith("scheduled: 1 image(s)")
    after = wait_for(
        "revision 2", lambda: (found := node.finished(image.StudyInstanceUID))["revision"] == 2 and found
    )
    maps = [
        [result for result in study["results"] if result["kind"] == "heatmap"] for study in (before, after)
    ]
    # the same model found the same: the same objects
    assert maps[0] == maps[1]
    reports = [each for each in after["results"] if each["kind"] == "sr" and each["deliveries"]]
    assert [each["revision"] for each in reports] == [1, 2]
    revised = dcmread(node.folder / "data" / "results" / reports[1]["path"])
    (predecessor,) = revised.PredecessorDocumentsSequence
    (series,) = predecessor.ReferencedSeriesSequence
    (named,) = series.ReferencedSOPSequence
    assert named.ReferencedSOPInstanceUID == reports[0]["sop_instance_uid"]
