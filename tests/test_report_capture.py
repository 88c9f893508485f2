from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import JPEGBaseline8Bit

from mcads_node.errors import ReportImpossible
from mcads_node.finding import Algorithm, Finding, Heatmap, Presence, presence_of
from mcads_node.instance import InputCheck, ModelGeometry, Radiograph, View
from mcads_node.phantom import radiograph as phantom
from mcads_node.report import wording
from mcads_node.report.caption import caption as draw_caption
from mcads_node.report.capture import HEATMAP, SUMMARY, heatmap_capture, summary_capture, thumbnail
from mcads_node.report.drawing import LOWEST_SHOWN, OUTLINE, grey_levels
from mcads_node.report.evidence import referable_header
from mcads_node.report.making import Making, result_object
from mcads_node.report.overlay import captioned_heatmap
from mcads_node.report.sc import secondary_capture
from mcads_node.report.summary_page import summary_page
from mcads_node.result import ImageReading, ObjectKind, Rendition, ResultObject
from tests.referees import dcentvfy, dciodvfy
from tests.report_samples import (
    ALGORITHM,
    CAUTION,
    CONTEXT,
    DOUBTFUL,
    LABELS,
    UNFIT,
    as_received,
    bare,
    full,
)

DEMONSTRATION = replace(ALGORITHM, name="mcads-demo", caution=CAUTION)
HEATMAP_UID = ("1.2.840.10008.5.1.4.1.1.7", "2.25.7", "2.25.6")


def finding(label: str = "Effusion", score: float = 0.71, presence: Presence = Presence.PRESENT) -> Finding:
    return Finding(label=label, score=score, threshold=0.5, presence=presence)


def image(
    rows: int = 90,
    columns: int = 70,
    header: Dataset | None = None,
    view: View = View.PA,
    checks: tuple[InputCheck, ...] = (),
) -> Radiograph:
    noise = np.random.default_rng(rows).uniform(-1024, 1024, (rows, columns)).astype(np.float32)
    return Radiograph(header=header or full(), pixels=noise, view=view, checks=checks)


def geometry(rows: int, columns: int) -> ModelGeometry:
    side = min(rows, columns)
    top, left = (rows - side) // 2, (columns - side) // 2
    return ModelGeometry(rows=rows, columns=columns, top=top, left=left, side=side, size=224)


def heat(
    of: Radiograph, row: int = 3, column: int = 3, what: Finding | None = None, *, positive: bool = True
) -> Heatmap:
    activation = np.zeros((7, 7), np.float32)
    activation[row, column] = 1
    return Heatmap(
        finding=what or finding(),
        method="grad-cam",
        activation=activation,
        geometry=geometry(*of.pixels.shape),
        positive=positive,
    )


def read(
    header: Dataset | None = None,
    view: View = View.PA,
    present: tuple[str, ...] = (),
    checks: tuple[InputCheck, ...] = (),
    size: tuple[int, int] = (90, 70),
) -> ImageReading:
    scores = {label: 0.01 * (place + 1) for place, label in enumerate(LABELS)}
    scores |= {label: 0.6 + 0.01 * place for place, label in enumerate(present)}
    findings = tuple(
        Finding(label=label, score=score, threshold=0.5, presence=presence_of(score, 0.5, checks))
        for label, score in scores.items()
    )
    picture = image(*size, header=header)
    return ImageReading(
        header=picture.header,
        view=view,
        findings=findings,
        checks=checks,
        thumbnail=thumbnail(picture, heat(picture) if present else None),
        shown=finding().label if present else None,
        heatmaps=(HEATMAP_UID,) if present else (),
    )


def opened(result: ResultObject) -> Dataset:
    return pydicom.dcmread(BytesIO(result.data))


def page_texts(*readings: ImageReading, algorithm: Algorithm = ALGORITHM) -> list[str]:
    return summary_page(readings, algorithm, CONTEXT).texts


# ------------------------------------------------------------------------------------------- heatmap: pixels


@pytest.mark.parametrize(("rows", "columns"), [(700, 560), (560, 700), (600, 600), (503, 901)])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (1, 5), (3, 3), (6, 2)])
def test_a_hot_cell_lies_where_the_model_saw_it(rows: int, columns: int, row: int, column: int) -> None:
    radiograph = image(rows, columns)
    picture = opened(
        heatmap_capture(radiograph, heat(radiograph, row, column), ALGORITHM, CONTEXT)
    ).pixel_array
    part = picture[:rows, :columns]
    grey = grey_levels(radiograph.pixels)
    changed = np.any(part != grey[..., None], axis=2)
    # the cell's centre, by hand: the crop's corner and whole cells of a seventh of its side
    side = min(rows, columns)
    centre_row = (rows - side) // 2 + (row + 0.5) * side / 7
    centre_column = (columns - side) // 2 + (column + 0.5) * side / 7
    assert changed[round(centre_row), round(centre_column)]
    cell = side / 7
    for place in np.argwhere(changed):
        assert abs(place[0] - centre_row) <= cell
        assert abs(place[1] - centre_column) <= cell
    if row in (1, 3) and column in (3, 5):
        middle = np.argwhere(changed).mean(axis=0)
        assert np.allclose(middle, (centre_row - 0.5, centre_column - 0.5), atol=1)


