from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from mcads_node.errors import ReportImpossible
from mcads_node.finding import Algorithm, Finding, Heatmap, Presence
from mcads_node.instance import Radiograph, View
from mcads_node.report.capture import heatmap_capture
from mcads_node.report.identity import tracking_uid
from mcads_node.report.presentation_state import presentation_state
from mcads_node.report.segmentation import segmentation
from mcads_node.report.sr import measurement_report
from mcads_node.resample import geometry_for, to_source
from mcads_node.result import ObjectKind, Rendition, ResultObject
from tests.referees import dcentvfy, dciodvfy
from tests.report_samples import ALGORITHM, CAUTION, CONTEXT, LABELS, as_received, bare, full, reading

DEMONSTRATION = replace(ALGORITHM, name="mcads-demo", caution=CAUTION)
SEG = Rendition(kind=ObjectKind.SEG)


def image(rows: int = 91, columns: int = 71, header: Dataset | None = None) -> Radiograph:
    return Radiograph(header=header or full(), pixels=np.zeros((rows, columns), np.float32), view=View.PA)


def heat(of: Radiograph, label: str = "Effusion", row: int = 3, column: int = 3) -> Heatmap:
    activation = np.zeros((7, 7), np.float32)
    activation[row, column] = 1
    rows, columns = of.pixels.shape
    return Heatmap(
        finding=Finding(label=label, score=0.71, threshold=0.5, presence=Presence.PRESENT),
        method="grad-cam",
        activation=activation,
        geometry=geometry_for(rows, columns, 224),
    )


def made(
    of: Radiograph, *heatmaps: Heatmap, algorithm: Algorithm = ALGORITHM, rendition: Rendition = SEG
) -> ResultObject:
    result = segmentation(of, heatmaps or [heat(of)], algorithm, CONTEXT, rendition)
    assert result is not None
    return result


def opened(result: ResultObject) -> Dataset:
    return pydicom.dcmread(BytesIO(result.data))


