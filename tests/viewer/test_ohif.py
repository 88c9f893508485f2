"""A study with our results as a radiologist sees it: in OHIF, in Chromium, from Orthanc's DICOMweb."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from mcads_node import phantom
from mcads_node.instance import View
from tests.acceptance.node import served
from tests.documents import ROOT
from tests.peers import Peer, orthanc, storescu
from tests.programs import require_file
from tests.viewer.browsing import Visit, amount_of, likeness, visit
from tests.viewer.server import DIST, viewer

#: Debian's orthanc-dicomweb
DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
#: where the screenshots stay for a person to look at
ARTEFACTS = Path(os.environ.get("MCADS_TEST_ARTEFACTS") or ROOT / "tests" / "artefacts") / "ohif"
#: everything but SEG, which on a radiograph ends OHIF's page
OBJECTS = ["sr", "summary", "heatmap", "basic-text-sr", "gsps", "kos", "pdf"]
#: what OHIF's error boundary says to the user
TROUBLE = "Something went wrong"

pytestmark = pytest.mark.timeout(240)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One visit, and the objects of the study that was visited."""

    visit: Visit
    #: the node's results, by kind, in the order of their instance numbers
    results: dict[str, list[Dataset]]

    def like(self, name: str, kind: str, place: int = 0) -> float:
        """Correlate the viewport of a screenshot with an object's own picture."""
        return likeness(self.visit.shown[name], self.picture(kind, place))

    def picture(self, kind: str, place: int = 0) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = self.results[kind][place].pixel_array
        return pixels


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    plugin = require_file(DICOMWEB, "orthanc-dicomweb")
    settings = {"Plugins": [str(plugin)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}}
    with orthanc(tmp_path_factory.mktemp("pacs"), **settings) as peer:
        yield peer