def test_nothing_is_drawn_where_activation_is_low_or_the_model_did_not_look() -> None:
    radiograph = image(120, 80)
    cool = replace(heat(radiograph), activation=np.full((7, 7), LOWEST_SHOWN - 0.01, np.float32))
    grey = grey_levels(radiograph.pixels)[..., None]
    picture = opened(heatmap_capture(radiograph, cool, ALGORITHM, CONTEXT)).pixel_array
    assert np.all(picture[:120, :80] == grey)
    hot = replace(cool, activation=np.ones((7, 7), np.float32))
    picture = opened(heatmap_capture(radiograph, hot, ALGORITHM, CONTEXT)).pixel_array[:120, :80]
    assert np.all(picture[:20] == grey[:20])
    assert np.all(picture[100:] == grey[100:])
    assert np.all(np.any(picture[20:100] != grey[20:100], axis=2))


def test_the_caption_lies_below_and_a_narrow_image_is_not_covered() -> None:
    radiograph = image(90, 70)
    capture = opened(heatmap_capture(radiograph, heat(radiograph), ALGORITHM, CONTEXT))
    assert capture.Columns == 480
    assert capture.Rows > 90
    assert np.all(capture.pixel_array[:90, 70:] == 0)


@pytest.mark.parametrize(
    ("rendition", "shape", "preserved"),
    [(HEATMAP, (1250, 1024), "NO"), (replace(HEATMAP, max_side=None), (2500, 2048), "YES")],
)
def test_a_large_source_is_scaled_down_unless_all_of_it_is_wanted(
    rendition: Rendition, shape: tuple[int, int], preserved: str
) -> None:
    source = phantom(View.PA)
    matrix = np.frombuffer(source.PixelData, "<u2").reshape(source.Rows, source.Columns)
    del source.PixelData
    pixels = (matrix * np.float32(2048 / 4095) - 1024).astype(np.float32)
    radiograph = Radiograph(header=source, pixels=pixels, view=View.PA)
    capture = opened(heatmap_capture(radiograph, heat(radiograph), ALGORITHM, CONTEXT, rendition))
    assert capture.Columns == shape[1]
    assert shape[0] < capture.Rows < 1.2 * shape[0], "a caption below"
    assert capture.SourceImageSequence[0].SpatialLocationsPreserved == preserved


def test_max_side_makes_it_smaller_and_says_so() -> None:
    header = full()
    header.PixelSpacing, header.ImagerPixelSpacing = ["0.1", "0.2"], ["0.15", "0.15"]
    radiograph = image(1200, 900, header)
    small = opened(
        heatmap_capture(
            radiograph, heat(radiograph, 2, 4), ALGORITHM, CONTEXT, replace(HEATMAP, max_side=600)
        )
    )
    whole = opened(heatmap_capture(radiograph, heat(radiograph, 2, 4), ALGORITHM, CONTEXT))
    assert small.Columns == 480, "450 and black columns"
    assert [float(v) for v in small.PixelSpacing] == pytest.approx([0.2, 0.4])
    assert small.SourceImageSequence[0].SpatialLocationsPreserved == "NO"
    assert whole.SourceImageSequence[0].SpatialLocationsPreserved == "YES"
    assert [float(v) for v in whole.PixelSpacing] == [0.1, 0.2]
    assert small.SOPInstanceUID != whole.SOPInstanceUID
    coloured = np.argwhere(np.ptp(small.pixel_array[:600, :450].astype(int), axis=2) > 30).mean(axis=0)
    assert np.allclose(coloured, ((150 + 2.5 * 900 / 7) / 2, 4.5 * 900 / 7 / 2), atol=3)


def test_the_heatmap_of_another_image_is_refused() -> None:
    with pytest.raises(ReportImpossible, match="90 × 70"):
        heatmap_capture(image(70, 90), heat(image(90, 70)), ALGORITHM, CONTEXT)


# ------------------------------------------------------------------------------------------- heatmap: words


def caption(radiograph: Radiograph, heatmap: Heatmap, algorithm: Algorithm = ALGORITHM) -> str:
    return "\n".join(captioned_heatmap(radiograph, heatmap, algorithm, HEATMAP).texts)


