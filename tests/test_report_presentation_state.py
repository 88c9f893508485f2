import subprocess
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from mcads_node.errors import ReportImpossible
from mcads_node.finding import Algorithm, Finding, Heatmap, Presence
from mcads_node.instance import InputCheck, Radiograph, View
from mcads_node.phantom import radiograph as phantom
from mcads_node.phantom import save
from mcads_node.read.radiograph import read_dataset, read_radiograph
from mcads_node.report import wording
from mcads_node.report.capture import heatmap_capture
from mcads_node.report.drawing import grey_levels
from mcads_node.report.presentation_state import NOTICE, layer_names, presentation_state
from mcads_node.report.sr import measurement_report
from mcads_node.resample import geometry_for
from mcads_node.result import ObjectKind, Rendition, ResultObject
from tests.referees import dcentvfy, dciodvfy, require_program
from tests.report_samples import (
    ALGORITHM,
    CAUTION,
    CONTEXT,
    DOUBTFUL,
    LABELS,
    as_received,
    bare,
    full,
    reading,
)

DEMONSTRATION = replace(ALGORITHM, name="mcads-demo", caution=CAUTION)
GSPS = Rendition(kind=ObjectKind.GSPS)


def image(
    rows: int = 90, columns: int = 70, header: Dataset | None = None, checks: tuple[InputCheck, ...] = ()
) -> Radiograph:
    pixels = np.zeros((rows, columns), np.float32)
    return Radiograph(header=header or full(), pixels=pixels, view=View.PA, checks=checks)


def heat(
    of: Radiograph, label: str = "Effusion", row: int = 3, column: int = 3, score: float = 0.71
) -> Heatmap:
    activation = np.zeros((7, 7), np.float32)
    activation[row, column] = 1
    rows, columns = of.pixels.shape
    return Heatmap(
        finding=Finding(label=label, score=score, threshold=0.5, presence=Presence.PRESENT),
        method="grad-cam",
        activation=activation,
        geometry=geometry_for(rows, columns, 224),
    )


def made(
    of: Radiograph, *heatmaps: Heatmap, algorithm: Algorithm = ALGORITHM, rendition: Rendition = GSPS
) -> ResultObject:
    result = presentation_state(of, heatmaps or [heat(of)], algorithm, CONTEXT, rendition)
    assert result is not None
    return result


def opened(result: ResultObject) -> Dataset:
    return pydicom.dcmread(BytesIO(result.data))


def texts(state: Dataset, layer: str) -> str:
    annotations = [item for item in state.GraphicAnnotationSequence if item.GraphicLayer == layer]
    return "\n".join(text.UnformattedTextValue for item in annotations for text in item.TextObjectSequence)


# -------------------------------------------------------------------------------------------------- geometry


