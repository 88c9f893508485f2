"""Heatmaps of every method beside one another: identities, words, and what else is made of them."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from mcads_node.analyse import _name_of, _pictured
from mcads_node.config.acting import AnalyseSection
from mcads_node.finding import COMBINED, GRAD_CAM, PLI, Finding, Heatmap, Presence
from mcads_node.instance import ModelGeometry, Radiograph, View
from mcads_node.report import wording
from mcads_node.report.capture import HEATMAP, heatmap_capture
from mcads_node.report.identity import series_description
from mcads_node.report.overlay import captioned_heatmap
from mcads_node.result import ObjectKind
from tests.referees import dcentvfy, dciodvfy
from tests.report_samples import ALGORITHM, CAUTION, CONTEXT, LABELS, full, reading

SEEN = Radiograph(
    header=full(3),
    pixels=np.random.default_rng(2).uniform(-1024, 1024, (90, 70)).astype(np.float32),
    view=View.PA,
)
MASS, EFFUSION = (
    Finding(label=label, score=score, threshold=0.5, presence=Presence.PRESENT)
    for label, score in (("Mass", 0.61), ("Effusion", 0.83))
)
GEOMETRY = ModelGeometry(rows=90, columns=70, top=10, left=0, side=70, size=224)


def heat(method: str, cells: int = 7, **told: object) -> Heatmap:
    activation = np.random.default_rng(cells).uniform(0, 1, (cells, cells)).astype(np.float32)
    made = Heatmap(finding=EFFUSION, method=method, activation=activation, geometry=GEOMETRY)
    return replace(made, **told)  # type: ignore[arg-type]


EVERY = {
    GRAD_CAM: heat(GRAD_CAM),
    COMBINED: heat(COMBINED, combined=(EFFUSION, MASS)),
    PLI: heat(PLI, cells=224),
}


def captured(heatmap: Heatmap, **wanted: object) -> Dataset:
    rendition = replace(HEATMAP, **wanted)  # type: ignore[arg-type]
    return pydicom.dcmread(BytesIO(heatmap_capture(SEEN, heatmap, ALGORITHM, CONTEXT, rendition).data))


def test_each_method_has_its_own_object_and_series() -> None:
    made = {method: captured(heatmap) for method, heatmap in EVERY.items()}
    assert len({each.SOPInstanceUID for each in made.values()}) == 3
    assert len({each.SeriesInstanceUID for each in made.values()}) == 3
    assert [each.SeriesNumber for each in made.values()] == [9903, 9910, 9911]
    assert [each.SeriesDescription.split(" (")[0] for each in made.values()] == [
        "MCADS AI heatmaps",
        "MCADS AI combined maps",
        "MCADS AI pixel maps",
    ]
    codes = [(each.DerivationCodeSequence[0].CodeValue) for each in made.values()]
    assert codes == ["130403", "130403", "130404"]
    numbers = [each.InstanceNumber for each in made.values()]
    place = 300 + LABELS.index("Effusion") + 1
    assert numbers == [place, 301, place]
    own = captured(EVERY[PLI], series_number=77, series_description="DI")
    assert (own.SeriesNumber, own.SeriesDescription) == (77, "DI pixel maps")
    assert captured(EVERY[GRAD_CAM], series_description="DI").SeriesDescription == "DI"


def test_a_combined_map_is_another_one_with_other_findings() -> None:
    alone = replace(EVERY[COMBINED], combined=(EFFUSION,))
    assert captured(alone).SOPInstanceUID != captured(EVERY[COMBINED]).SOPInstanceUID
    other = replace(EVERY[COMBINED], combined=(EFFUSION, replace(MASS, threshold=0.4)))
    assert captured(other).SOPInstanceUID != captured(EVERY[COMBINED]).SOPInstanceUID


def test_referees_accept_every_method() -> None:
    made = [heatmap_capture(SEEN, heatmap, ALGORITHM, CONTEXT).data for heatmap in EVERY.values()]
    for each in made:
        assert dciodvfy(each).errors == ()
    assert dcentvfy(made).errors == ()


def test_a_caption_says_what_it_is_of_and_how_it_was_made() -> None:
    texts = {
        method: " ".join(captioned_heatmap(SEEN, heatmap, ALGORITHM, HEATMAP).texts)
        for method, heatmap in EVERY.items()
    }
    assert "All findings above threshold" in texts[COMBINED]
    assert "Effusion: score 0.83" in texts[COMBINED]
    assert "Mass: score 0.61" in texts[COMBINED]
    assert "Grad-CAM, summed by score" in texts[COMBINED]
    assert "PLI (guided backpropagation, SmoothGrad)" in texts[PLI]
    assert "Relative influence of a pixel" in texts[PLI]
    assert "Relative activation" in texts[GRAD_CAM]
    said = wording.derivation_text(EVERY[COMBINED], ALGORITHM)
    assert "All findings above threshold; Effusion, Mass" in said
    everything = tuple(replace(EFFUSION, label=label) for label in LABELS)
    assert wording.UNVERIFIED in wording.derivation_text(heat(COMBINED, combined=everything), ALGORITHM)
    empty = replace(EVERY[COMBINED], activation=np.zeros((7, 7), np.float32))
    assert "these findings" in wording.empty_text(empty)


def test_pixels_have_no_outline() -> None:
    contour = replace(HEATMAP, style="contour")
    drawn = captioned_heatmap(SEEN, EVERY[PLI], ALGORITHM, contour)
    assert np.array_equal(drawn.pixels, captioned_heatmap(SEEN, EVERY[PLI], ALGORITHM, HEATMAP).pixels)
    assert not any(text.startswith("Outline") for text in drawn.texts)


def test_the_caution_of_a_description_is_whole_by_every_method() -> None:
    careful = replace(ALGORITHM, caution=CAUTION, name="mcads-demo")
    said = {series_description(ObjectKind.HEATMAP, careful, method=method) for method in EVERY}
    assert len(said) == 3
    assert all(CAUTION in each and len(each.encode()) <= 64 for each in said)
    assert all(each.startswith("AI ") or each.startswith("MCADS AI ") for each in said)


def test_a_thumbnail_shows_areas() -> None:
    weak = replace(EVERY[GRAD_CAM], finding=MASS)
    strong, summed, pixels = EVERY.values()
    assert _pictured((pixels, summed, weak, strong)) is strong
    assert _pictured((pixels, summed)) is summed
    assert _pictured((pixels,)) is None
    assert (_name_of(strong), _name_of(summed), _name_of(None)) == ("Effusion", COMBINED, None)
    image = replace(reading(full(1)), shown=COMBINED)
    assert wording.shows_heatmap(image)
    assert wording.shown_text(image).endswith("heatmap: All findings above threshold")
    assert not wording.shows_heatmap(replace(image, shown=None))


def test_a_rule_names_each_method_once() -> None:
    assert AnalyseSection.model_validate({"explain": list(EVERY)}).explain == tuple(EVERY)
    with pytest.raises(ValueError, match="each method once at most; found pli, pli"):
        AnalyseSection.model_validate({"explain": ["pli", "pli"]})