def test_caption() -> None:
    header = full()
    header.SeriesNumber, header.InstanceNumber = 4, 2
    radiograph = image(90, 70, header, checks=(DOUBTFUL,))
    text = caption(radiograph, heat(radiograph, what=finding("Pleural_Thickening")))
    for said in (
        "Pleural thickening",
        "score 0.71 (threshold 0.50), uncalibrated",
        wording.UNVERIFIED,
        "Grad-CAM · densenet121-res224-all 0.1.0+1",
        "Source: series 4, image 2 · The model saw only rows 11–80 of 90",
        f"Input: {DOUBTFUL.reason}",
        "Relative activation",
    ):
        assert said in text
    assert "probab" not in text
    assert "Žukauskaitė" not in text
    assert "4711" not in text
    assert "DEMONSTRATION" not in text
    assert wording.ON_REQUEST not in text


def test_caption_says_what_is_not_fit_to_be_believed() -> None:
    radiograph = image()
    assert CAUTION in caption(radiograph, heat(radiograph), DEMONSTRATION)
    asked = heat(radiograph, what=finding(score=0.2, presence=Presence.ABSENT), positive=False)
    assert "Effusion — not positive: shown on request" in caption(radiograph, asked)
    open_question = heat(radiograph, what=finding(presence=Presence.UNDETERMINED), positive=False)
    assert "Effusion — undetermined: shown on request" in caption(radiograph, open_question)


@pytest.mark.parametrize(
    ("label", "human"),
    [
        ("Pleural_Thickening", "Pleural thickening"),
        ("Lung Opacity", "Lung opacity"),
        ("Enlarged Cardiomediastinum", "Enlarged cardiomediastinum"),
        ("Mass", "Mass"),
        ("COVID pneumonia", "COVID pneumonia"),
    ],
)
def test_human_label(label: str, human: str) -> None:
    assert wording.human_label(label) == human


# --------------------------------------------------------------------------------------- heatmap: attributes


def test_heatmap_attributes() -> None:
    header = full(instance=3)
    header.SeriesNumber = 2
    radiograph = image(header=header)
    result = heatmap_capture(radiograph, heat(radiograph), ALGORITHM, CONTEXT)
    capture = opened(result)
    assert result.kind is ObjectKind.HEATMAP
    assert (result.sop_class_uid, result.sop_instance_uid) == (capture.SOPClassUID, capture.SOPInstanceUID)
    assert result.series_instance_uid == capture.SeriesInstanceUID
    assert result.transfer_syntax_uid == capture.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert list(capture.ImageType) == ["DERIVED", "SECONDARY", "OTHER"]
    assert (capture.ConversionType, capture.Modality, capture.BodyPartExamined) == ("WSD", "OT", "CHEST")
    assert (capture.PhotometricInterpretation, capture.BitsStored) == ("RGB", 8)
    assert capture.DerivationCodeSequence[0].CodeValue == "130403"
    reference = capture.SourceImageSequence[0]
    assert reference.ReferencedSOPInstanceUID == header.SOPInstanceUID
    assert reference.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    assert capture.ReferencedSeriesSequence[0].SeriesInstanceUID == header.SeriesInstanceUID
    assert str(capture.PatientName) == "Žukauskaitė^Rūta"
    assert capture.StudyInstanceUID == header.StudyInstanceUID
    assert capture.BurnedInAnnotation == "NO"
    assert list(capture.PatientOrientation) == ["L", "F"]
    assert capture.InstanceNumber == 300 + LABELS.index("Effusion") + 1
    # in the source's zone, +0300
    assert (capture.SeriesDate, capture.SeriesTime) == ("20240507", "005801")
    assert (capture.ContentDate, capture.ContentTime) == ("20240507", "010304")
    assert capture.ContributingEquipmentSequence[0].DeviceUID == ALGORITHM.device_uid
    assert "score 0.71 (threshold 0.50), uncalibrated" in capture.DerivationDescription


def test_instance_number_stays_an_integer_string() -> None:
    header = full()
    header.InstanceNumber = 2**31 - 1
    radiograph = image(header=header)
    number = opened(heatmap_capture(radiograph, heat(radiograph), ALGORITHM, CONTEXT)).InstanceNumber
    assert 0 < number < 2**31