@pytest.mark.parametrize(("rows", "columns"), [(700, 560), (560, 700), (503, 901)])
@pytest.mark.parametrize(("row", "column"), [(0, 6), (1, 5), (3, 3), (5, 1)])
def test_a_hot_cell_is_outlined_around_its_pixels(rows: int, columns: int, row: int, column: int) -> None:
    radiograph = image(rows, columns)
    state = opened(made(radiograph, heat(radiograph, row=row, column=column)))
    (graphic,) = state.GraphicAnnotationSequence[0].GraphicObjectSequence
    points = np.array(graphic.GraphicData).reshape(-1, 2)
    # PS3.3 C.10.5: 0\0 is the corner of the first pixel, so that a cell's middle is a whole share of the crop
    side = min(rows, columns)
    cell = side / 7
    left, top = (columns // 2 - side // 2) + column * cell, (rows // 2 - side // 2) + row * cell
    assert np.allclose(points.min(axis=0), (left, top), atol=1)
    assert np.allclose(points.max(axis=0), (left + cell, top + cell), atol=1)
    assert len(points) == graphic.NumberOfGraphicPoints
    assert np.array_equal(points[0], points[-1]), "closed"
    assert points.min() >= 0
    assert np.all(points <= (columns, rows))


def test_each_finding_has_a_layer_of_its_own_with_outline_and_text() -> None:
    radiograph = image()
    heatmaps = [heat(radiograph, "Pleural_Thickening", 5, 1, 0.6), heat(radiograph, "Pneumothorax", 1, 5)]
    state = opened(made(radiograph, *heatmaps))
    assert [layer.GraphicLayer for layer in state.GraphicLayerSequence] == [
        "AI PNEUMOTHORAX",
        "AI PLEURAL THICK",
        NOTICE,
    ]
    assert [layer.GraphicLayerOrder for layer in state.GraphicLayerSequence] == [1, 2, 3]
    assert [item.GraphicLayer for item in state.GraphicAnnotationSequence] == [
        layer.GraphicLayer for layer in state.GraphicLayerSequence
    ]
    assert "Pleural thickening" in state.GraphicLayerSequence[1].GraphicLayerDescription
    for item in state.GraphicAnnotationSequence[:2]:
        assert [graphic.GraphicType for graphic in item.GraphicObjectSequence] == ["POLYLINE"]
        assert item.ReferencedImageSequence[0].ReferencedSOPInstanceUID == full().SOPInstanceUID
    boxes = [item.TextObjectSequence[0] for item in state.GraphicAnnotationSequence]
    for above, below in pairwise(boxes):
        assert above.BoundingBoxBottomRightHandCorner[1] <= below.BoundingBoxTopLeftHandCorner[1]
    for said in ("Pleural thickening", "score 0.60 (threshold 0.50), uncalibrated", wording.UNVERIFIED):
        assert said in texts(state, "AI PLEURAL THICK")
    assert "Pneumothorax" not in texts(state, "AI PLEURAL THICK")


def test_layer_names_are_code_strings_and_each_stands_once() -> None:
    names = layer_names(
        ["Notice", "Enlarged Cardiomediastinum", "Enlarged Cardiac silhouette", "Žaizda", *LABELS]
    )
    assert len(set(names)) == len(names)
    assert NOTICE not in names
    for name in names:
        assert 0 < len(name) <= 16
        assert set(name) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _")
        assert name == name.strip()


def test_all_labels_at_once_still_fit() -> None:
    radiograph = image()
    state = opened(made(radiograph, *(heat(radiograph, label) for label in LABELS)))
    assert len(state.GraphicLayerSequence) == len(LABELS) + 1
    corners = [
        item.TextObjectSequence[0].BoundingBoxBottomRightHandCorner
        for item in state.GraphicAnnotationSequence
    ]
    assert max(bottom for _, bottom in corners) <= 1


def test_an_empty_map_has_a_text_that_says_so() -> None:
    radiograph = image()
    empty = replace(heat(radiograph), activation=np.zeros((7, 7), np.float32))
    state = opened(made(radiograph, empty))
    assert "GraphicObjectSequence" not in state.GraphicAnnotationSequence[0]
    assert wording.EMPTY_MAP in texts(state, "AI EFFUSION")
    assert dciodvfy(made(radiograph, empty).data).errors == ()


# ----------------------------------------------------------------------------------------------------- words


def test_the_notice_and_the_caution() -> None:
    radiograph = image(checks=(DOUBTFUL,))
    state = opened(made(radiograph, algorithm=DEMONSTRATION))
    for said in (
        CAUTION,
        wording.UNVERIFIED,
        "Where the model looked (Grad-CAM), NOT the outline of a lesion",
        f"Input: {DOUBTFUL.reason}",
        "mcads-demo 0.1.0+1",
        "The model saw only rows 11–80 of 90",
        wording.NOT_EXCLUDED,
    ):
        assert said in texts(state, NOTICE)
    assert CAUTION in texts(state, "AI EFFUSION")
    assert all("DEMONSTRATION MODEL" in layer.GraphicLayerDescription for layer in state.GraphicLayerSequence)
    assert state.ContentDescription == "DEMONSTRATION MODEL Grad-CAM area, NOT a lesion outline"
    assert CAUTION in state.SeriesDescription
    everything = texts(state, NOTICE) + texts(state, "AI EFFUSION")
    for identity in ("Žukauskaitė", "4711", "A2024-17"):
        assert identity not in everything


def test_what_a_destination_asks_for_makes_another_object() -> None:
    radiograph = image()
    rendition = replace(GSPS, series_number=77, series_description="AI marks")
    result, default = made(radiograph, algorithm=DEMONSTRATION, rendition=rendition), made(radiograph)
    state = opened(result)
    assert (state.SeriesNumber, state.SeriesDescription) == (
        77,
        f"{CAUTION} AI marks",
    )
    assert result.variant == rendition.variant
    assert result.sop_instance_uid != default.sop_instance_uid
    assert result.series_instance_uid != default.series_instance_uid
    with pytest.raises(ReportImpossible, match="language"):
        made(radiograph, rendition=replace(GSPS, language="xx"))


# ------------------------------------------------------------------------------------------------- attributes


def test_attributes() -> None:
    radiograph = image(header=full(3))
    result = made(radiograph)
    state = opened(result)
    assert result.kind is ObjectKind.GSPS
    assert (result.sop_class_uid, result.sop_instance_uid) == (state.SOPClassUID, state.SOPInstanceUID)
    assert result.series_instance_uid == state.SeriesInstanceUID
    assert (state.Modality, state.SeriesNumber, state.InstanceNumber) == ("PR", 9905, 3)
    assert state.ReferencedSeriesSequence[0].SeriesInstanceUID == full().SeriesInstanceUID
    assert (
        state.ReferencedSeriesSequence[0].ReferencedImageSequence[0].ReferencedSOPInstanceUID
        == full(3).SOPInstanceUID
    )
    area = state.DisplayedAreaSelectionSequence[0]
    assert area.DisplayedAreaTopLeftHandCorner == [1, 1]
    assert area.DisplayedAreaBottomRightHandCorner == [70, 90]
    assert area.PresentationPixelAspectRatio == [1, 1]
    assert str(state.PatientName) == "Žukauskaitė^Rūta"
    assert state.ContributingEquipmentSequence[0].DeviceUID == ALGORITHM.device_uid
    assert (state.PresentationCreationDate, state.PresentationCreationTime) == ("20240507", "010304")


def test_pixels_that_are_not_square_are_shown_so() -> None:
    header = full()
    header.PixelSpacing = ["0.2", "0.1"]
    area = opened(made(image(header=header))).DisplayedAreaSelectionSequence[0]
    assert area.PresentationPixelAspectRatio == [2, 1]


def test_no_heatmap_makes_no_state_and_another_images_heatmap_is_refused() -> None:
    radiograph = image()
    assert presentation_state(radiograph, [], ALGORITHM, CONTEXT, GSPS) is None
    with pytest.raises(ReportImpossible, match="70 × 90"):
        made(radiograph, heat(image(70, 90)))
    header = full()
    del header.SOPInstanceUID
    with pytest.raises(ReportImpossible, match=r"\(0008,0018\)"):
        made(image(header=header))


def test_equal_input_gives_equal_bytes_in_any_order() -> None:
    radiograph = image()
    one, other = heat(radiograph, "Mass", 1, 1), heat(radiograph, "Effusion", 5, 5)
    assert made(radiograph, one, other).data == made(radiograph, other, one).data
    assert made(radiograph, one).sop_instance_uid != made(radiograph, one, other).sop_instance_uid
    higher = replace(one, finding=replace(one.finding, threshold=0.6))
    assert made(radiograph, higher).sop_instance_uid != made(radiograph, one).sop_instance_uid


# ----------------------------------------------------------------------------------- the source's own display


def lut(data: NDArray[np.integer], order: str = "<") -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(data), 0, 16]
    item.LUTData = data.astype(f"{order}u2").tobytes()
    return item


