"""The summary page: what was found, how sure, by which model, on which image, at one look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    Page,
    decode_png,
    largest_size,
    line_height,
    text_width,
    wrap,
)
from mcads_node.result import ImageReading, ReportContext

WIDTH, HEIGHT = 1024, 1280
MARGIN = 32
INNER = WIDTH - 2 * MARGIN
#: most images that the table has a column each; of more, it shows the highest score and where it was
MOST_COLUMNS = 3
#: most thumbnails side by side, and the height of their cells
MOST_IN_ROW, TALLEST = 4, 380
ROW = 27
_NAMES = 300
_TEXT, _SMALL = 17, 14


@dataclass(frozen=True, kw_only=True)
class _Column:
    """One column of the table: a finding per label, and for the highest of many images, where it was."""

    title: str
    findings: dict[str, Finding]
    places: dict[str, str]


def summary_page(readings: Sequence[ImageReading], algorithm: Algorithm, context: ReportContext) -> Page:
    """Lay out the page; it grows with the number of images and warnings, never below 1024 × 1280.

    Parameters
    ----------
    readings
        At least one, in the order in which they are shown.
    algorithm
        Who made them.
    context
        When, which revision, and what was not read.
    """
    page = Page(WIDTH)
    names = wording.image_names(readings)
    y = _head(page, readings, algorithm, context)
    y = _warnings(page, y, readings, names, context)
    y = _images(page, y, readings, names)
    y = _table(page, y, readings, names, algorithm)
    _foot(page, y, algorithm, context)
    return page


def _band(page: Page, y: int, text: str, sizes: Sequence[int], colours: tuple[Colour, Colour]) -> int:
    """Draw text on a coloured band across the page; return the y below."""
    fill, ink = colours
    size = largest_size(text, INNER, sizes, bold=True)
    height = line_height(size) * len(wrap(text, size, INNER, bold=True)) + size // 2
    page.box((0, y, WIDTH, y + height), fill)
    page.text((MARGIN, y + size // 4), text, size, INNER, bold=True, fill=ink)
    return y + height


def _head(page: Page, readings: Sequence[ImageReading], algorithm: Algorithm, context: ReportContext) -> int:
    found = bool(wording.present_labels(readings))
    title = wording.headline(readings)
    size = largest_size(title, INNER, (50, 46, 42, 38), bold=True)
    y = page.text((MARGIN, 22), title, size, INNER, bold=True, fill=AMBER if found else INK)
    if not found:
        undetermined = all(wording.is_undetermined(reading) for reading in readings)
        text = wording.NOTHING_CLAIMED if undetermined else wording.NOT_NORMAL
        y = page.text((MARGIN, y), text, 20, INNER, bold=True, fill=AMBER)
    revision = wording.revision_text(context)
    if revision:
        y = page.text((MARGIN, y + 4), revision, _TEXT, INNER, fill=INK)
    y = _band(page, y + 14, wording.UNVERIFIED, (30,), (AMBER, GROUND))
    if algorithm.caution:
        y = _band(page, y, algorithm.caution, (30, 26, 22), (ALARM, INK))
    return y + 16


def _warnings(
    page: Page, y: int, readings: Sequence[ImageReading], names: Sequence[str], context: ReportContext
) -> int:
    """Write what is wrong with the input, worst first, and what was not read."""
    rows = [
        (check.verdict is not Verdict.UNDETERMINED, f"{name}: {check.reason}")
        for name, reading in zip(names, readings, strict=True)
        for check in reading.checks
    ]
    lines = [("Undetermined" if not mild else "Warning", text) for mild, text in sorted(rows)]
    lines += [("Not read", reason) for reason in context.unread]
    for word, text in lines:
        page.text((MARGIN, y), word, _TEXT, 150, bold=True, fill=AMBER)
        y = page.text((MARGIN + 150, y), text, _TEXT, INNER - 150) + 2
    return y + 12 if lines else y


def _images(page: Page, y: int, readings: Sequence[ImageReading], names: Sequence[str]) -> int:
    """Show the thumbnails, at most four a row and the rows even, each with what it is and what it shows."""
    per_row = -(-len(readings) // -(-len(readings) // MOST_IN_ROW))
    gap = 16
    cell = (INNER - gap * (per_row - 1)) // per_row
    tallest = min(cell, TALLEST)
    for start in range(0, len(readings), per_row):
        row_end = y
        for place, index in enumerate(range(start, min(start + per_row, len(readings)))):
            x = MARGIN + place * (cell + gap)
            thumbnail = decode_png(readings[index].thumbnail)
            thumbnail.thumbnail((cell, tallest))
            page.box((x, y, x + cell, y + tallest), (0, 0, 0))
            page.picture(
                (x + (cell - thumbnail.width) // 2, y + (tallest - thumbnail.height) // 2), thumbnail
            )
            row_end = max(
                row_end, _under_image(page, (x, y + tallest + 4), cell, readings[index], names[index])
            )
        y = row_end + 8
    if any(reading.heatmaps for reading in readings):
        y = _legend(page, y)
    return y + 10


def _under_image(page: Page, at: tuple[int, int], width: int, reading: ImageReading, name: str) -> int:
    x, y = at
    y = page.text((x, y), name, 20, width, bold=True)
    finding = wording.shown_finding(reading)
    shown = "no heatmap" if finding is None else f"heatmap: {wording.human_label(finding.label)}"
    if finding is not None and finding.presence is not Presence.PRESENT:
        shown += f" ({wording.request_text(finding)})"
    return page.text((x, y), f"{wording.source_text(reading.header)} · {shown}", _SMALL, width, fill=DIM)


def _legend(page: Page, y: int) -> int:
    middle = y + 9
    page.word((MARGIN, middle), "Heatmap: relative activation", _SMALL, anchor="lm", fill=DIM)
    x = MARGIN + text_width("Heatmap: relative activation", _SMALL) + 14
    low = f"{LOWEST_SHOWN:.1f}"
    page.word((x, middle), low, _SMALL, anchor="lm", fill=INK)
    x += text_width(low, _SMALL) + 8
    page.legend((x, y + 3, x + 160, y + 16))
    page.word((x + 168, middle), "1.0", _SMALL, anchor="lm", fill=INK)
    page.word((x + 206, middle), "lower: not drawn", _SMALL, anchor="lm", fill=DIM)
    return y + 20


def _columns(readings: Sequence[ImageReading], names: Sequence[str]) -> list[_Column]:
    by_image = [
        _Column(title=name, findings={finding.label: finding for finding in reading.findings}, places={})
        for name, reading in zip(names, readings, strict=True)
    ]
    if len(by_image) <= MOST_COLUMNS:
        return by_image
    highest: dict[str, Finding] = {}
    places: dict[str, str] = {}
    for column in by_image:
        for label, finding in column.findings.items():
            if label not in highest or _weight(finding) > _weight(highest[label]):
                highest[label], places[label] = finding, column.title
    return [_Column(title=f"highest of {len(by_image)} images", findings=highest, places=places)]


def _weight(finding: Finding) -> tuple[int, float]:
    """Order of findings: present before undetermined before absent, then by score."""
    order = (Presence.ABSENT, Presence.UNDETERMINED, Presence.PRESENT)
    return order.index(finding.presence), finding.score


def _ordered_labels(columns: Sequence[_Column], algorithm: Algorithm) -> list[str]:
    """All labels of the model, and any other that an image was read for: the weightiest first."""

    def weight(label: str) -> tuple[int, float]:
        found = (column.findings[label] for column in columns if label in column.findings)
        return max(map(_weight, found), default=(-1, 0.0))

    others = (label for column in columns for label in column.findings)
    return sorted(dict.fromkeys((*algorithm.labels, *others)), key=weight, reverse=True)


def _table(
    page: Page, y: int, readings: Sequence[ImageReading], names: Sequence[str], algorithm: Algorithm
) -> int:
    """Write all labels of the model: present first, then by score; a bar against the threshold per image."""
    columns = _columns(readings, names)
    labels = _ordered_labels(columns, algorithm)
    cell = (INNER - _NAMES) // len(columns)
    for place, column in enumerate(columns):
        x = MARGIN + _NAMES + place * cell
        page.word((x, y + 12), column.title, _TEXT, anchor="lm", bold=True)
    page.word((MARGIN + 22, y + 12), "Finding", _TEXT, anchor="lm", bold=True)
    y += 26
    page.box((MARGIN, y, WIDTH - MARGIN, y + 1), LINE)
    y += 3
    for label in labels:
        _row(page, y, label, columns, cell)
        y += ROW
    page.box((MARGIN, y + 2, WIDTH - MARGIN, y + 3), LINE)
    kind = "calibrated" if algorithm.calibrated else "uncalibrated, not a probability"
    note = f"Bar: score 0…1 ({kind}). White mark: threshold. {wording.NOT_EXCLUDED}"
    return page.text((MARGIN, y + 8), note, _SMALL, INNER, fill=DIM)


def _row(page: Page, y: int, label: str, columns: Sequence[_Column], cell: int) -> None:
    findings = [column.findings[label] for column in columns if label in column.findings]
    present = any(finding.presence is Presence.PRESENT for finding in findings)
    middle = y + ROW // 2
    if present:
        page.box((MARGIN, y + 1, WIDTH - MARGIN, y + ROW), PANEL)
        page.box((MARGIN, y + 1, MARGIN + 6, y + ROW), AMBER)
    name = wording.human_label(label)
    page.word((MARGIN + 22, middle), name, _TEXT, anchor="lm", bold=present, fill=INK if present else DIM)
    for place, column in enumerate(columns):
        if label in column.findings:
            x = MARGIN + _NAMES + place * cell
            _bar(page, (x, middle), cell - 24, column.findings[label], column.places.get(label, ""))


def _bar(page: Page, at: tuple[int, int], room: int, finding: Finding, place: str) -> None:
    """Draw the score as a bar with a mark at the threshold, the number and the word beside it."""
    x, middle = at
    words = {
        Presence.PRESENT: "above" if room < 300 else "above threshold",
        Presence.ABSENT: "below" if room < 300 else "below threshold",
        Presence.UNDETERMINED: "undet." if room < 300 else "undetermined",
    }
    text = f"{finding.score:.2f}  {words[finding.presence]}" + (f" · {place}" if place else "")
    bar = room - (104 if room < 300 else 190) - (130 if place else 0)
    fill, ink = {
        Presence.PRESENT: (AMBER, INK),
        Presence.ABSENT: ((92, 106, 122), DIM),
        Presence.UNDETERMINED: (LINE, DIM),
    }[finding.presence]
    page.box((x, middle - 6, x + bar, middle + 6), (38, 43, 50))
    page.box((x, middle - 6, x + max(1, round(bar * finding.score)), middle + 6), fill)
    mark = x + round(bar * finding.threshold)
    page.box((mark - 1, middle - 9, mark + 2, middle + 9), INK)
    bold = finding.presence is Presence.PRESENT
    page.word((x + bar + 12, middle), text, _SMALL, anchor="lm", bold=bold, fill=ink)


def _foot(page: Page, y: int, algorithm: Algorithm, context: ReportContext) -> None:
    made = context.created.strftime("%Y-%m-%d %H:%M %Z").strip()
    lines = (
        f"Model {wording.model_text(algorithm)} · weights SHA-256 {algorithm.weights_digest[:12]}… · {made}",
        "Details and codes: the Structured Report of this study. Page contains no patient identity.",
    )
    y = max(y + 12, HEIGHT - 16 - len(lines) * line_height(_SMALL))
    for line in lines:
        y = page.text((MARGIN, y), line, _SMALL, INNER, fill=DIM)
    page.reach(y + 16)