def test_spacing_only_of_a_calibrated_source() -> None:
    def spacing(change: Callable[[Dataset], None]) -> list[float] | None:
        header = full()
        change(header)
        radiograph = image(header=header)
        capture = opened(heatmap_capture(radiograph, heat(radiograph), ALGORITHM, CONTEXT))
        found = capture.get("PixelSpacing")
        return None if found is None else [float(value) for value in found]

    def as_the_detector(header: Dataset) -> None:
        header.PixelSpacing = header.ImagerPixelSpacing

    def calibrated(header: Dataset) -> None:
        header.PixelSpacingCalibrationType = "FIDUCIAL"

    def other_than_detector(header: Dataset) -> None:
        header.PixelSpacing = ["0.12", "0.12"]

    def detector_only(header: Dataset) -> None:
        del header.PixelSpacing

    assert spacing(as_the_detector) is None
    assert spacing(calibrated) == [0.143, 0.143]
    assert spacing(other_than_detector) == [0.12, 0.12]
    assert spacing(detector_only) is None


def test_what_is_inherited() -> None:
    header = full()
    header.BurnedInAnnotation = "YES"
    header.LossyImageCompression = "01"
    header.LossyImageCompressionRatio = "12.5"
    header.LossyImageCompressionMethod = "ISO_15444_1"
    del header.PatientOrientation
    radiograph = image(header=header)
    capture = opened(heatmap_capture(radiograph, heat(radiograph), ALGORITHM, CONTEXT))
    assert capture.BurnedInAnnotation == "YES"
    assert (capture.LossyImageCompression, float(capture.LossyImageCompressionRatio)) == ("01", 12.5)
    assert capture.LossyImageCompressionMethod == "ISO_15444_1"
    assert "PatientOrientation" in capture
    assert not capture.PatientOrientation


def test_a_lossy_transfer_syntax_counts_where_the_header_is_silent() -> None:
    header = full()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    radiograph = image(header=header)
    assert (
        opened(heatmap_capture(radiograph, heat(radiograph), ALGORITHM, CONTEXT)).LossyImageCompression
        == "01"
    )
    plain = image()
    assert opened(heatmap_capture(plain, heat(plain), ALGORITHM, CONTEXT)).LossyImageCompression == "00"


def test_same_inputs_give_same_bytes() -> None:
    radiograph = image()
    heatmap = heat(radiograph)
    first = heatmap_capture(radiograph, heatmap, ALGORITHM, CONTEXT)
    assert heatmap_capture(image(), heat(radiograph), ALGORITHM, CONTEXT).data == first.data
    readings = (read(full(1), present=("Mass",)), read(full(2), View.LATERAL))
    page = summary_capture(readings, ALGORITHM, CONTEXT)
    assert summary_capture(readings[::-1], ALGORITHM, CONTEXT).data == page.data


def test_another_result_has_another_uid() -> None:
    radiograph = image()
    variants = [
        heatmap_capture(radiograph, heatmap, algorithm, CONTEXT).sop_instance_uid
        for heatmap, algorithm in (
            (heat(radiograph), ALGORITHM),
            (heat(radiograph, what=finding("Mass")), ALGORITHM),
            (heat(radiograph, positive=False), ALGORITHM),
            (heat(radiograph, what=replace(finding(), threshold=0.4)), ALGORITHM),
            (heat(radiograph), DEMONSTRATION),
        )
    ]
    assert len(set(variants)) == len(variants)
    revised = replace(CONTEXT, revision=2, predecessor=("1.2", "2.25.5", "2.25.6"))
    assert heatmap_capture(radiograph, heat(radiograph), ALGORITHM, revised).sop_instance_uid == variants[0]


@pytest.mark.parametrize(
    "keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"]
)
def test_a_source_without_uid_is_refused_by_tag(keyword: str) -> None:
    header = full()
    delattr(header, keyword)
    radiograph = image(header=header)
    with pytest.raises(ReportImpossible, match=r"UID \(00"):
        heatmap_capture(radiograph, heat(radiograph), ALGORITHM, CONTEXT)
    with pytest.raises(ReportImpossible, match=r"UID \(00"):
        summary_capture([read(header)], ALGORITHM, CONTEXT)


# ------------------------------------------------------------------------------------------------ renditions

RLE = "1.2.840.10008.1.2.5"
RENDITIONS: dict[str, dict[str, Any]] = {
    "rle": {"transfer_syntax_uid": RLE},
    "lithuanian": {"language": "lt"},
    "own series": {"modality": "DX", "series_number": 77, "series_description": "DI radiniai"},
    "all": {"transfer_syntax_uid": RLE, "language": "lt", "modality": "CR", "series_number": 3},
}


