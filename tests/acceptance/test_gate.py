"""The gate as a radiologist meets it: images that the model should not read, through the verb ``analyse``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from mcads_node import phantom
from mcads_node.report.readback import findings_in
from tests.acceptance.test_demo import analyse
from tests.referees import dciodvfy
from tests.shared_data import data_dir

INVERTED = "Black and white seem to be exchanged, or this is not a chest from the front."
TURNED = "The image seems to lie on its side, or this is not a chest from the front."


def test_of_an_image_that_is_not_as_it_should_be_nothing_is_claimed(tmp_path: Path) -> None:
    inverted = phantom.radiograph(rows=300, columns=240, study="inverted")
    inverted.PixelData = (4095 - inverted.pixel_array).astype("<u2").tobytes()
    turned = phantom.radiograph(rows=300, columns=300, study="turned")
    turned.PixelData = np.rot90(turned.pixel_array).astype("<u2").tobytes()
    _refused(tmp_path, [(inverted, INVERTED), (turned, TURNED)])


def test_of_a_leg_that_says_it_is_a_chest_nothing_is_claimed(tmp_path: Path) -> None:
    leg = dcmread(data_dir() / "dicom_negative" / "nema_RG3_J2KR_leg.dcm")
    leg.BodyPartExamined = "CHEST"
    leg.StudyInstanceUID = generate_uid()
    # bright around a leg: what it looks most like is an inverted chest
    _refused(tmp_path, [(leg, INVERTED)])


def _refused(tmp_path: Path, images: list[tuple[Dataset, str]]) -> None:
    """Analyse images, and see that nothing is claimed of them, and why is told wherever findings are."""
    files = [tmp_path / f"{number}.dcm" for number in range(len(images))]
    for file, (dataset, _) in zip(files, images, strict=True):
        dataset.save_as(file)
    told = analyse(tmp_path, *files)
    for image, (_, warning) in zip(told["files"], images, strict=True):
        assert image["reason"] is None
        assert warning in [check["reason"] for check in image["checks"] if check["verdict"] == "undetermined"]
        assert {finding["presence"] for finding in image["findings"]} == {"undetermined"}
    reports = [Path(each["file"]) for each in told["objects"] if each["kind"] == "sr"]
    for report, (_, warning) in zip(reports, images, strict=True):
        assert any(f"Undetermined ({_check(warning)}): {warning}" in text for text in _texts(dcmread(report)))
        for findings in findings_in(report.read_bytes()).values():
            assert {finding.presence for finding in findings} == {"undetermined"}
    assert {each["kind"] for each in told["objects"]} == {"sr", "summary"}
    for each in told["objects"]:
        assert dciodvfy(Path(each["file"]).read_bytes()).errors == ()


def _check(warning: str) -> str:
    return {INVERTED: "polarity", TURNED: "orientation"}[warning]


def _texts(item: Dataset) -> list[str]:
    below = [text for child in item.get("ContentSequence", ()) for text in _texts(child)]
    return below + ([item.TextValue] if "TextValue" in item else [])