def plain(source: Dataset) -> None:
    """Leave it as it is."""


def inverse(source: Dataset) -> None:
    stored = np.frombuffer(source.PixelData, "<u2")
    source.PixelData = (4095 - stored).astype("<u2").tobytes()
    source.PhotometricInterpretation, source.PresentationLUTShape = "MONOCHROME1", "INVERSE"


def windows(source: Dataset) -> None:
    source.WindowCenter, source.WindowWidth = ["2500", "1"], ["1800", "2"]


def rescaled(source: Dataset) -> None:
    source.RescaleSlope, source.RescaleIntercept, source.RescaleType = "2", "-1000", "US"
    source.WindowCenter, source.WindowWidth = "4000", "3000"


def voi_lut(source: Dataset) -> None:
    del source.WindowCenter, source.WindowWidth
    source.VOILUTSequence = [lut(np.arange(4096) ** 2 // 256)]


def modality_lut(source: Dataset) -> None:
    source.ModalityLUTSequence = [lut(np.arange(4096)[::-1] * 16)]
    source.ModalityLUTSequence[0].ModalityLUTType = "OD"
    for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType"):
        source.pop(keyword, None)
    source.WindowCenter, source.WindowWidth = "32000", "48000"


@pytest.mark.parametrize(
    "change",
    [plain, inverse, windows, rescaled, voi_lut, modality_lut],
    ids=lambda change: change.__name__,
)
def test_dcmtk_shows_the_source_under_the_state_as_the_model_saw_it(
    change: Callable[[Dataset], None], tmp_path: Path
) -> None:
    source = phantom(View.PA, rows=200, columns=160)
    change(source)
    (tmp_path / "image.dcm").write_bytes(save(source))
    radiograph = read_radiograph(read_dataset(save(source)))
    result = made(radiograph, heat(radiograph), heat(radiograph, "Mass", 1, 5))
    (tmp_path / "state.dcm").write_bytes(result.data)
    paths = [str(tmp_path / name) for name in ("state.dcm", "image.dcm", "shown.pgm")]
    done = subprocess.run(
        [require_program("dcmp2pgm"), "-p", *paths], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if line.startswith(("E:", "W:", "F:"))], done.stderr
    shown = np.frombuffer((tmp_path / "shown.pgm").read_bytes()[-200 * 160 :], np.uint8).reshape(200, 160)
    difference = np.abs(shown.astype(int) - grey_levels(radiograph.pixels))
    assert difference.max() <= 3
    assert dciodvfy(result.data).errors == ()


@pytest.mark.parametrize("function", ["LINEAR_EXACT", "SIGMOID"])
def test_the_function_of_a_window_goes_with_it(function: str) -> None:
    # DCMTK 3.6.7 shows every window of a presentation state as LINEAR: no referee for this
    header = full()
    header.WindowCenter, header.WindowWidth, header.VOILUTFunction = "2500", "1800", function
    result = made(image(header=header))
    (window,) = opened(result).SoftcopyVOILUTSequence
    assert (window.WindowCenter, window.WindowWidth, window.VOILUTFunction) == (2500, 1800, function)
    assert dciodvfy(result.data).errors == ()


def test_the_words_of_a_big_endian_lut_are_turned() -> None:
    header, table = full(), np.arange(256) * 100
    header.VOILUTSequence = [lut(table, ">")]
    header.VOILUTSequence[0]["LUTData"].VR = "OW"
    header.set_original_encoding(False, False)
    state = opened(made(image(header=header)))
    data = state.SoftcopyVOILUTSequence[0].VOILUTSequence[0]["LUTData"].value
    assert np.array_equal(np.frombuffer(data, "<u2"), table)


def test_the_sources_shutter_stays_closed() -> None:
    header = full()
    header.ShutterShape = ["CIRCULAR", "RECTANGULAR"]
    header.CenterOfCircularShutter, header.RadiusOfCircularShutter = [45, 35], 30
    assert "ShutterShape" not in opened(made(image(header=header))), "half of it is not told"
    header.ShutterLeftVerticalEdge, header.ShutterRightVerticalEdge = 2, 60
    header.ShutterUpperHorizontalEdge, header.ShutterLowerHorizontalEdge = 3, 80
    result = made(image(header=header))
    state = opened(result)
    assert list(state.ShutterShape) == ["CIRCULAR", "RECTANGULAR"]
    assert (state.RadiusOfCircularShutter, state.ShutterRightVerticalEdge) == (30, 60)
    assert dciodvfy(result.data).errors == ()


# -------------------------------------------------------------------------------------------------- referees


def bare_cr() -> Dataset:
    return bare(modality="CR")


def latin() -> Dataset:
    header = full()
    header.SpecificCharacterSet = "ISO_IR 100"
    header.PatientName, header.StudyDescription = "Müller^Jörg", "Übersicht"
    header.LossyImageCompression, header.LossyImageCompressionRatio = "01", "10"
    header.ImagerPixelSpacing, header.PixelAspectRatio = ["0.1", "0.2"], ["1", "2"]
    header.WindowCenter, header.WindowWidth = ["100", "200"], ["300", "400"]
    header.WindowCenterWidthExplanation = ["NORMAL", "HARD"]
    del header.TimezoneOffsetFromUTC, header.PixelSpacing
    return as_received(header)


def sparse() -> Dataset:
    header = full()
    for keyword in (
        "PatientName",
        "PatientID",
        "PatientSex",
        "StudyDate",
        "AccessionNumber",
        "PatientOrientation",
    ):
        delattr(header, keyword)
    header.RescaleSlope, header.PatientBirthDate = "1", ""
    return header


@pytest.mark.parametrize("source", [bare, bare_cr, full, latin, sparse])
@pytest.mark.parametrize("algorithm", [ALGORITHM, DEMONSTRATION], ids=["without caution", "with caution"])
def test_dciodvfy_and_dcentvfy_accept_it(source: Callable[[], Dataset], algorithm: Algorithm) -> None:
    radiograph = image(header=source(), checks=(DOUBTFUL,))
    heatmaps = (heat(radiograph), heat(radiograph, "Mass", 0, 6))
    result = made(radiograph, *heatmaps, algorithm=algorithm)
    verdicts = dciodvfy(result.data)
    assert verdicts.errors == ()
    assert verdicts.warnings == ()
    others = [
        heatmap_capture(radiograph, heatmaps[0], algorithm, CONTEXT),
        measurement_report([reading(source())], algorithm, CONTEXT),
    ]
    assert dcentvfy([result.data, *(other.data for other in others)]).errors == ()


def test_names_of_equal_maps_do_not_lie_on_one_point() -> None:
    radiograph = image(700, 560)
    maps = [heat(radiograph, label) for label in LABELS]
    state = opened(made(radiograph, *maps))
    named = [each.TextObjectSequence[-1] for each in state.GraphicAnnotationSequence[:-1]]
    anchors = {tuple(each.AnchorPoint) for each in named}
    assert len(anchors) > len(LABELS) / 2
    said = [each.TextObjectSequence[0].UnformattedTextValue for each in state.GraphicAnnotationSequence[:-1]]
    assert all("\r\n" not in text for text in said)
