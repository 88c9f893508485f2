"""The gate: each check by images made for it, by real ones, and by whatever hypothesis thinks of."""

from __future__ import annotations

from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from mcads_node.config import CHECKS
from mcads_node.errors import ModelUnusable
from mcads_node.gate import failed_checks
from mcads_node.gate.field import field_share
from mcads_node.gate.frontal import Likeness, frontal_model, likeness_of, read_model, thumbnail
from mcads_node.gate.grey import clipped
from mcads_node.instance import Radiograph, Verdict, View
from tests.encodings import data_set, deepened, part10
from tests.gate_cases import (
    ALTERED,
    SAID,
    Pixels,
    checks_of,
    chest,
    names_of,
    radiograph,
    said_by_the_gate,
    square_of,
)
from tests.reading import LOSSLESS, radiograph_of
from tests.shared_data import data_dir


def test_a_chest_that_nothing_speaks_against_passes() -> None:
    tidy = radiograph(
        PhotometricInterpretation="MONOCHROME1",
        PresentationLUTShape="INVERSE",
        PixelIntensityRelationship="LIN",
        PresentationIntentType="FOR PRESENTATION",
        BodyPartExamined="CHEST",
        SeriesDescription="Chest, arm in view",
        PatientAge="018Y",
        BurnedInAnnotation="NO",
        ConversionType="DF",
        BitsStored=10,
        LargestImagePixelValue=1023,
    )
    assert checks_of(tidy) == ()
    assert checks_of(radiograph(view=View.UNKNOWN)) == ()


@pytest.mark.parametrize(
    "attributes", [{"PatientAge": ""}, {"PatientAge": "CHILD"}, {"StudyDate": "20200101"}]
)
def test_an_absent_age_says_nothing(attributes: dict[str, Any]) -> None:
    assert names_of(radiograph(**attributes)) == []


@pytest.mark.parametrize("number", range(len(SAID)))
def test_what_the_header_says(number: int) -> None:
    name, image = SAID[number]
    (check,) = checks_of(image)
    assert (check.name, check.verdict) == (name, CHECKS[name])


@pytest.mark.parametrize("name", ALTERED)
def test_what_the_content_says(name: str) -> None:
    wanted, make = ALTERED[name]
    found = {check.name: check.verdict for check in checks_of(radiograph(make()))}
    assert found.get(wanted) is CHECKS[wanted]
    # what is wrong with the picture is told by its own name, not as something that it is not
    if wanted in ("polarity", "orientation", "chest", "contrast"):
        assert set(found) <= {wanted, "exposure"}


def test_every_check_has_a_case() -> None:
    assert {name for name, reasons in said_by_the_gate().items() if reasons} == set(CHECKS)


@pytest.mark.parametrize("view", [View.LATERAL, View.OTHER])
def test_of_a_view_that_is_not_frontal_only_the_view_is_told(view: View) -> None:
    assert names_of(radiograph(np.rot90(-chest()), view=view)) == ["view"]


def test_what_a_border_leaves_is_not_told_to_be_turned_or_clipped() -> None:
    for turns in range(4):
        (first, *others) = names_of(radiograph(np.rot90(ALTERED["collimated"][1](), turns)))
        assert first == "collimation"
        assert others in ([], ["chest"])


def test_a_mirrored_chest_is_a_chest() -> None:
    assert names_of(radiograph(chest()[:, ::-1])) == []


@pytest.mark.parametrize("verdict", Verdict)
def test_a_check_leads_to_what_the_route_says(verdict: Verdict) -> None:
    image = radiograph(-chest())
    checks = failed_checks(image, square_of(image.pixels), {**CHECKS, "polarity": verdict})
    assert [check.verdict for check in checks] == ([] if verdict is Verdict.PASS else [verdict])


# ------------------------------------------------------------------------------------------------ properties


def test_no_encoding_changes_what_is_found() -> None:
    found = {
        name: [check.name for check in checks_of(radiograph_of(make()))] for name, make in LOSSLESS.items()
    }
    # the picture is smaller than the model's input
    assert set(map(tuple, found.values())) == {("size",)}


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_no_bit_depth_changes_the_likeness(bits: int, photometric: str) -> None:
    shown = np.rint((chest() + 1024) * 255 / 2048).astype(np.uint8)
    stored = deepened(shown if photometric == "MONOCHROME2" else 255 - shown, bits)
    pixels = radiograph_of(part10(data_set(stored, bits_stored=bits, photometric=photometric))).pixels
    first, second = _likeness(pixels), _likeness(chest())
    assert (first.turns, first.inverted) == (second.turns, second.inverted) == (0, False)
    assert first.unexplained == pytest.approx(second.unexplained, abs=2e-3)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.2, 1.0), st.floats(-1, 1), st.sampled_from(sorted(ALTERED)))
