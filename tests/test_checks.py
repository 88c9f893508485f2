"""Polarity, view and contrast."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from mcads_node.instance import InputCheck, Verdict, View
from mcads_node.read import radiograph as read
from tests.encodings import data_set, deepened, part10, picture
from tests.reading import expected, radiograph_of


def _checks(**attributes: Any) -> dict[str, Verdict]:
    return _verdicts(radiograph_of(part10(data_set(picture(), bits_stored=8, **attributes))).checks)


def _verdicts(checks: tuple[InputCheck, ...]) -> dict[str, Verdict]:
    return {check.name: check.verdict for check in checks}


@pytest.mark.parametrize(
    ("photometric", "shape", "agrees"),
    [
        ("MONOCHROME2", "IDENTITY", True),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME2", "INVERSE", False),
        ("MONOCHROME1", "IDENTITY", False),
        ("MONOCHROME2", "LIN OD", False),
        ("MONOCHROME1", "", True),
    ],
)
def test_a_presentation_lut_shape_never_inverts_and_is_reported_where_it_contradicts(
    photometric: str, shape: str, agrees: bool
) -> None:
    stored = picture() if photometric == "MONOCHROME2" else 255 - picture()
    ds = data_set(stored, bits_stored=8, photometric=photometric, PresentationLUTShape=shape)
    radiograph = radiograph_of(part10(ds))
    np.testing.assert_allclose(radiograph.pixels, expected(), atol=1e-3)
    assert _verdicts(radiograph.checks) == ({} if agrees else {"polarity": Verdict.UNDETERMINED})
    assert agrees or "Presentation LUT Shape (2050,0020)" in radiograph.checks[0].reason


def test_content_that_contradicts_the_polarity() -> None:
    assert _checks() == {}
    assert _checks(PhotometricInterpretation="MONOCHROME1") == {"polarity": Verdict.UNDETERMINED}
    assert _checks(PhotometricInterpretation="MONOCHROME1", ViewPosition="LL") == {}


def test_content_that_its_display_settings_do_not_fit() -> None:
    # 12 bit pixels, declared as 16 bit, without a window: nearly black
    ds = data_set(deepened(picture(), 12), bits_stored=16)
    assert _verdicts(radiograph_of(part10(ds)).checks) == {"contrast": Verdict.UNDETERMINED}
    ds.WindowCenter, ds.WindowWidth = "2048", "4096"
    assert radiograph_of(part10(ds)).checks == ()


@pytest.mark.parametrize(
    ("code", "position", "orientation", "view"),
    [
        ("", "PA", "", View.PA),
        ("", "AP", ["L", "F"], View.AP),
        ("", "LL", "", View.LATERAL),
        ("", "RL", ["L", "F"], View.LATERAL),
        ("", "LATERAL", "", View.LATERAL),
        ("", "LLD", "", View.OTHER),
        ("", "RLO", "", View.OTHER),
        ("", "SWIMMER", "", View.OTHER),
        ("", "", ["A", "F"], View.LATERAL),
        ("", "", ["P", "F"], View.LATERAL),
        ("", "", ["AH", "FA"], View.LATERAL),
        ("", "", ["L", "F"], View.UNKNOWN),
        ("", "", ["F", "R"], View.UNKNOWN),
        ("", "", ["L", "P"], View.OTHER),
        ("", "", "", View.UNKNOWN),
        ("272479007", "AP", "", View.PA),
        ("R-10206", "PA", "", View.AP),
        ("399198007", "", "", View.LATERAL),
        ("399135007", "PA", "", View.OTHER),
        ("399033003", "", "", View.UNKNOWN),
    ],
)
def test_view(code: str, position: str, orientation: str | list[str], view: View) -> None:
    ds = Dataset()
    ds.SeriesDescription = "Thorax PA"
    ds.ViewPosition = position
    ds.PatientOrientation = orientation
    if code:
        concept = Dataset()
        concept.CodeValue, concept.CodingSchemeDesignator = code, "SCT"
        ds.ViewCodeSequence = [concept]
    assert read.view_of(ds) is view


def test_view_of_an_empty_header() -> None:
    assert read.view_of(Dataset()) is View.UNKNOWN
