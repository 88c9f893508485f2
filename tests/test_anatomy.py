"""Masks of lungs and heart: whether they are plausible, and the ratio that is measured on them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mcads_node.anatomy import read_anatomy
from mcads_node.anatomy.measuring import cardiothoracic_ratio
from mcads_node.anatomy.shape import shape_of
from mcads_node.instance import Radiograph, View
from mcads_node.report.sentences import sentence
from mcads_node.report.translation import ENGLISH, translator
from mcads_node.structure import HEART, LEFT_LUNG, RIGHT_LUNG, AnatomyReading, Mask
from mcads_node.workitems.codec import anatomy_from_json, anatomy_to_json
from tests.anatomy_samples import (
    CHEST,
    MEASURED,
    NAMES,
    REFUSED,
    SEGMENTATION,
    SIZE,
    Ellipse,
    masks,
    structures,
)
from tests.report_samples import full

IMAGE = Radiograph(header=full(), pixels=np.zeros((90, 70), np.float32), view=View.PA)


def read(drawn: dict[str, Mask], of: Radiograph = IMAGE) -> AnatomyReading:
    return read_anatomy(of, structures(drawn))


def test_the_ratio_is_that_of_the_drawn_widths() -> None:
    reading = read(masks())
    assert reading.refusals == ()
    assert reading.cardiothoracic_ratio == pytest.approx(0.4 / 0.8, abs=1.5 / SIZE)
    assert reading.algorithm is SEGMENTATION


def test_the_phantoms_ratio_is_that_of_its_anatomy() -> None:
    """Heart and lungs drawn by hand where the phantom has them (mm; its field is 400 × 400)."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] * 400 / SIZE + 200 / SIZE
    x -= 200
    ventricles = ((x - 24) / 66) ** 2 + ((y - 250) / 50) ** 2 <= 1
    atrium = ((x + 10) / 36) ** 2 + ((y - 244) / 48) ** 2 <= 1
    outer = np.interp(y, (56, 76, 110, 170, 250, 310, 400), (46, 84, 108, 125, 136, 140, 140))
    dome = np.where(x < 0, 292 + 0.0068 * (abs(x) - 58) ** 2, 304 + 0.0086 * (abs(x) - 70) ** 2)
    lung = (y > 56) & (y < dome) & (abs(x) < outer) & (abs(x) > 25) & ~ventricles & ~atrium
    reading = read(masks(heart=ventricles | atrium, right_lung=lung & (x < 0), left_lung=lung & (x > 0)))
    # from 46 mm on the right to 90 mm on the left, in a thorax of twice 140 mm
    assert reading.cardiothoracic_ratio == pytest.approx((46 + 90) / 280, abs=0.02)


def test_the_heart_is_measured_from_point_to_point_and_the_thorax_at_one_height() -> None:
    """A heart that leans is as wide as its bounds; lungs that are wide at two heights are not wider."""
    heart, right, left = np.zeros((3, 20, 40), bool)
    heart[8:10, 12:20], heart[10:12, 18:26] = True, True
    right[4:8, 2:10], right[8:14, 5:10] = True, True
    left[4:8, 30:33], left[8:14, 30:38] = True, True
    ratio = cardiothoracic_ratio(shape_of(heart), shape_of(right), shape_of(left))
    assert ratio == pytest.approx(14 / 33)