def test_no_window_changes_the_likeness(width: float, place: float, name: str) -> None:
    pixels = ALTERED[name][1]()
    windowed = (pixels * width + place * 1024 * (1 - width)).astype(np.float32)
    first, second = _likeness(pixels), _likeness(windowed)
    assert first.unexplained == pytest.approx(second.unexplained, abs=5e-3)
    if first.unexplained < frontal_model().limit:
        assert (first.turns, first.inverted) == (second.turns, second.inverted)


@settings(max_examples=40, deadline=None)
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 90), st.integers(1, 90)),
        elements=st.floats(-1024, 1024, width=32),
        fill=st.floats(-1024, 1024, width=32),
    ),
    st.sampled_from(View),
)
def test_every_image_is_judged(pixels: Pixels, view: View) -> None:
    checks = checks_of(radiograph(pixels, view=view))
    assert all(check.name in CHECKS for check in checks)
    assert all(np.isfinite([*clipped(pixels), field_share(pixels)]))
    assert 0 <= field_share(pixels) <= 1
    assert np.isfinite(thumbnail(square_of(pixels), 24)).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (2, 3), (257, 255)])
def test_every_size_is_judged(shape: tuple[int, int]) -> None:
    for value in (-1024, 0, 1024):
        assert "contrast" in names_of(radiograph(np.full(shape, value, np.float32)))
    checks_of(radiograph(np.linspace(-1024, 1024, shape[0] * shape[1], dtype=np.float32).reshape(shape)))


#: attributes that the checks of the header look at
ASKED = """
    PixelIntensityRelationship PresentationIntentType ConversionType BodyPartExamined SeriesDescription
    AnatomicRegionSequence PatientAge PatientBirthDate StudyDate PresentationLUTShape BurnedInAnnotation
    PhotometricInterpretation LargestImagePixelValue BitsStored
""".split()


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(ASKED), st.binary(max_size=12)))
def test_no_header_is_too_odd(values: dict[str, bytes]) -> None:
    raw: dict[BaseTag, DataElement | RawDataElement] = {}
    for keyword, value in values.items():
        tag = BaseTag(tag_for_keyword(keyword) or 0)
        vr = dictionary_VR(tag)[:2]
        raw[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)
    image = Radiograph(header=Dataset(raw), pixels=chest(), view=View.PA)
    assert all(check.name in CHECKS for check in checks_of(image))


def test_another_model_than_the_described_one_is_refused(tmp_path: Path) -> None:
    for name in ("frontal.json", "frontal.safetensors"):
        (tmp_path / name).write_bytes((files("mcads_node.gate") / name).read_bytes())
    assert read_model(tmp_path).limit == frontal_model().limit
    with (tmp_path / "frontal.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    with pytest.raises(ModelUnusable, match="expected SHA-256"):
        read_model(tmp_path)


# ------------------------------------------------------------------------------------------ real radiographs


def test_real_radiographs_pass_and_their_copies_do_not() -> None:
    pictures = sorted((data_dir() / "nih" / "images").glob("*.jpg"))
    plain = altered = 0
    for file in islice(pictures, 0, None, 20):
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("L"), np.float32) * np.float32(2048 / 255) - 1024
        plain += names_of(radiograph(pixels)) != []
        altered += names_of(radiograph(-pixels)) == [] or names_of(radiograph(np.rot90(pixels))) == []
    # docs/gate.md has the rates, measured on more
    assert plain <= 2
    assert altered <= 1


def test_real_radiographs_of_other_makes_and_parts() -> None:
    for file in sorted((data_dir() / "dicom").iterdir()):
        image = radiograph_of(file.read_bytes())
        # looked at: upright, lungs dark, bones bright
        assert names_of(image) == [], file.name
    for file in sorted((data_dir() / "dicom_negative").iterdir()):
        image = radiograph_of(file.read_bytes())
        content = Radiograph(header=Dataset(), pixels=image.pixels, view=View.UNKNOWN)
        assert Verdict.UNDETERMINED in {check.verdict for check in checks_of(content)}, file.name


def _likeness(pixels: Pixels) -> Likeness:
    return likeness_of(thumbnail(square_of(pixels), 24), frontal_model())
