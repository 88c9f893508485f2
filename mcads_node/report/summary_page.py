"""The summary page: what was found, how sure, by which model, on which image, at one look.

From the top: what was found, in letters that a thumbnail of the page still shows; how urgent it is by the
site's rules, where there are any; that no one has verified it; what was wrong with the input; the images with
the strongest heatmap; every label of the model.
"""

from __future__ import annotations

from collections.abc import Sequence

from mcads_node.finding import Algorithm, Finding, Presence
from mcads_node.instance import Verdict
from mcads_node.report import wording
from mcads_node.report.drawing import (
    ALARM,
    AMBER,
    DIM,
    GROUND,
    INK,
    LINE,
    LOWEST_SHOWN,
    PANEL,
    Colour,
    decode_picture,
)
from mcads_node.report.page import Page, largest_size, line_height, text_width, wrap
from mcads_node.report.sentences import sentence
from mcads_node.report.summary_table import FULL, Content, Strip, table
from mcads_node.report.translation import ENGLISH, Translator
from mcads_node.report.triage_words import study_words
from mcads_node.report.urgency import page_order
from mcads_node.result import ImageReading, ReportContext
from mcads_node.triage_level import LEVELS

WIDTH, HEIGHT = 1024, 1024
MARGIN = FULL.left
#: most findings that are named in large letters; the table has the others
MOST_NAMED = 3
#: warnings and images that are shown one by one: a page of a large study must stay one page
MOST_WARNINGS, MOST_IMAGES = 12, 12
#: most thumbnails side by side, the height of their cells, and both of a single image, beside the table
MOST_IN_ROW, TALLEST, SINGLE = 4, 330, (372, 440)
_HEADLINE = (58, 54, 50, 46, 42, 38)
_NAMED = (44, 40, 36, 34)
#: where the scores and the images of the named findings begin
_SCORE_AT, _IMAGE_AT = 644, 772
_TEXT, _SMALL = 18, 15


def summary_page(
    readings: Sequence[ImageReading],
    algorithm: Algorithm,
    context: ReportContext,
    tr: Translator = ENGLISH,
) -> Page:
    """Lay out the page; it grows with the number of images and warnings, never below 1024 × 1024.

    Parameters
    ----------
    readings
        At least one, in the order in which they are shown.
    algorithm
        Who made them.
    context
        When, which revision, and what was not read.
    tr
        In which language.
    """
    page = Page(WIDTH)
    names = tuple(wording.image_names(readings, tr))
    content = Content(readings=tuple(readings), names=names, algorithm=algorithm, context=context, tr=tr)
    y = _head(page, content)
    y = _triage(page, y, content)
    y = _bands(page, y, content)
    y = _warnings(page, y, content)
    y = _anatomy(page, y, content)
    if len(readings) == 1:
        # the table beside the only image
        below = _images(page, y, content, Strip(left=MARGIN, right=MARGIN + SINGLE[0]))
        y = max(below, table(page, y, content, Strip(left=MARGIN + SINGLE[0] + 24, right=FULL.right)))
    else:
        y = _images(page, y, content, FULL)
        y = table(page, y, content, FULL)
    _foot(page, y, content)
    return page


def _head(page: Page, content: Content) -> int:
    """Say what was found, the most urgent first."""
    tr, width = content.tr, FULL.width
    found = bool(wording.present_labels(content.readings))
    page.word((MARGIN, 32), wording.BRAND, 24, anchor="lm", bold=True)
    page.word((FULL.right, 32), content.made, _TEXT, anchor="rm", fill=DIM)
    title = wording.headline(content.readings, tr)
    size = largest_size(title, width, _HEADLINE, bold=True)
    y = page.text((MARGIN, 50), title, size, width, bold=True, fill=AMBER if found else INK)
    if found:
        return _named(page, y + 4, content)
    undetermined = all(wording.is_undetermined(reading) for reading in content.readings)
    text = tr(wording.NOTHING_CLAIMED if undetermined else wording.NOT_NORMAL)
    return page.text((MARGIN, y), text, 24, width, bold=True, fill=AMBER) + 12


def _named(page: Page, y: int, content: Content) -> int:
    """Name the most urgent findings with their scores and images."""
    tr = content.tr
    strongest = sorted((seen.strongest() for seen in content.by_label().values()), key=page_order)
    present = [finding for finding in strongest if finding.presence is Presence.PRESENT]
    for finding in present[:MOST_NAMED]:
        y = _name(page, y, content, finding)
    more = len(present) - MOST_NAMED
    if more > 0:
        said = tr.plural("and {count} more, in the table", "and {count} more, in the table", more)
        y = page.text((MARGIN + 22, y), said, 24, FULL.width - 22, bold=True, fill=AMBER)
    return y + 6