@pytest.mark.parametrize("name", RENDITIONS)
def test_a_rendition_is_another_object_of_another_series(name: str) -> None:
    radiograph = image()
    heatmap = heat(radiograph)
    readings = [read(full(1), present=("Mass",))]
    pairs = (
        (
            heatmap_capture(radiograph, heatmap, ALGORITHM, CONTEXT),
            heatmap_capture(radiograph, heatmap, ALGORITHM, CONTEXT, replace(HEATMAP, **RENDITIONS[name])),
        ),
        (
            summary_capture(readings, ALGORITHM, CONTEXT),
            summary_capture(readings, ALGORITHM, CONTEXT, replace(SUMMARY, **RENDITIONS[name])),
        ),
    )
    for usual, other in pairs:
        assert usual.variant == ""
        assert other.variant == replace(Rendition(kind=other.kind), **RENDITIONS[name]).variant
        assert other.sop_instance_uid != usual.sop_instance_uid
        assert other.series_instance_uid != usual.series_instance_uid
        plain, capture = opened(usual), opened(other)
        wanted = replace(Rendition(kind=other.kind), **RENDITIONS[name])
        assert capture.Modality == wanted.modality
        assert capture.SeriesNumber == (wanted.series_number or plain.SeriesNumber)
        assert capture.SeriesDescription == (wanted.series_description or plain.SeriesDescription)
        assert capture.file_meta.TransferSyntaxUID == other.transfer_syntax_uid == wanted.transfer_syntax_uid
        assert capture.file_meta.MediaStorageSOPInstanceUID == other.sop_instance_uid
        assert np.array_equal(capture.pixel_array, plain.pixel_array) == (wanted.language == "en")
        assert ("nepatvirtintas" in capture.ImageComments) == (wanted.language == "lt")
        assert ("nepatvirtintas" in capture.DerivationDescription) == (wanted.language == "lt")


def test_rle_is_the_same_bytes_each_time_and_smaller() -> None:
    radiograph = image(400, 300)
    rle = replace(HEATMAP, transfer_syntax_uid=RLE)
    first, second = (
        heatmap_capture(radiograph, heat(radiograph), ALGORITHM, CONTEXT, rle).data for _ in range(2)
    )
    assert first == second
    readings = [read()]
    page = summary_capture(readings, ALGORITHM, CONTEXT, replace(SUMMARY, transfer_syntax_uid=RLE))
    assert len(page.data) < len(summary_capture(readings, ALGORITHM, CONTEXT).data) / 2


def test_rle_of_an_odd_number_of_bytes() -> None:
    """What is padded to an even length ends gdcm, and with it the process."""
    rle = replace(SUMMARY, transfer_syntax_uid=RLE)
    making = Making(rendition=rle, sop_instance_uid="1.2.3", algorithm=ALGORITHM, context=CONTEXT)
    pixels = (np.arange(21 * 17 * 3) % 251).astype(np.uint8).reshape(21, 17, 3)
    made = result_object(secondary_capture([full()], pixels, making), rle)
    assert np.array_equal(pydicom.dcmread(BytesIO(made.data)).pixel_array, pixels)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"language": "xx"}, r"expected one of en, lt, found xx"),
        ({"language": "../lt"}, "found no language"),
        ({"style": "dotted"}, "expected one of filled, contour"),
        ({"transfer_syntax_uid": JPEGBaseline8Bit}, "JPEG Baseline.*RLE Lossless"),
    ],
)
def test_a_rendition_that_there_is_not_is_refused(change: dict[str, Any], said: str) -> None:
    radiograph = image()
    with pytest.raises(ReportImpossible, match=said):
        heatmap_capture(radiograph, heat(radiograph), ALGORITHM, CONTEXT, replace(HEATMAP, **change))
    if "style" not in change:
        with pytest.raises(ReportImpossible, match=said):
            summary_capture([read()], ALGORITHM, CONTEXT, replace(SUMMARY, **change))


@pytest.mark.parametrize(("rows", "columns"), [(700, 560), (560, 700)])
@pytest.mark.parametrize("max_side", [None, 350])
def test_an_outline_runs_round_the_hot_cell(rows: int, columns: int, max_side: int | None) -> None:
    radiograph = image(rows, columns)
    rendition = replace(HEATMAP, style="contour", max_side=max_side)
    drawn = captioned_heatmap(radiograph, heat(radiograph, 2, 4), ALGORITHM, rendition)
    height, width = drawn.shape
    part = drawn.pixels[:height, :width]
    lines = np.all(part == OUTLINE, axis=2)
    coloured = np.ptp(part.astype(int), axis=2) > 0
    assert np.array_equal(coloured, lines), "nothing is filled"
    # bilinear between the centres of cells: along an axis, half is reached half a cell away
    factor = height / rows
    cell = 560 / 7 * factor
    row = ((rows - 560) / 2 + 2.5 * 80) * factor - 0.5
    column = ((columns - 560) / 2 + 4.5 * 80) * factor - 0.5
    places = np.argwhere(lines)
    assert np.allclose(places.mean(axis=0), (row, column), atol=1)
    assert np.allclose(places.min(axis=0), (row - cell / 2, column - cell / 2), atol=3)
    assert np.allclose(places.max(axis=0), (row + cell / 2, column + cell / 2), atol=3)
    assert "Outline: half of the highest activation, or more, lies within" in drawn.texts
    assert "Relative activation" not in drawn.texts


