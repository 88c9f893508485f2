"""What reports say of the anatomy: a measurement, on whose word, and never what it would mean."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from mcads_node.errors import ReportImpossible
from mcads_node.finding import Algorithm
from mcads_node.instance import Radiograph, View
from mcads_node.report import document, wording
from mcads_node.report.anatomy_segmentation import anatomy_segmentation, mask_of
from mcads_node.report.basic_text import basic_text_report
from mcads_node.report.capture import summary_capture
from mcads_node.report.identity import tracking_uid
from mcads_node.report.narrative import narrative
from mcads_node.report.segmentation import segmentation
from mcads_node.report.sr import measurement_report
from mcads_node.report.structure_codes import structure_code, structure_codes
from mcads_node.report.summary_page import summary_page
from mcads_node.report.translation import languages, translator
from mcads_node.result import ImageReading, ObjectKind, Rendition, ResultObject
from mcads_node.structure import AnatomyReading, Structures
from tests.anatomy_samples import CHEST, MEASURED, NAMES, OTHER, REFUSED, SEGMENTATION, masks, structures
from tests.model_samples import shipped_store
from tests.report_samples import ALGORITHM, CAUTION, CONTEXT, LABELS, full, reading

SEG = Rendition(kind=ObjectKind.SEG)
FEW = LABELS[:2]


def images(anatomy: AnatomyReading | None = MEASURED, view: View = View.PA) -> list[ImageReading]:
    """A frontal image with its anatomy, and a lateral one, which has none."""
    return [
        replace(reading(full(1), view=view, labels=FEW), anatomy=anatomy),
        reading(full(2), view=View.LATERAL, labels=FEW),
    ]


def opened(result: ResultObject | None) -> Dataset:
    assert result is not None
    return pydicom.dcmread(BytesIO(result.data))


def named(items: Any, name: str) -> list[Dataset]:
    return [item for item in items if item.ConceptNameCodeSequence[0].CodeMeaning == name]


def groups(report: Dataset) -> list[Dataset]:
    (measurements,) = named(report.ContentSequence, "Imaging Measurements")
    return [
        group
        for group in measurements.ContentSequence
        if named(group.ContentSequence, "Cardiothoracic ratio")
    ]


def comments(report: Dataset) -> list[str]:
    (evaluations,) = named(report.ContentSequence, "Qualitative Evaluations")
    return [item.TextValue for item in evaluations.ContentSequence]


# ------------------------------------------------------------ the report


def test_the_ratio_is_a_number_in_a_group_of_its_own() -> None:
    (group,) = groups(opened(measurement_report(images(), ALGORITHM, CONTEXT)))
    assert group.ContentTemplateSequence[0].TemplateIdentifier == "1501"
    items = group.ContentSequence
    (ratio,) = named(items, "Cardiothoracic ratio")
    assert ratio.ConceptNameCodeSequence[0].CodingSchemeDesignator == "99MCADS"
    (value,) = ratio.MeasuredValueSequence
    assert float(value.NumericValue) == 0.523
    assert value.MeasurementUnitsCodeSequence[0].CodeValue == "{ratio}"
    # by the model that segmented, and not by the one that classifies
    assert [item.TextValue for item in named(items, "Algorithm Name")] == [SEGMENTATION.name]
    parameters = [item.TextValue for item in named(items, "Algorithm Parameters")]
    assert parameters[0] == f"weights SHA-256: {SEGMENTATION.weights_digest}"
    (source,) = named(items, "Source of Measurement")
    assert source.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == full(1).SOPInstanceUID
    (uid,) = named(items, "Tracking Unique Identifier")
    assert tracking_uid(full(1).SOPInstanceUID, "cardiothoracic ratio", SEGMENTATION) == uid.UID


def test_a_ratio_that_is_not_there_has_reasons_and_no_number() -> None:
    report = opened(measurement_report(images(REFUSED), ALGORITHM, CONTEXT))
    assert groups(report) == []
    assert comments(report)[-1] == (
        "PA image 1: No cardiothoracic ratio: The mask of the heart is in pieces. "
        "The heart would be 93% as wide as the thorax, which cannot be."
    )


def test_a_report_without_anatomy_is_as_it_was() -> None:
    plain, measured = images(None), images()
    one = measurement_report(plain, ALGORITHM, CONTEXT)
    assert groups(opened(one)) == []
    assert len(comments(opened(one))) == 1
    assert one.sop_instance_uid != measurement_report(measured, ALGORITHM, CONTEXT).sop_instance_uid


@pytest.mark.parametrize("make", [measurement_report, summary_capture, basic_text_report])
def test_another_segmentation_model_makes_another_object(make: Any) -> None:
    uids = {
        make(images(anatomy), ALGORITHM, CONTEXT).sop_instance_uid
        for anatomy in (None, MEASURED, replace(MEASURED, algorithm=OTHER))
    }
    assert len(uids) == 3
    assert make(images(), ALGORITHM, CONTEXT).data == make(images(), ALGORITHM, CONTEXT).data


# ------------------------------------------------------------ the words


def test_the_words_say_whose_masks_and_that_nobody_verified_them() -> None:
    said = wording.anatomy_text(images()[0])
    assert said == "Cardiothoracic ratio 0.52 (from automatic masks of pspnet-chestx-det, not verified)"
    assert "the AP view magnifies the heart" in wording.anatomy_text(images(view=View.AP)[0])
    assert CAUTION in wording.anatomy_text(images(replace(MEASURED, algorithm=OTHER))[0])
    lithuanian = wording.anatomy_text(images()[0], translator("lt"))
    assert lithuanian.startswith("Širdies ir krūtinės ląstos indeksas 0,52")
    assert wording.anatomy_text(images()[1]) == ""


@pytest.mark.parametrize("anatomy", [MEASURED, REFUSED], ids=["measured", "refused"])
@pytest.mark.parametrize("language", languages())
def test_the_page_and_the_text_say_it_once(language: str, anatomy: AnatomyReading) -> None:
    tr = translator(language)
    said = wording.anatomy_text(images(anatomy)[0], tr)
    page = summary_page(images(anatomy), ALGORITHM, CONTEXT, tr)
    text = " ".join(written.text for written in page.written)
    assert text.count(f"PA: {said}") == 1
    draft = document.draft(
        images(anatomy), ALGORITHM, CONTEXT, Rendition(kind=ObjectKind.PDF, language=language)
    )
    assert [image.anatomy for image in narrative(draft).images] == [said, ""]
    for words in (text, said):
        assert "normal" not in words.replace(tr(wording.NOT_NORMAL), "").lower()


# ------------------------------------------------------------ the segments


def radiograph(rows: int = 90, columns: int = 70) -> Radiograph:
    return Radiograph(header=full(), pixels=np.zeros((rows, columns), np.float32), view=View.PA)


def segmented(found: Structures | None = None, reader: Algorithm = ALGORITHM) -> Dataset:
    return opened(anatomy_segmentation(radiograph(), found or structures(masks()), reader, CONTEXT, SEG))


@pytest.mark.parametrize(("rows", "columns"), [(90, 70), (70, 90), (64, 64)])
def test_every_frame_is_a_structure_in_the_pixels_of_the_source(rows: int, columns: int) -> None:
    found = structures(masks(), rows, columns)
    made = opened(anatomy_segmentation(radiograph(rows, columns), found, ALGORITHM, CONTEXT, SEG))
    assert [segment.SegmentLabel for segment in made.SegmentSequence] == [
        "AI: Left Lung",
        "AI: Right Lung",
        "AI: Heart",
    ]
    assert made.pixel_array.shape == (3, rows, columns)
    side, heart = min(rows, columns), made.pixel_array[2].astype(bool)
    assert np.array_equal(heart, mask_of(found, "Heart"))
    place = np.argwhere(heart).mean(axis=0) - ((rows - side) // 2, (columns - side) // 2)
    expected = np.array([CHEST["Heart"].row, CHEST["Heart"].column]) * side - 0.5
    assert np.allclose(place, expected, atol=0.6)
    assert heart.sum() == pytest.approx(np.pi / 4 * 0.3 * 0.4 * side**2, rel=0.05)


def test_a_segment_says_what_it_is_and_that_it_is_not_verified() -> None:
    drawn = {**masks(), "Weasand": CHEST["Heart"].drawn()}
    made = segmented(structures(drawn))
    left, trachea = made.SegmentSequence[0], made.SegmentSequence[-1]
    assert left.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "91723000"
    (lung,) = left.SegmentedPropertyTypeCodeSequence
    assert (lung.CodeValue, lung.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning) == (
        "39607008",
        "Left",
    )
    assert left.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == SEGMENTATION.name
    assert "not verified" in left.SegmentDescription
    assert "unverified mapping" in trachea.SegmentDescription
    assert made.ContentDescription == "Automatic mask, not verified"
    # the object is the segmentation model's
    assert made.ContributingEquipmentSequence[0].DeviceUID == SEGMENTATION.device_uid
    assert (made.SeriesNumber, made.SeriesDescription) == (9912, "MCADS AI anatomy (pspnet-chestx-det)")
    assert made.SegmentsOverlap == "YES"


def test_its_identity_follows_from_both_models_and_it_shares_no_series_with_areas() -> None:
    plain = segmented()
    others = [
        segmented(structures(masks(), algorithm=OTHER)),
        segmented(reader=replace(ALGORITHM, device_uid="2.25.8")),
    ]
    assert len({each.SOPInstanceUID for each in (plain, *others)}) == 3
    assert CAUTION in others[0].SegmentSequence[0].SegmentDescription
    assert segmented() == plain
    heatmaps: Any = []
    assert segmentation(radiograph(), heatmaps, ALGORITHM, CONTEXT, SEG) is None


def test_structures_of_another_image_or_without_a_code_are_refused() -> None:
    with pytest.raises(ReportImpossible, match="70 × 90"):
        anatomy_segmentation(radiograph(), structures(masks(), 70, 90), ALGORITHM, CONTEXT, SEG)
    unknown = structures({"Gallbladder": CHEST["Heart"].drawn()})
    with pytest.raises(ReportImpossible, match="no code for the structure 'Gallbladder'"):
        anatomy_segmentation(radiograph(), unknown, ALGORITHM, CONTEXT, SEG)
    empty = structures({name: np.zeros((8, 8), bool) for name in NAMES})
    assert anatomy_segmentation(radiograph(), empty, ALGORITHM, CONTEXT, SEG) is None


def test_every_structure_of_the_shipped_model_is_coded(tmp_path: Any) -> None:
    shipped = shipped_store(tmp_path).segmentation("pspnet-chestx-det").structures
    assert set(shipped) == set(structure_codes())
    sides = {structure_code(name).meaning: name for name in shipped}
    assert len(sides) == len(shipped)
    for name in shipped:
        side = structure_code(name).laterality
        assert (side.meaning if side else "") == (
            name.split()[0] if name.split()[0] in ("Left", "Right") else ""
        )
