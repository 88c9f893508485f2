"""Whether the summary page can be read: measured on the page itself, in every language and every case."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from mcads_node.finding import Algorithm
from mcads_node.instance import View
from mcads_node.report import wording
from mcads_node.report.page import Page, Written
from mcads_node.report.summary_page import WIDTH, summary_page
from mcads_node.report.translation import languages, translator
from mcads_node.result import ImageReading, ReportContext
from tests.report_samples import ALGORITHM, CONTEXT, DOUBTFUL, UNFIT, full, with_triage
from tests.test_drawing import contrast, luminance
from tests.test_report_capture import DEMONSTRATION, read

LATER = replace(
    CONTEXT,
    revision=2,
    predecessor=("1.2", f"2.25.{'9' * 38}", "2.25.1"),
    unread=("it has 20 frames (0028,0008); a radiograph has one", "no route for this study (rule 'rest')"),
)
LONG = "Enlarged Cardiomediastinum"
Case = tuple[list[ImageReading], Algorithm, ReportContext]
CASES: dict[str, Case] = {
    "nothing found": ([read(full(1))], ALGORITHM, CONTEXT),
    "one": ([read(full(1), present=("Pneumothorax",))], ALGORITHM, CONTEXT),
    "three on two images": (
        [
            read(full(1), present=(LONG, "Effusion")),
            read(full(2), View.LATERAL, present=("Pleural_Thickening",)),
        ],
        ALGORITHM,
        CONTEXT,
    ),
    "three images": (
        [read(full(number), View.UNKNOWN, present=(LONG,)) for number in range(3)],
        DEMONSTRATION,
        LATER,
    ),
    "four images": (
        [
            read(full(number), view, present=("Mass", "Hernia", "Fracture", LONG), checks=(DOUBTFUL,))
            for number, view in enumerate((View.PA, View.AP, View.LATERAL, View.LATERAL))
        ],
        DEMONSTRATION,
        LATER,
    ),
    "undetermined": (
        [
            read(full(1), present=("Mass",), checks=(UNFIT,)),
            read(full(2), View.LATERAL, checks=(UNFIT, DOUBTFUL)),
        ],
        DEMONSTRATION,
        LATER,
    ),
    "triage": (
        [
            with_triage(read(full(1), present=(LONG, "Effusion", "Pneumonia", "Fracture"))),
            with_triage(read(full(2), View.LATERAL, checks=(DOUBTFUL,))),
        ],
        DEMONSTRATION,
        LATER,
    ),
    "no triage level": ([with_triage(read(full(1), checks=(UNFIT, DOUBTFUL)))], ALGORITHM, CONTEXT),
    "one of two undetermined": (
        [read(full(1), present=("Mass",)), read(full(2), View.LATERAL, checks=(UNFIT,))],
        ALGORITHM,
        CONTEXT,
    ),
}
PAGES = [(case, language) for case in CASES for language in languages()]


@pytest.fixture(scope="module", params=PAGES, ids=" ".join)
def page(request: pytest.FixtureRequest) -> Page:
    case, language = request.param
    readings, algorithm, context = CASES[case]
    return summary_page(readings, algorithm, context, translator(language))


def ground(page: Page, written: Written) -> tuple[int, ...]:
    """Commonest colour where a text is: what it stands on."""
    left, top, right, bottom = written.corners
    part = page.pixels()[top:bottom, left:right].reshape(-1, 3)
    colours, counts = np.unique(part, axis=0, return_counts=True)
    return tuple(colours[counts.argmax()].tolist())


def test_all_text_stands_out_from_its_ground(page: Page) -> None:
    for written in page.written:
        pair = luminance(np.array([written.fill, ground(page, written)], float))
        # WCAG 2.1, 1.4.3 (AA)
        assert contrast(pair[0], pair[1]) >= 4.5, written


def test_all_text_is_large_enough_at_1024_pixels(page: Page) -> None:
    assert page.width == 1024
    assert min(written.size for written in page.written) >= 15


def test_what_was_found_is_large_enough_in_a_thumbnail(page: Page) -> None:
    """In 320 pixels across, the headline has 11 at least, and what was found 10."""
    wide = 320 / WIDTH
    headline = page.written[2]
    assert headline.size * wide >= 11
    # and where a viewer fits the whole page into 320 × 320
    assert headline.size * 320 / page.height >= 9
    table = next(
        place for place, written in enumerate(page.written) if written.text in ("Finding", "Radinys")
    )
    named = [written for written in page.written[3:table] if written.size >= 34]
    assert all(written.size * wide >= 10 for written in named)
    unverified = [translator(language)(wording.UNVERIFIED) for language in languages()]
    assert next(written.size for written in page.written if written.text in unverified) * wide >= 9


def test_no_text_leaves_the_page_or_covers_another(page: Page) -> None:
    for written in page.written:
        left, top, right, bottom = written.corners
        assert left >= 24
        assert right <= WIDTH - 24
        assert top >= 0
        assert bottom <= page.height
    for one, other in combinations(page.written, 2):
        apart = (
            one.corners[2] <= other.corners[0]
            or other.corners[2] <= one.corners[0]
            or one.corners[3] <= other.corners[1] + 3
            or other.corners[3] <= one.corners[1] + 3
        )
        assert apart, (one, other)


def test_the_answer_comes_first(page: Page) -> None:
    """What was found, that it is not verified, then warnings, images, and the table."""
    unverified = [translator(language)(wording.UNVERIFIED) for language in languages()]
    order = [written.text for written in page.written]
    at = next(place for place, text in enumerate(order) if text in unverified)
    table = next(place for place, text in enumerate(order) if text in ("Finding", "Radinys"))
    warned = [place for place, text in enumerate(order) if text in ("Warning", "Įspėjimas", "Not read")]
    assert 2 < at < table
    assert all(at < place < table for place in warned)
    assert page.written[2].corners[3] < 140


@pytest.mark.parametrize("language", languages())
def test_the_page_stays_a_page(language: str) -> None:
    heights = {
        case: summary_page(*CASES[case], translator(language)).height for case in ("nothing found", "one")
    }
    assert set(heights.values()) == {1024}
    for readings, algorithm, context in CASES.values():
        # the level and its reason take some lines more
        most = 1900 if any(each.triage for each in readings) else 1750
        assert summary_page(readings, algorithm, context, translator(language)).height <= most


def test_a_picture_that_is_no_longer_kept_is_told() -> None:
    """As where a late image revises a report after retention let the thumbnails go."""
    lost, there = (read(full(number), present=("Mass",)) for number in (1, 2))
    page = summary_page([replace(lost, thumbnail=b""), there], ALGORITHM, LATER)
    assert [text for text in page.texts if "no longer kept" in text] == ["The picture is no longer kept."]