@pytest.mark.parametrize("style", ["filled", "contour"])
def test_an_empty_map_is_said_to_be_empty(style: str) -> None:
    radiograph = image()
    empty = replace(heat(radiograph), activation=np.zeros((7, 7), np.float32))
    drawn = captioned_heatmap(radiograph, empty, ALGORITHM, replace(HEATMAP, style=style))
    assert np.all(drawn.pixels[:90, :70] == grey_levels(radiograph.pixels)[..., None])
    assert wording.EMPTY_MAP in drawn.texts
    assert wording.EMPTY_MAP not in caption(radiograph, heat(radiograph)).split("\n")


@pytest.mark.parametrize(
    ("rows", "columns"), [(40, 30), (2500, 2048), (3000, 300), (300, 3000), (4280, 3520)]
)
@pytest.mark.parametrize("language", ["en", "lt"])
def test_a_caption_can_be_read_whatever_the_matrix(rows: int, columns: int, language: str) -> None:
    radiograph = Radiograph(header=full(), pixels=np.zeros((rows, columns), np.float32), view=View.PA)
    heatmap = heat(radiograph, what=finding("Enlarged Cardiomediastinum"))
    strip = draw_caption(
        radiograph, heatmap, DEMONSTRATION, replace(HEATMAP, language=language), (rows, columns)
    )
    # on a screen that fits the capture into 1000 × 1000, and never below what the font needs
    shown = min(1.0, 1000 / max(strip.width, rows + strip.height))
    assert min(written.size for written in strip.written) * shown >= 9.5
    assert min(written.size for written in strip.written) >= 14
    assert max(written.corners[2] for written in strip.written) <= strip.width
    assert strip.height < max(0.45 * rows, 0.3 * columns, 420)


# -------------------------------------------------------------------------------------------------- referees


def odd(instance: int = 1) -> Dataset:
    header = full(instance)
    header.SpecificCharacterSet = "ISO_IR 100"
    header.PatientName = "Müller^Jörg"
    header.StudyDescription = "Thorax in zwei Ebenen, Übersicht"
    header.LossyImageCompression = "01"
    header.LossyImageCompressionRatio = "10"
    header.PixelSpacing = ["0.12", "0.12"]
    del header.TimezoneOffsetFromUTC
    return as_received(header)


@pytest.mark.parametrize("source", [bare, full, odd])
@pytest.mark.parametrize("algorithm", [ALGORITHM, DEMONSTRATION], ids=["without caution", "with caution"])
def test_dciodvfy_accepts_every_capture(source: Callable[[int], Dataset], algorithm: Algorithm) -> None:
    radiograph = image(header=source(1))
    heatmaps = [
        heatmap_capture(radiograph, heat(radiograph), algorithm, CONTEXT, replace(HEATMAP, **change))
        for change in (*RENDITIONS.values(), {}, {"max_side": 64}, {"style": "contour"})
    ]
    heatmaps.append(heatmap_capture(radiograph, heat(radiograph, what=finding("Mass")), algorithm, CONTEXT))
    readings = (read(source(1), present=("Effusion", "Mass")), read(source(2), View.LATERAL))
    pages = [
        summary_capture(readings, algorithm, CONTEXT, replace(SUMMARY, **change))
        for change in (*RENDITIONS.values(), {})
    ]
    for result in (*heatmaps, *pages):
        assert dciodvfy(result.data).errors == ()
    assert dcentvfy([result.data for result in (*heatmaps, *pages)]).errors == ()


# -------------------------------------------------------------------------------------------- summary: words


@pytest.mark.parametrize("images", [1, 2, 3, 5])
def test_the_page_names_every_label(images: int) -> None:
    texts = page_texts(*(read(full(number), present=("Mass",)) for number in range(images)))
    for label in LABELS:
        assert texts[texts.index("Finding") :].count(wording.human_label(label)) == 1
    assert wording.UNVERIFIED in texts
    assert len(LABELS) == 18


def test_findings_are_sorted_by_urgency_then_absent_ones_by_score() -> None:
    # of rising scores, by `read`
    present = ("Hernia", "Mass", "Nodule", "Pneumothorax", "Cardiomegaly")
    texts = page_texts(read(full(1), present=present[:4]), read(full(2), View.LATERAL, present=present[4:]))
    human = {wording.human_label(label) for label in LABELS}
    urgent = ["Pneumothorax", "Nodule", "Mass", "Cardiomegaly", "Hernia"]
    # LABELS[-1] has the highest score of the absent ones
    absent = [wording.human_label(label) for label in LABELS[::-1] if label not in present]
    table = texts.index("Finding")
    assert [text for text in texts[table:] if text in human] == [*urgent, *absent]
    assert [text for text in texts[:table] if text in human] == urgent[:3]
    assert "and 2 more, in the table" in texts


