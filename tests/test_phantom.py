from io import BytesIO
from time import perf_counter

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from mcads_node.instance import View
from mcads_node.phantom import radiograph, save
from tests.referees import dcentvfy, dciodvfy

VIEWS = (View.PA, View.LATERAL)


def pixels(dataset: Dataset) -> NDArray[np.uint16]:
    matrix: NDArray[np.uint16] = np.frombuffer(dataset.PixelData, "<u2").reshape(
        dataset.Rows, dataset.Columns
    )
    return matrix


def brightness(dataset: Dataset, row: float, column: float) -> float:
    """Mean around a place given as shares of rows and columns, 0…1 of full scale."""
    matrix = pixels(dataset)
    r, c = round(row * dataset.Rows), round(column * dataset.Columns)
    return float(matrix[r - 8 : r + 8, c - 8 : c + 8].mean()) / float(2**dataset.BitsStored - 1)


@pytest.mark.parametrize("view", VIEWS)
def test_dciodvfy_finds_nothing(view: View) -> None:
    verdict = dciodvfy(save(radiograph(view, rows=250, columns=204)))
    assert verdict.errors == ()
    assert verdict.warnings == ()


def test_the_study_is_consistent() -> None:
    verdict = dcentvfy([save(radiograph(view, rows=128, columns=100)) for view in VIEWS])
    assert verdict.errors == ()


@pytest.mark.parametrize("view", VIEWS)
def test_full_size_object(view: View) -> None:
    start = perf_counter()
    data = save(radiograph(view))
    seconds = perf_counter() - start
    read = pydicom.dcmread(BytesIO(data))
    assert (read.Rows, read.Columns, read.BitsStored, read.BitsAllocated) == (2500, 2048, 12, 16)
    assert read.PhotometricInterpretation == "MONOCHROME2"
    assert read.Modality == "DX"
    assert (str(read.PatientName), read.PatientID) == ("Phantom^MCADS", "PHANTOM")
    assert "phantom" in read.StudyDescription.lower()
    assert int(read.pixel_array.max()) <= 4095
    # generous: this machine may be busy
    assert seconds < 10


def test_pa_looks_like_a_chest() -> None:
    chest = radiograph(View.PA, rows=1000, columns=820)
    right_lung, left_lung = brightness(chest, 0.45, 0.22), brightness(chest, 0.45, 0.80)
    heart_left, beside_right = brightness(chest, 0.63, 0.68), brightness(chest, 0.63, 0.32)
    assert max(right_lung, left_lung) < 0.45
    assert brightness(chest, 0.55, 0.50) > 0.7, "spine and mediastinum are bright"
    assert brightness(chest, 0.9, 0.3) > 0.7, "the abdomen is bright"
    assert heart_left > beside_right + 0.2, "the heart lies on the viewer's right"
    assert brightness(chest, 0.835, 0.70) < brightness(chest, 0.835, 0.30) - 0.1, (
        "gas under the left dome only"
    )
    assert brightness(chest, 0.1, 0.1) < 0.02, "air around the patient is black"


def test_lateral_looks_like_a_chest() -> None:
    chest = radiograph(View.LATERAL, rows=1000, columns=820)
    assert brightness(chest, 0.62, 0.58) < 0.4, "lung behind the heart is dark"
    assert brightness(chest, 0.85, 0.3) > 0.7, "the abdomen is bright"
    assert brightness(chest, 0.5, 0.72) > brightness(chest, 0.5, 0.6), "the spine is behind"


def test_it_says_that_it_is_a_phantom_in_its_pixels() -> None:
    corner = pixels(radiograph(rows=420, columns=344, bits=8))[:24, :60]
    ink = corner > 230
    # seven letters of 5 × 7
    assert 80 < int(ink.sum()) < 200
    assert np.flatnonzero(ink.any(axis=0)).tolist()[-1] - np.flatnonzero(ink.any(axis=0)).tolist()[0] == 40


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_bits(bits: int) -> None:
    dataset = radiograph(rows=128, columns=96, bits=bits)
    assert (dataset.BitsStored, dataset.HighBit) == (bits, bits - 1)
    assert 2 ** (bits - 1) < int(pixels(dataset).max()) < 2**bits


@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (131, 97), (200, 333), (2501, 64)])
def test_any_matrix(rows: int, columns: int) -> None:
    dataset = radiograph(rows=rows, columns=columns)
    assert pixels(dataset).shape == (rows, columns)


def test_same_arguments_give_same_bytes_and_studies_differ() -> None:
    first, again = (save(radiograph(rows=96, columns=80, study="a")) for _ in range(2))
    assert first == again
    uids = {
        (d.StudyInstanceUID, d.SeriesInstanceUID, d.SOPInstanceUID)
        for d in (radiograph(view, rows=96, columns=80, study=study) for view in VIEWS for study in "ab")
    }
    assert len({study for study, _, _ in uids}) == 2
    assert len({series for _, series, _ in uids}) == 4
    assert len({instance for _, _, instance in uids}) == 4
    assert all(pydicom.uid.UID(uid).is_valid for triple in uids for uid in triple)


@pytest.mark.parametrize(
    "wrong",
    [{"view": View.AP}, {"view": View.UNKNOWN}, {"rows": 63}, {"columns": 8}, {"bits": 17}, {"bits": 7}],
)
def test_what_it_cannot_draw(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"expected|view"):
        radiograph(**wrong)  # type: ignore[arg-type]
