"""The view, as headers tell it."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from mcads_node.instance import View
from mcads_node.read import radiograph as read


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