@pytest.fixture(scope="module")
def seen(pacs: Peer, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    require_file(DIST / "index.html", "OHIF (npm ci in tests/viewer)")
    folder = tmp_path_factory.mktemp("viewer")
    study = _study(pacs, folder)
    results = _results(pacs)
    series = {kind: str(objects[0].SeriesDescription) for kind, objects in results.items()}
    order = {
        "image": "Synthetic phantom PA",
        **{kind: series[kind] for kind in ("summary", "heatmap", "basic-text-sr", "pdf", "sr")},
        "summary-again": series["summary"],
    }
    with viewer(pacs.http_port) as origin:
        found = visit(f"{origin}/viewer?StudyInstanceUIDs={study}", order, ARTEFACTS)
    return Seen(visit=found, results=results)


def _study(pacs: Peer, folder: Path) -> str:
    """Let a node report a study to the PACS that has it; gives its UID."""
    images = [phantom.radiograph(view, rows=800, columns=640) for view in (View.PA, View.LATERAL)]
    # maps of one finding on images of one number have one number as well, and their order would be chance
    images[1].InstanceNumber = 2
    files = []
    for number, image in enumerate(images):
        files.append(folder / f"{number}.dcm")
        files[-1].write_bytes(phantom.save(image))
    destination = {"ae_title": pacs.ae_title, "port": pacs.port, "objects": OBJECTS}
    with ExitStack() as running:
        node = running.enter_context(served(folder / "node", destination))
        for port, called in ((pacs.port, pacs.ae_title), (node.port, "MCADS")):
            done = storescu(port, *map(str, files), called=called)
            assert done.returncode == 0, done.stdout
        study = node.finished(str(images[0].StudyInstanceUID))
        states = [each["state"] for result in study["results"] for each in result["deliveries"]]
        assert set(states) == {"STORED"}, study
    return str(images[0].StudyInstanceUID)


def _results(pacs: Peer) -> dict[str, list[Dataset]]:
    """Objects that the node stored, by kind: told by their place in its block of series numbers."""
    found: dict[str, list[Dataset]] = {}
    kinds = ["sr", "summary", "heatmap", "basic-text-sr", "gsps", "kos", "pdf"]
    for identifier in pacs.get("/instances"):
        result = pydicom.dcmread(BytesIO(pacs.get_bytes(f"/instances/{identifier}/file")))
        if result.SeriesNumber > 9900:
            found.setdefault(kinds[result.SeriesNumber - 9901], []).append(result)
    for results in found.values():
        results.sort(key=lambda result: int(result.get("InstanceNumber") or 0))
    assert sorted(found) == sorted(kinds)
    return found


def _told(seen: Seen) -> str:
    """Give what a person wants to know where the page did not do as it should."""
    caught = [error for each in seen.visit.shown.values() for error in each.caught]
    return "\n".join(("", *seen.visit.crashes, *caught, *seen.visit.console, f"screenshots: {ARTEFACTS}"))


def test_the_page_lists_every_series_that_has_something_to_show(seen: Seen) -> None:
    assert seen.visit.crashes == (), _told(seen)
    listed = set(seen.visit.descriptions)
    shown = {str(seen.results[kind][0].SeriesDescription) for kind in ("sr", "summary", "heatmap", "pdf")}
    assert shown <= listed, _told(seen)
    assert all(text.startswith("MCADS AI") for text in shown)
    assert {"Synthetic phantom PA", "Synthetic phantom LATERAL"} <= listed


@pytest.mark.parametrize(("name", "kind"), [("summary", "summary"), ("heatmap", "heatmap")])
def test_a_capture_is_shown_as_it_was_drawn(seen: Seen, name: str, kind: str) -> None:
    shown = seen.visit.shown[name]
    assert TROUBLE not in shown.text, _told(seen)
    assert shown.caught == ()
    assert str(seen.results[kind][0].SeriesDescription) in shown.overlay
    # the rest is the viewer's own text on top
    assert seen.like(name, kind) > 0.95, _told(seen)
    # the judge can tell: another picture and an empty viewport are not like it
    other = "heatmap" if kind == "summary" else "summary"
    assert seen.like(name, other) < 0.7
    picture = seen.picture(kind) / 255
    part = shown.part_of(picture.shape[0], picture.shape[1])
    for colour in ("red", "amber"):
        expected = amount_of(colour, picture)
        assert amount_of(colour, part) == pytest.approx(expected, rel=0.4, abs=0.002), colour
    assert amount_of("red", picture) > 0.01, "the band that says DEMONSTRATION"
    assert amount_of("red", seen.visit.shown["image"].viewport()) < 0.0001


def test_the_first_heatmap_of_the_series_is_shown_and_no_other(seen: Seen) -> None:
    heatmaps = range(len(seen.results["heatmap"]))
    assert len(heatmaps) > 1
    like = [seen.like("heatmap", "heatmap", place) for place in heatmaps]
    assert like.index(max(like)) == 0
    assert f"I:{seen.results['heatmap'][0].InstanceNumber} (1/{len(heatmaps)})" in " ".join(
        seen.visit.shown["heatmap"].overlay.split()
    )


def test_the_report_of_text_is_read_and_the_document_opens(seen: Seen) -> None:
    text = seen.visit.shown["basic-text-sr"]
    assert TROUBLE not in text.text, _told(seen)
    assert "Pneumothorax" in text.overlay, _told(seen)
    assert TROUBLE not in seen.visit.shown["pdf"].text, _told(seen)
    assert seen.visit.shown["pdf"].caught == ()


def test_opening_the_measurement_report_does_not_end_the_page(seen: Seen) -> None:
    """OHIF 3.13 reads coordinates of the first measurement, which a report on whole images has not.

    Its error boundary catches that, the viewport stays black, and the page goes on.
    """
    # where this is no longer so, docs/operations.md says too much
    assert len(seen.visit.shown["sr"].caught) >= 1, _told(seen)
    for error in seen.visit.shown["sr"].caught:
        assert "reading 'ReferencedSOPSequence'" in error
    assert "MCADS AI" in seen.visit.shown["sr"].text
    again = seen.visit.shown["summary-again"]
    assert again.caught == ()
    # what OHIF told of its trouble may still lie in a corner
    assert seen.like("summary-again", "summary") > 0.9