TOO_SMALL = Ellipse(row=0.5, column=0.25, height=0.1, width=0.1)
BEHIND = Ellipse(row=0.5, column=0.2, height=0.25, width=0.2)
BELOW = Ellipse(row=0.93, column=0.5, height=0.13, width=0.4)
HALVES = (
    Ellipse(row=0.6, column=0.4, height=0.3, width=0.15).drawn()
    | Ellipse(row=0.6, column=0.6, height=0.3, width=0.15).drawn()
)
REFUSALS: list[tuple[dict[str, Ellipse | Mask], str]] = [
    ({"right_lung": TOO_SMALL}, "The mask of the right lung covers 1% of the image, which cannot be."),
    ({"left_lung": np.zeros((SIZE, SIZE), bool)}, "The mask of the left lung covers 0% of the image"),
    ({"heart": np.ones((SIZE, SIZE), bool)}, "The mask of the heart covers 100% of the image"),
    ({"heart": HALVES}, "The mask of the heart is in pieces."),
    ({"right_lung": replace(CHEST[RIGHT_LUNG], column=0.14)}, "The right lung reaches the edge"),
    ({"left_lung": replace(CHEST[LEFT_LUNG], column=0.86)}, "The left lung reaches the edge"),
    ({"right_lung": replace(CHEST[RIGHT_LUNG], height=0.2)}, "less than a third of that of the other"),
    ({"right_lung": CHEST[LEFT_LUNG], "left_lung": CHEST[RIGHT_LUNG]}, "do not lie side by side"),
    ({"left_lung": CHEST[RIGHT_LUNG]}, "do not lie side by side"),
    ({"heart": BEHIND}, "does not lie between those of the lungs"),
    ({"heart": BELOW}, "does not lie at the height of the lungs"),
    (
        {"heart": replace(CHEST[HEART], width=0.15, height=0.3)},
        "The heart would be 19% as wide as the thorax, which",
    ),
]


@pytest.mark.parametrize(("other", "reason"), REFUSALS)
def test_masks_that_cannot_be_are_refused_in_words(other: dict[str, Ellipse | Mask], reason: str) -> None:
    reading = read(masks(**other))
    assert reading.cardiothoracic_ratio is None
    assert any(reason in said for said in reading.refusals), reading.refusals


@pytest.mark.parametrize("other", [other for other, _ in REFUSALS])
def test_each_reason_is_told_in_every_language(other: dict[str, Ellipse | Mask]) -> None:
    for said in read(masks(**other)).refusals:
        assert sentence(said, ENGLISH) == said
        assert sentence(said, translator("lt")) != said


def test_a_mirrored_image_is_refused() -> None:
    header = full()
    header.PatientOrientation = ["R", "F"]
    reading = read(masks(), replace(IMAGE, header=header))
    assert reading.refusals == ("Patient Orientation (0020,0020) says that the image is mirrored.",)
    del header.PatientOrientation
    assert read(masks(), replace(IMAGE, header=header)).cardiothoracic_ratio is not None


def test_specks_beside_a_structure_make_it_no_wider() -> None:
    speckled = CHEST[HEART].drawn()
    speckled[3, 3] = speckled[-3, -3] = True
    assert read(masks(heart=speckled)) == read(masks())


@settings(max_examples=60, deadline=None)
@given(arrays(bool, (3, 12, 12)))
def test_no_mask_is_too_odd_to_be_judged(drawn: Mask) -> None:
    found = {name: np.zeros((12, 12), bool) for name in NAMES}
    found |= dict(zip((RIGHT_LUNG, LEFT_LUNG, HEART), drawn, strict=True))
    reading = read(found)
    assert (reading.cardiothoracic_ratio is None) == bool(reading.refusals)
    assert all(sentence(said, translator("lt")) != said for said in reading.refusals)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.3, 0.5), st.floats(-0.03, 0.03), st.floats(0.85, 1.1))
def test_the_ratio_neither_depends_on_place_nor_on_size(heart: float, moved: float, grown: float) -> None:
    def placed(of: Ellipse, width: float) -> Ellipse:
        column = 0.5 + (of.column - 0.5) * grown + moved
        return replace(of, column=column, width=width * grown)

    drawn = {name: placed(each, heart if name == HEART else each.width) for name, each in CHEST.items()}
    reading = read(masks(**{name.lower().replace(" ", "_"): each for name, each in drawn.items()}))
    assert reading.cardiothoracic_ratio == pytest.approx(heart / 0.8, abs=4 / SIZE)


@pytest.mark.parametrize("reading", [MEASURED, REFUSED])
def test_a_reading_comes_back_from_json(reading: AnatomyReading) -> None:
    assert anatomy_from_json(anatomy_to_json(reading)) == reading


def test_there_is_a_ratio_or_a_reason() -> None:
    with pytest.raises(ValueError, match="or a reason"):
        AnatomyReading(algorithm=SEGMENTATION)
    with pytest.raises(ValueError, match="or a reason"):
        replace(MEASURED, refusals=("No.",))