def test_a_named_finding_has_its_highest_score_and_all_its_images() -> None:
    texts = page_texts(
        read(full(1), present=("Mass",)), read(full(2), View.LATERAL, present=("Hernia", "Mass"))
    )
    named = texts.index("Mass")
    assert texts[named + 1 : named + 4] == ["0.61", "PA, LATERAL", "score; threshold 0.50"]


def test_undetermined_ones_are_sorted_by_score_whatever_their_urgency() -> None:
    texts = page_texts(read(present=("Hernia", "Pneumothorax", "Mass"), checks=(UNFIT,)))
    table = texts[texts.index("Finding") :]
    assert table.index("Mass") < table.index("Pneumothorax") < table.index("Hernia")
    assert "Mass" not in texts[: texts.index("Finding")]


@pytest.mark.parametrize(
    ("present", "checks", "expected"),
    [
        (("Mass", "Hernia"), (), "2 findings above threshold"),
        (("Mass",), (DOUBTFUL,), "1 finding above threshold"),
        ((), (), "No finding above threshold"),
        (("Mass",), (UNFIT,), "Undetermined"),
    ],
)
def test_headline(present: tuple[str, ...], checks: tuple[InputCheck, ...], expected: str) -> None:
    texts = page_texts(read(present=present, checks=checks))
    assert texts[2] == expected
    assert (wording.NOT_NORMAL in texts) == (expected == "No finding above threshold")
    assert (wording.NOTHING_CLAIMED in texts) == (checks == (UNFIT,))
    assert any("undetermined" in text for text in texts[1:]) == (checks == (UNFIT,))


def test_a_label_that_only_one_image_has_is_shown_all_the_same() -> None:
    short = read(full(2), View.LATERAL)
    short = replace(short, findings=short.findings[:5])
    extra = replace(short, findings=(*short.findings, finding("Granuloma")))
    texts = page_texts(read(full(1)), extra)
    assert "Granuloma" in texts
    assert {wording.human_label(label) for label in LABELS} <= set(texts)
    assert set(page_texts(short)) >= {wording.human_label(label) for label in LABELS}


def test_a_finding_on_two_images_is_one_finding() -> None:
    assert page_texts(read(full(1), present=("Mass",)), read(full(2), present=("Mass",)))[2].endswith(
        "1 finding above threshold"
    )


def test_warnings_caution_unread_and_revision_are_on_the_page() -> None:
    context = replace(
        CONTEXT, revision=2, predecessor=("1.2", "2.25.77", "2.25.78"), unread=("One image is multi-frame.",)
    )
    readings = (read(full(1), checks=(DOUBTFUL,)), read(full(2), View.LATERAL, checks=(UNFIT,)))
    texts = summary_page(readings, DEMONSTRATION, context).texts
    warned = texts.index(f"LATERAL: {UNFIT.reason}")
    assert texts[warned - 1] == "Undetermined"
    assert texts.index(f"PA: {DOUBTFUL.reason}") > warned, "the worse one comes first"
    assert texts[texts.index("One image is multi-frame.") - 1] == "Not read"
    assert CAUTION in texts
    assert "Revised report 2, replaces report 2.25.77" in texts
    first_score = next(place for place, text in enumerate(texts) if "below" in text)
    assert warned < first_score


def test_the_thumbnail_says_which_finding_is_drawn_in_it_whatever_was_stored() -> None:
    asked = replace(read(full(1)), shown="Pneumothorax", heatmaps=())
    texts = page_texts(asked)
    assert any("heatmap: Pneumothorax" in text and wording.ON_REQUEST in text for text in texts)
    assert "Heatmap: relative activation; lower: not drawn" in texts
    assert any(
        "no heatmap" in text for text in page_texts(replace(asked, shown=None, heatmaps=(HEATMAP_UID,)))
    )


def test_a_large_study_still_has_one_page_that_can_be_read() -> None:
    context = replace(CONTEXT, unread=("One image is multi-frame.",) * 3000)
    readings = [read(full(number), checks=(DOUBTFUL,)) for number in range(1, 41)]
    readings.append(read(full(41), View.LATERAL, present=("Mass",)))
    page = summary_page(readings, ALGORITHM, context)
    assert "and 29 more, in the report" in page.texts
    assert "and 29 more images" in page.texts
    assert "LATERAL" in page.texts, "an image with a finding is shown before others"
    assert page.pixels().shape[0] < 3000
    few = summary_page(readings[:2], ALGORITHM, context)
    assert "One image is multi-frame. (3000 images)" in few.texts


