"""The pages of the PDF: laid out by ReportLab, A4, black on white since they are printed.

Equal arguments give equal bytes: no clock, no random identifier; the date in the file is the context's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from reportlab.lib.colors import Color, HexColor, white
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Image, KeepTogether, Paragraph, SimpleDocTemplate, Spacer, Table
from reportlab.platypus.doctemplate import LayoutError

from mcads_node.errors import ReportImpossible
from mcads_node.finding import Algorithm, Finding, Presence
from mcads_node.report import wording
from mcads_node.report.document import Draft
from mcads_node.report.drawing import decode_picture
from mcads_node.report.narrative import ImageNarrative, Narrative, narrative
from mcads_node.report.source import local_time
from mcads_node.report.urgency import page_order
from mcads_node.report.wording import Translator

_MARGIN: Final = 42.0
_WIDTH: Final = A4[0] - 2 * _MARGIN
#: a thumbnail stands left of its findings
_PICTURE: Final = 150.0
_GAP: Final = 14.0
#: what ReportLab leaves free on each side of a frame
_PADDING: Final = 6.0

_ALARM: Final = HexColor(0xB0161E)
_AMBER: Final = HexColor(0xFFBA42)
_INK: Final = HexColor(0x14171C)
_DIM: Final = HexColor(0x59626D)
_PALE: Final = HexColor(0xE3E6EA)
_BAR: Final = HexColor(0x93A0AE)

_SANS: Final = "MCADS-Sans"
_BOLD: Final = "MCADS-Sans-Bold"


@cache
def _register_fonts() -> None:
    """Make the package's fonts known to ReportLab: they have the letters that its own fonts lack."""
    folder = Path(__file__).with_name("fonts")
    for name, file in ((_SANS, "DejaVuSans.ttf"), (_BOLD, "DejaVuSans-Bold.ttf")):
        pdfmetrics.registerFont(TTFont(name, str(folder / file)))


def _style(size: float, colour: Color = _INK, *, bold: bool = False, after: float = 0) -> ParagraphStyle:
    return ParagraphStyle(
        f"{size}{bold}{colour.hexval()}{after}",
        fontName=_BOLD if bold else _SANS,
        fontSize=size,
        leading=size * 1.35,
        textColor=colour,
        spaceAfter=after,
        # a model's or a label's name may be one long word
        splitLongWords=1,
    )


def _paragraph(text: str, style: ParagraphStyle) -> Paragraph:
    return Paragraph(escape(text), style)


class _Bar(Flowable):
    """A score from 0 to 1 with a mark at its threshold."""

    def __init__(self, finding: Finding, width: float) -> None:
        super().__init__()
        self.width, self.height = width, 7.0
        self._finding = finding

    def draw(self) -> None:
        """Draw it at the origin."""
        canvas: Canvas = self.canv
        fill = _AMBER if self._finding.presence is Presence.PRESENT else _BAR
        for share, colour in ((1.0, _PALE), (self._finding.stated, fill)):
            canvas.setFillColor(colour)
            canvas.rect(0, 0, self.width * share, self.height, stroke=0, fill=1)
        canvas.setFillColor(_INK)
        canvas.rect(
            self.width * self._finding.stated_threshold - 0.6, -2, 1.2, self.height + 4, stroke=0, fill=1
        )


def pdf_pages(draft: Draft) -> bytes:
    """Write the PDF.

    Parameters
    ----------
    draft
        What it is made of.

    Raises
    ------
    ReportImpossible
        A thumbnail is no picture, or an image has more findings than a page holds.
    """
    _register_fonts()
    said = narrative(draft)
    buffer = BytesIO()
    pages = SimpleDocTemplate(
        buffer,
        pagesize=A4,
        leftMargin=_MARGIN - _PADDING,
        rightMargin=_MARGIN - _PADDING,
        topMargin=_MARGIN,
        bottomMargin=_MARGIN + 26,
        title=said.headline,
        author=wording.BRAND,
        subject=". ".join(filter(None, (said.caution, said.unverified))),
        creator=wording.BRAND,
        lang=draft.rendition.language,
        invariant=1,
    )
    page = _page_frame(draft, said)
    try:
        pages.build(_story(draft, said), onFirstPage=page, onLaterPages=page)
    except LayoutError as error:
        raise ReportImpossible("the findings of an image do not fit on a page of the PDF") from error
    return buffer.getvalue()


