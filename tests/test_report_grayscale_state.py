"""A presentation state repeats a display that can be: broken LUTs and windows are a reason for none."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from mcads_node.errors import ReportImpossible
from mcads_node.report.grayscale_state import repeat_display
from mcads_node.report.source import complete_header
from tests.headers import header


def _lut(**values: object) -> Dataset:
    item = header(**{"LUTDescriptor": [4, 0, 16], "LUTData": [0, 1, 2, 256], **values})
    for keyword, vr in (("LUTDescriptor", "US"), ("LUTData", "US")):
        if keyword in item:
            item[keyword] = DataElement(Tag(keyword), vr, item[keyword].value)
    return item


def _repeated(**values: object) -> Dataset:
    state = Dataset()
    source = header(PhotometricInterpretation="MONOCHROME2")
    for keyword, value in values.items():
        source[Tag(keyword)] = header(**{keyword: value})[Tag(keyword)]
    repeat_display(state, complete_header(source), (90, 70), big_endian=False)
    return state


def _without(keyword: str) -> Dataset:
    item = _lut()
    del item[keyword]
    return item


@pytest.mark.parametrize("sequence", ["ModalityLUTSequence", "VOILUTSequence"])
@pytest.mark.parametrize("keyword", ["LUTDescriptor", "LUTData"])
def test_half_a_lut_is_a_reason_for_no_state(sequence: str, keyword: str) -> None:
    with pytest.raises(ReportImpossible, match=r"LUT Descriptor \(0028,3002\)"):
        _repeated(**{sequence: [_without(keyword)]})


@pytest.mark.parametrize(
    ("values", "tag"),
    [
        ({"RescaleSlope": "0", "RescaleIntercept": "0"}, r"\(0028,1053\)"),
        ({"WindowCenter": "100", "WindowWidth": "0"}, r"\(0028,1051\)"),
        ({"WindowCenter": "100", "WindowWidth": "0.5"}, r"\(0028,1051\)"),
        ({"WindowCenter": "1", "WindowWidth": "0.5", "VOILUTFunction": "LINEAR"}, r"\(0028,1051\)"),
        ({"WindowCenter": "1", "WindowWidth": "0", "VOILUTFunction": "SIGMOID"}, r"\(0028,1051\)"),
        ({"WindowCenter": "1", "WindowWidth": "-5", "VOILUTFunction": "LINEAR_EXACT"}, r"\(0028,1051\)"),
    ],
)
def test_a_display_that_shows_nothing_is_a_reason_for_no_state(values: dict[str, object], tag: str) -> None:
    with pytest.raises(ReportImpossible, match=tag):
        _repeated(**values)


def test_the_least_windows_are_repeated() -> None:
    narrow = _repeated(WindowCenter="1", WindowWidth="0.5", VOILUTFunction="SIGMOID")
    assert narrow.SoftcopyVOILUTSequence[0].WindowWidth == 0.5
    assert _repeated(WindowCenter="1", WindowWidth="1").SoftcopyVOILUTSequence[0].WindowWidth == 1


@pytest.mark.parametrize("sequence", ["ModalityLUTSequence", "VOILUTSequence"])
def test_a_lut_of_any_length_is_repeated_word_by_word(sequence: str) -> None:
    entries = list(range(0x10000))
    state = _repeated(**{sequence: [_lut(LUTDescriptor=[0, 0, 16], LUTData=entries, StationName="X")]})
    item = state.SoftcopyVOILUTSequence[0].VOILUTSequence[0] if sequence == "VOILUTSequence" else None
    item = item or state.ModalityLUTSequence[0]
    # in explicit VR, US would have two bytes for the length of these
    assert item["LUTData"].VR == "OW"
    assert np.frombuffer(item.LUTData, "<u2").tolist() == entries
    assert list(item.LUTDescriptor) == [0, 0, 16]
    assert "StationName" not in item
