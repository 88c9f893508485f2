"""Admission declines on positive evidence only, and says which tag spoke."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalXRayImageStorageForProcessing,
)

from mcads_node import product
from mcads_node.admit import admit
from mcads_node.read.body_part import CHEST_WORDS, OTHER_PARTS
from tests.headers import header

CHEST: dict[str, object] = {
    "SOPClassUID": ComputedRadiographyImageStorage,
    "SOPInstanceUID": "1.2.3",
    "StudyInstanceUID": "1.2.4",
    "SeriesInstanceUID": "1.2.5",
    "Rows": 10,
    "Columns": 12,
    "SamplesPerPixel": 1,
}


def radiograph(attributes: dict[str, object]) -> Dataset:
    """Make the header of a radiograph that nothing speaks against; None takes an attribute away."""
    return header(**{key: value for key, value in (CHEST | attributes).items() if value is not None})


def anatomy(meaning: str) -> list[Dataset]:
    item = Dataset()
    item.CodeMeaning = meaning
    return [item]


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"BodyPartExamined": ""},
        {"BodyPartExamined": "TORAX"},
        {"BodyPartExamined": "BRZUCH"},
        {"BodyPartExamined": "CHEST_ABDOMEN"},
        {"BodyPartExamined": "CHEST", "SeriesDescription": "KNEE"},
        {"SeriesDescription": "Portable chest, arm in view"},
        {"AcquisitionDeviceProcessingDescription": "[CHEST,GENERAL     ]"},
        {"Manufacturer": product.MANUFACTURER},
        {"NumberOfFrames": "1"},
    ],
)
def test_no_positive_evidence_admits(attributes: dict[str, object]) -> None:
    assert admit(radiograph(attributes)) is None


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        (
            {"Manufacturer": product.MANUFACTURER, "ManufacturerModelName": product.MODEL_NAME},
            "a result of this product coming back",
        ),
        ({"SOPInstanceUID": None}, "SOPInstanceUID (0008,0018) is absent"),
        ({"StudyInstanceUID": "1.02.3"}, "StudyInstanceUID (0020,000D) is '1.02.3', which is not a UID"),
        ({"SOPClassUID": CTImageStorage}, "SOP class CT Image Storage is not a radiograph"),
        ({"SOPClassUID": DigitalXRayImageStorageForProcessing}, "FOR PROCESSING"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "FOR PROCESSING"),
        ({"Rows": None}, "no pixels: Rows (0028,0010)"),
        ({"NumberOfFrames": "12"}, "12 frames (0028,0008)"),
        ({"SamplesPerPixel": 3}, "colour image (3 samples per pixel (0028,0002))"),
        ({"BodyPartExamined": "Left Leg"}, "BodyPartExamined says LEG"),
        ({"AnatomicRegionSequence": anatomy("Hip joint")}, "AnatomicRegionSequence says HIP"),
        ({"SeriesDescription": "MODALITYLUT - TEETH"}, "SeriesDescription says TEETH"),
        ({"AcquisitionDeviceProcessingDescription": "[LOWER LEG         ]"}, "says LEG"),
    ],
)
def test_declined_with_the_reason(attributes: dict[str, object], reason: str) -> None:
    declined = admit(radiograph(attributes))
    assert declined is not None
    assert reason in declined.reason


def test_no_word_names_both_the_chest_and_another_part() -> None:
    assert not CHEST_WORDS & OTHER_PARTS


@given(st.text(alphabet="ABCDEFGHIKLMNOPRSTUVXYZ ", max_size=16))
def test_a_spelling_that_is_not_known_declines_nothing(text: str) -> None:
    known = set(text.split()) & OTHER_PARTS
    declined = admit(radiograph({"BodyPartExamined": text.strip()}))
    assert (declined is not None) == bool(known and not set(text.split()) & CHEST_WORDS)