@pytest.mark.parametrize(("rows", "columns"), [(91, 71), (71, 91), (503, 301), (64, 64)])
def test_every_frame_is_the_area_of_its_finding(rows: int, columns: int) -> None:
    radiograph = image(rows, columns)
    heatmaps = [
        heat(radiograph, "Effusion", 5, 1),
        heat(radiograph, "Mass", 0, 6),
        heat(radiograph, "Nodule"),
    ]
    made_ = opened(made(radiograph, *heatmaps))
    frames = made_.pixel_array
    assert frames.shape == (3, rows, columns)
    labels = [segment.SegmentLabel for segment in made_.SegmentSequence]
    numbers = [
        frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        for frame in made_.PerFrameFunctionalGroupsSequence
    ]
    assert numbers == [1, 2, 3]
    for heatmap in heatmaps:
        frame = frames[labels.index(f"AI: {heatmap.finding.label}")].astype(bool)
        assert np.array_equal(frame, to_source(heatmap.activation, heatmap.geometry) >= 0.5)
        side = min(rows, columns)
        row, column = np.argwhere(heatmap.activation)[0]
        centre = (np.array([row, column]) + 0.5) * side / 7 + ((rows - side) // 2, (columns - side) // 2)
        if 0 < row < 6:
            assert np.allclose(np.argwhere(frame).mean(axis=0), centre - 0.5, atol=1)
    assert made_.SegmentsOverlap == "NO"


def test_areas_that_share_pixels_say_so() -> None:
    radiograph = image()
    assert opened(made(radiograph, heat(radiograph), heat(radiograph, "Mass"))).SegmentsOverlap == "YES"


def test_attributes() -> None:
    radiograph = image(header=full(3))
    result = made(radiograph, heat(radiograph, "Mass"), algorithm=DEMONSTRATION)
    made_ = opened(result)
    assert result.kind is ObjectKind.SEG
    assert (result.sop_class_uid, result.sop_instance_uid) == (made_.SOPClassUID, made_.SOPInstanceUID)
    assert (made_.Modality, made_.SeriesNumber, made_.InstanceNumber) == ("SEG", 9908, 3)
    assert list(made_.PatientOrientation) == ["L", "F"]
    measures = made_.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert [float(value) for value in measures.PixelSpacing] == [0.143, 0.143]
    (segment,) = made_.SegmentSequence
    assert segment.SegmentAlgorithmType == "AUTOMATIC"
    assert segment.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == DEMONSTRATION.name
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "4147007"
    assert segment.AnatomicRegionSequence[0].CodeMeaning == "Lung"
    # never a structure: the area is where the model looked
    assert segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "309825002"
    assert segment.TrackingUID == tracking_uid(full(3).SOPInstanceUID, "Mass", DEMONSTRATION)
    for said in (
        "Where the model looked (Grad-CAM), NOT the outline of a lesion",
        CAUTION,
        "0.71",
    ):
        assert said in segment.SegmentDescription
    assert segment.SegmentLabel == "DEMONSTRATION MODEL AI: Mass"
    assert made_.ContentDescription == "DEMONSTRATION MODEL Grad-CAM area, NOT a lesion outline"
    source = made_.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert source.ReferencedSOPInstanceUID == full(3).SOPInstanceUID
    assert str(made_.PatientName) == "Žukauskaitė^Rūta"
    assert made_.ContributingEquipmentSequence[0].DeviceUID == ALGORITHM.device_uid


@pytest.mark.parametrize(
    ("absent", "named"),
    [
        (("PatientOrientation",), [r"Patient Orientation \(0020,0020\)"]),
        (("PixelSpacing", "ImagerPixelSpacing"), [r"Pixel Spacing \(0028,0030\)", r"\(0018,1164\)"]),
        (
            ("PixelSpacing", "ImagerPixelSpacing", "PatientOrientation"),
            [r"Pixel Spacing \(0028,0030\)", r"Patient Orientation \(0020,0020\)"],
        ),
    ],
)
def test_without_spacing_and_orientation_there_is_none_and_the_reason(
    absent: tuple[str, ...], named: list[str]
) -> None:
    header = full()
    for keyword in absent:
        delattr(header, keyword)
    for name in named:
        with pytest.raises(ReportImpossible, match=name):
            made(image(header=header))


def test_an_empty_map_is_no_segment() -> None:
    radiograph = image()
    empty = replace(heat(radiograph, "Mass"), activation=np.zeros((7, 7), np.float32))
    assert segmentation(radiograph, [empty], ALGORITHM, CONTEXT, SEG) is None
    assert segmentation(radiograph, [], ALGORITHM, CONTEXT, SEG) is None
    assert len(opened(made(radiograph, empty, heat(radiograph))).SegmentSequence) == 1


def test_another_images_heatmap_and_a_label_without_a_code_are_refused() -> None:
    radiograph = image()
    with pytest.raises(ReportImpossible, match="71 × 91"):
        made(radiograph, heat(image(71, 91)))
    with pytest.raises(ReportImpossible, match="no code"):
        made(radiograph, heat(radiograph, "Granuloma"))


def test_equal_input_gives_equal_bytes_in_any_order() -> None:
    radiograph = image()
    one, other = heat(radiograph, "Mass", 1, 1), heat(radiograph, "Effusion", 5, 5)
    assert made(radiograph, one, other).data == made(radiograph, other, one).data
    assert made(radiograph, one).sop_instance_uid != made(radiograph, one, other).sop_instance_uid
    rendition = replace(SEG, series_number=12, series_description="AI areas")
    asked = made(radiograph, one, rendition=rendition)
    assert (opened(asked).SeriesNumber, opened(asked).SeriesDescription) == (12, "AI areas")
    assert asked.sop_instance_uid != made(radiograph, one).sop_instance_uid
    assert asked.variant == rendition.variant


# -------------------------------------------------------------------------------------------------- referees


def placed_bare() -> Dataset:
    header = bare(modality="CR")
    header.PatientOrientation, header.ImagerPixelSpacing = ["L", "F"], ["0.1", "0.2"]
    return header


def lossy_latin() -> Dataset:
    header = full()
    header.SpecificCharacterSet = "ISO_IR 100"
    header.PatientName, header.StudyDescription = "Müller^Jörg", "Übersicht"
    header.LossyImageCompression, header.LossyImageCompressionRatio = "01", "10"
    header.LossyImageCompressionMethod = "ISO_10918_1"
    header.FrameOfReferenceUID = "1.2.3.4"
    del header.TimezoneOffsetFromUTC, header.ImagerPixelSpacing
    return as_received(header)


@pytest.mark.parametrize("source", [placed_bare, full, lossy_latin])
@pytest.mark.parametrize("algorithm", [ALGORITHM, DEMONSTRATION], ids=["without caution", "with caution"])
def test_dciodvfy_and_dcentvfy_accept_it(source: Callable[[], Dataset], algorithm: Algorithm) -> None:
    radiograph = image(header=source())
    heatmaps = [heat(radiograph, label) for label in LABELS]
    result = made(radiograph, *heatmaps, algorithm=algorithm)
    verdicts = dciodvfy(result.data)
    assert verdicts.errors == ()
    assert verdicts.warnings == ()
    state = presentation_state(radiograph, heatmaps, algorithm, CONTEXT, Rendition(kind=ObjectKind.GSPS))
    assert state is not None
    others = [
        state,
        heatmap_capture(radiograph, heatmaps[0], algorithm, CONTEXT),
        measurement_report([reading(source())], algorithm, CONTEXT),
    ]
    assert dcentvfy([result.data, *(other.data for other in others)]).errors == ()