def _name(page: Page, y: int, content: Content, finding: Finding) -> int:
    """Name one finding: its score, the images it is present on, and the threshold."""
    tr = content.tr
    name, room = wording.human_label(finding.label, tr), _SCORE_AT - MARGIN - 40
    size = largest_size(name, room, _NAMED, bold=True)
    tall = len(wrap(name, size, room, bold=True)) * line_height(size)
    height = max(60, tall + 8)
    middle = y + height // 2 - 2
    page.box((MARGIN, y, FULL.right, y + height - 4), PANEL)
    page.box((MARGIN, y, MARGIN + 8, y + height - 4), AMBER)
    page.text((MARGIN + 22, middle - tall // 2), name, size, room, bold=True)
    page.word((_SCORE_AT, middle), wording.score_number(finding, tr), 44, anchor="lm", bold=True)
    places = content.places(finding.label)
    where = ", ".join(places)
    if text_width(where, 20, bold=True) > FULL.right - _IMAGE_AT - 8:
        where = tr.plural("{count} image", "{count} images", len(places))
    page.word((_IMAGE_AT, middle - 14), where, 20, anchor="lm", bold=True)
    threshold = wording.threshold_number(finding, tr)
    if finding.probability is None:
        said = tr("score; threshold {threshold}", threshold=threshold)
    else:
        said = tr("probability; threshold {threshold}", threshold=threshold)
    page.word((_IMAGE_AT, middle + 12), said, _SMALL, anchor="lm", fill=DIM)
    return y + height


def _triage(page: Page, y: int, content: Content) -> int:
    """Say how urgent the study is, why, and that this is a suggestion; nothing where there are no rules."""
    said = study_words(content.readings, content.context, content.tr, MOST_NAMED)
    if said is None:
        return y
    left, width = MARGIN + 22, FULL.width - 38
    lines = ((said.title, 30, INK, True), (said.reason, _TEXT, INK, False), (said.remark, _SMALL, DIM, False))
    height = sum(len(wrap(text, size, width, bold=bold)) * line_height(size) for text, size, _, bold in lines)
    page.box((MARGIN, y, FULL.right, y + height + 12), PANEL)
    page.box((MARGIN, y, MARGIN + 8, y + height + 12), AMBER if (said.level or LEVELS) < LEVELS else LINE)
    below = y + 4
    for text, size, colour, bold in lines:
        below = page.text((left, below), text, size, width, bold=bold, fill=colour)
    return y + height + 22


def _bands(page: Page, y: int, content: Content) -> int:
    """Say that no one has verified this, and what the model itself must say."""
    tr = content.tr
    y = _band(page, y, tr(wording.UNVERIFIED), (34, 32, 30), (AMBER, GROUND))
    if content.algorithm.caution:
        y = _band(page, y, tr(content.algorithm.caution), (34, 30, 26), (ALARM, INK))
    revision = wording.revision_text(content.context, tr)
    if revision:
        y = page.text((MARGIN, y + 8), revision, _TEXT, FULL.width)
    return y + 14


def _band(page: Page, y: int, text: str, sizes: Sequence[int], colours: tuple[Colour, Colour]) -> int:
    """Draw text on a coloured band across the page; return the y below."""
    fill, ink = colours
    size = largest_size(text, FULL.width, sizes, bold=True)
    height = line_height(size) * len(wrap(text, size, FULL.width, bold=True)) + size // 3
    page.box((0, y, WIDTH, y + height), fill)
    page.text((MARGIN, y + size // 6), text, size, FULL.width, bold=True, fill=ink)
    return y + height


def _warnings(page: Page, y: int, content: Content) -> int:
    """Write what is wrong with the input, worst first, and what was not read."""
    tr = content.tr
    rows = sorted(
        (check.verdict is not Verdict.UNDETERMINED, check.verdict, f"{name}: {sentence(check.reason, tr)}")
        for name, reading in zip(content.names, content.readings, strict=True)
        for check in reading.checks
    )
    lines = [(wording.verdict_text(verdict, tr), text) for _, verdict, text in rows]
    lines += [(tr("Not read"), said) for said in wording.unread_texts(content.context, tr)]
    more = len(lines) - MOST_WARNINGS
    if more > 0:
        said = tr.plural("and {count} more, in the report", "and {count} more, in the report", more)
        lines = [*lines[:MOST_WARNINGS], ("", said)]
    indent = 18 + max((text_width(word, _TEXT, bold=True) for word, _ in lines), default=0)
    for word, text in lines:
        page.text((MARGIN, y), word, _TEXT, indent, bold=True, fill=AMBER)
        y = page.text((MARGIN + indent, y), text, _TEXT, FULL.width - indent) + 2
    return y + 10 if lines else y


def _anatomy(page: Page, y: int, content: Content) -> int:
    """Write what was measured, small: it is context, and no finding."""
    texts = [wording.anatomy_text(reading, content.tr) for reading in content.readings]
    said = [f"{name}: {text}" for name, text in zip(content.names, texts, strict=True) if text]
    for text in said[:MOST_IMAGES]:
        y = page.text((MARGIN, y), text, _TEXT, FULL.width, fill=DIM) + 2
    return y + 8 if said else y


def _images(page: Page, y: int, content: Content, strip: Strip) -> int:
    """Show the thumbnails, at most four a row and the rows even, each with what it is and what it shows."""
    shown = _pictured(content.readings)
    count = len(shown)
    per_row = -(-count // -(-count // MOST_IN_ROW))
    gap = 16
    cell = (strip.width - gap * (per_row - 1)) // per_row
    tallest = SINGLE[1] if count == 1 else min(cell, TALLEST)
    for start in range(0, count, per_row):
        row_end = y
        for place, index in enumerate(shown[start : start + per_row]):
            x = strip.left + place * (cell + gap)
            _thumbnail(page, (x, y, x + cell, y + tallest), content.readings[index])
            below = page.text((x, y + tallest + 4), content.names[index], 20, cell, bold=True)
            # after a revision much later the picture may be gone (retention): then nothing is drawn in it
            kept = bool(content.readings[index].thumbnail)
            lost = content.tr("The picture is no longer kept.")
            said = wording.shown_text(content.readings[index], content.tr) if kept else lost
            row_end = max(row_end, page.text((x, below), said, _SMALL, cell, fill=DIM))
        y = row_end + 8
    more = len(content.readings) - count
    if more:
        said = content.tr.plural("and {count} more image", "and {count} more images", more)
        y = page.text((strip.left, y), said, 20, strip.width, bold=True, fill=AMBER) + 8
    if any(wording.shows_heatmap(reading) for reading in content.readings):
        y = _legend(page, y, content.tr, strip)
    return y + 10


def _pictured(readings: Sequence[ImageReading]) -> list[int]:
    """Places of the images that are shown: those with something present before the others, in their order."""
    places = sorted(range(len(readings)), key=lambda place: not wording.present_labels([readings[place]]))
    return sorted(places[:MOST_IMAGES])


def _thumbnail(page: Page, corners: tuple[int, int, int, int], reading: ImageReading) -> None:
    left, top, right, bottom = corners
    page.box(corners, (0, 0, 0))
    if not reading.thumbnail:
        return
    picture = decode_picture(reading.thumbnail)
    picture.thumbnail((right - left, bottom - top))
    at = (left + (right - left - picture.width) // 2, top + (bottom - top - picture.height) // 2)
    page.picture(at, picture)


def _legend(page: Page, y: int, tr: Translator, strip: Strip) -> int:
    """Explain the colours: the scale, then in words."""
    middle, x = y + 10, strip.left
    low, high = tr.number(LOWEST_SHOWN), tr.number(1)
    page.word((x, middle), low, _SMALL, anchor="lm")
    x += text_width(low, _SMALL) + 8
    page.legend((x, y + 4, x + 140, y + 17))
    page.word((x + 148, middle), high, _SMALL, anchor="lm")
    x += 148 + text_width(high, _SMALL) + 16
    said = "; ".join((tr("Heatmap: relative activation"), tr("lower: not drawn")))
    if text_width(said, _SMALL) <= strip.right - x:
        page.word((x, middle), said, _SMALL, anchor="lm", fill=DIM)
        return y + 22
    return page.text((strip.left, y + 22), said, _SMALL, strip.width, fill=DIM)


def _foot(page: Page, y: int, content: Content) -> None:
    tr, algorithm = content.tr, content.algorithm
    model = tr("Model {model}", model=wording.model_text(algorithm))
    weights = tr("weights SHA-256 {digest}", digest=f"{algorithm.weights_digest[:12]}…")
    lines = (
        f"{model} · {weights}",
        tr("Details and codes: the Structured Report of this study. Page contains no patient identity."),
    )
    height = sum(line_height(_SMALL) * len(wrap(line, _SMALL, FULL.width)) for line in lines)
    y = max(y + 10, HEIGHT - 16 - height)
    for line in lines:
        y = page.text((MARGIN, y), line, _SMALL, FULL.width, fill=DIM)
    page.reach(y + 16)