def _page_frame(draft: Draft, said: Narrative) -> Callable[[Canvas, SimpleDocTemplate], None]:
    """Give what stands on every page: pages are parted, and each must say what it is."""
    created = local_time(draft.context.created, draft.source)
    lines = (
        " · ".join(filter(None, (said.caution, said.unverified))),
        f"{wording.model_text(draft.algorithm)} · {created:%Y-%m-%d %H:%M %Z}".rstrip(),
    )

    def frame(canvas: Canvas, pages: SimpleDocTemplate) -> None:
        canvas.setDateFormatter(lambda *_: _pdf_date(draft.context.created))
        width = pdfmetrics.stringWidth(lines[0], _BOLD, 8)
        canvas.setFont(_BOLD, min(8, 8 * _WIDTH / width))
        canvas.setFillColor(_ALARM if said.caution else _INK)
        canvas.drawString(_MARGIN, _MARGIN + 10, lines[0])
        canvas.setFont(_SANS, min(7.5, 7.5 * (_WIDTH - 24) / pdfmetrics.stringWidth(lines[1], _SANS, 7.5)))
        canvas.setFillColor(_DIM)
        canvas.drawString(_MARGIN, _MARGIN - 2, lines[1])
        canvas.setFont(_SANS, 7.5)
        canvas.drawRightString(A4[0] - _MARGIN, _MARGIN - 2, str(pages.page))

    return frame


def _pdf_date(moment: datetime) -> str:
    return moment.strftime("D:%Y%m%d%H%M%SZ")


def _story(draft: Draft, said: Narrative) -> list[Flowable]:
    tr = draft.tr
    found = bool(wording.present_labels(draft.readings))
    story: list[Flowable] = []
    if said.caution:
        story.append(_band(said.caution, _ALARM, white))
    story.append(_band(said.unverified, _AMBER, _INK))
    story += [Spacer(0, 10), _paragraph(said.headline, _style(19, bold=True, after=4))]
    story += [_paragraph(text, _style(10.5, bold=not found, after=3)) for text in said.remarks]
    story += [_paragraph(text, _style(10, _ALARM, bold=True, after=3)) for text in said.warnings]
    for image in said.images:
        story += [Spacer(0, 10), *_image(image, draft.algorithm, tr)]
    story.append(Spacer(0, 12))
    story += [_paragraph(text, _style(9, after=2)) for text in said.notes]
    story.append(_paragraph(said.model, _style(8, _DIM)))
    return story


def _band(text: str, ground: Color, ink: Color) -> Table:
    band = Table([[_paragraph(text, _style(13, ink, bold=True))]], colWidths=[_WIDTH])
    band.setStyle(
        [
            ("BACKGROUND", (0, 0), (-1, -1), ground),
            ("TOPPADDING", (0, 0), (-1, -1), 5),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 7),
        ]
    )
    return band


def _image(image: ImageNarrative, algorithm: Algorithm, tr: Translator) -> list[Flowable]:
    """Show one image beside the bars of its findings; what is below threshold follows as a paragraph."""
    findings = sorted(image.reading.findings, key=page_order)
    shown = [finding for finding in findings if finding.presence is Presence.PRESENT]
    right: list[Flowable] = [_paragraph(image.title, _style(12, bold=True, after=3))]
    right += [_finding_row(finding, algorithm, tr) for finding in shown]
    paragraphs = [text for text in (image.undetermined, image.absent, image.anatomy) if text]
    right += [_paragraph(text, _style(9, _DIM, after=3)) for text in paragraphs]
    picture = _picture(image, tr)
    if not picture:
        return right
    widths = [_PICTURE + _GAP, _WIDTH - _PICTURE - _GAP]
    beside = Table([[picture, right]], colWidths=widths)
    beside.setStyle(
        [
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ("RIGHTPADDING", (0, 0), (-1, -1), 0),
        ]
    )
    return [KeepTogether([beside])]


def _finding_row(finding: Finding, algorithm: Algorithm, tr: Translator) -> Table:
    room = _WIDTH - _PICTURE - _GAP
    row = Table(
        [
            [
                _paragraph(wording.human_label(finding.label, tr), _style(10.5, bold=True)),
                _Bar(finding, 0.23 * room),
                _paragraph(wording.score_text(finding, algorithm, tr), _style(8)),
            ]
        ],
        colWidths=[0.38 * room, 0.26 * room, 0.36 * room],
    )
    row.setStyle(
        [
            ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ("TOPPADDING", (0, 0), (-1, -1), 2),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
        ]
    )
    return row


def _picture(image: ImageNarrative, tr: Translator) -> Sequence[Flowable]:
    """Show the thumbnail, and below it what is drawn in it; nothing where there is none."""
    data = image.reading.thumbnail
    if not data:
        return []
    try:
        size = decode_picture(data).size
    except OSError as error:
        raise ReportImpossible(f"the thumbnail of an image cannot be read: {error}") from error
    scale = _PICTURE / max(size)
    picture = Image(BytesIO(data), width=size[0] * scale, height=size[1] * scale)
    picture.hAlign = "LEFT"
    return [picture, _paragraph(wording.shown_text(image.reading, tr), _style(7.5, _DIM))]