def test_pixels_beyond_what_rows_hold_give_a_reason() -> None:
    making = Making(rendition=SUMMARY, sop_instance_uid="2.25.1", algorithm=ALGORITHM, context=CONTEXT)
    with pytest.raises(ReportImpossible, match=r"\(0028,0010\)"):
        secondary_capture([referable_header(full())], np.zeros((65_536, 1, 3), np.uint8), making)


def test_images_of_one_view_are_told_apart() -> None:
    readings = [read(full(1)), read(full(2)), read(full(3), View.UNKNOWN)]
    assert wording.image_names(readings) == ["PA 1", "PA 2", "VIEW UNKNOWN"]


def test_of_many_images_the_page_shows_where_the_highest_score_was() -> None:
    readings = [read(full(number)) for number in range(4)] + [read(full(5), View.LATERAL, present=("Mass",))]
    texts = page_texts(*readings)
    assert "0.60  above threshold · LATERAL" in texts
    assert "strongest of 5 images" in texts


def test_no_identity_on_the_page_nor_in_its_description() -> None:
    page = summary_capture([read(full(1))], ALGORITHM, CONTEXT)
    capture = opened(page)
    texts = "\n".join((*page_texts(read(full(1))), capture.DerivationDescription))
    for identity in ("Žukauskaitė", "4711", "19610203", "A2024-17", "Petraitis"):
        assert identity not in texts
    assert capture.BurnedInAnnotation == "NO"


# --------------------------------------------------------------------------------------- summary: attributes


def test_summary_attributes() -> None:
    readings = (read(full(2), View.LATERAL), read(full(1), present=("Mass",)))
    result = summary_capture(readings, ALGORITHM, CONTEXT)
    page = opened(result)
    assert result.kind is ObjectKind.SUMMARY
    assert page.Columns == 1024
    assert 1024 <= page.Rows <= 1400
    assert [item.ReferencedSOPInstanceUID for item in page.SourceImageSequence] == [
        full(1).SOPInstanceUID,
        full(2).SOPInstanceUID,
    ], "frontal first"
    assert "SpatialLocationsPreserved" not in page.SourceImageSequence[0]
    assert "PixelSpacing" not in page
    assert not page.PatientOrientation
    revised = summary_capture(readings, ALGORITHM, replace(CONTEXT, revision=2))
    assert opened(revised).InstanceNumber == 2
    assert revised.sop_instance_uid != result.sop_instance_uid
    assert revised.series_instance_uid == result.series_instance_uid


def test_burned_in_identity_of_a_source_is_in_its_thumbnail() -> None:
    header = full()
    header.BurnedInAnnotation = "YES"
    assert opened(summary_capture([read(header)], ALGORITHM, CONTEXT)).BurnedInAnnotation == "YES"


@pytest.mark.parametrize("size", [(40, 300), (300, 40), (512, 512)])
def test_any_shape_of_image_fits_the_page(size: tuple[int, int]) -> None:
    page = opened(summary_capture([read(size=size), read(full(2), size=size)], ALGORITHM, CONTEXT))
    assert page.Columns == 1024


def test_no_reading_or_two_studies_make_no_page() -> None:
    with pytest.raises(ReportImpossible, match="at least one"):
        summary_capture([], ALGORITHM, CONTEXT)
    stranger = full(2)
    stranger.StudyInstanceUID = "2.25.999"
    with pytest.raises(ReportImpossible, match=r"\(0020,000D\)"):
        summary_capture([read(full(1)), read(stranger)], ALGORITHM, CONTEXT)


# ------------------------------------------------------------------------------------------------ thumbnails


@pytest.mark.parametrize(("rows", "columns"), [(1250, 1024), (300, 1000), (90, 70)])
def test_thumbnail(rows: int, columns: int) -> None:
    from mcads_node.report.drawing import decode_picture

    radiograph = image(rows, columns)
    plain = decode_picture(thumbnail(radiograph, None))
    assert max(plain.size) <= 512
    assert plain.width / plain.height == pytest.approx(columns / rows, rel=0.01)
    hot: NDArray[np.int64] = np.asarray(decode_picture(thumbnail(radiograph, heat(radiograph)))).astype(int)
    assert np.ptp(np.asarray(plain).astype(int), axis=2).max() == 0
    middle = np.argwhere(np.ptp(hot, axis=2) > 30).mean(axis=0)
    assert np.allclose(middle, (hot.shape[0] / 2, hot.shape[1] / 2), atol=3)
