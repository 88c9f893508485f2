"""The summary page's table: every label of the model, with a bar against its threshold per image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from mcads_node.finding import Algorithm, Finding, Presence
from mcads_node.report import wording
from mcads_node.report.drawing import AMBER, DIM, INK, LINE, PANEL, Colour
from mcads_node.report.page import Page, text_width, wrap
from mcads_node.report.translation import Translator
from mcads_node.report.urgency import page_order
from mcads_node.result import ImageReading, ReportContext

#: most images that the table has a column each; of more, it shows the strongest finding and where it was
MOST_COLUMNS: Final = 3
ROW: Final = 26
_TEXT, _SMALL = 17, 15
#: room for a bar and the words beside it, below which they are short ones
_ROOMY = 310
#: of a bar's ground, and of a bar below its threshold
_TRACK: Colour = (38, 43, 50)
_BELOW: Colour = (104, 119, 136)


@dataclass(frozen=True, kw_only=True)
class Strip:
    """A part of the page from left to right."""

    left: int
    right: int

    @property
    def width(self) -> int:
        """Pixels."""
        return self.right - self.left


FULL: Final = Strip(left=32, right=992)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One label on all images that were read for it."""

    #: by image, named
    findings: tuple[tuple[str, Finding], ...]

    def strongest(self) -> Finding:
        """Present before undetermined before absent, then by score."""
        return min((finding for _, finding in self.findings), key=page_order)


@dataclass(frozen=True, kw_only=True)
class Content:
    """What the page says."""

    readings: tuple[ImageReading, ...]
    #: of each reading's image
    names: tuple[str, ...]
    algorithm: Algorithm
    context: ReportContext
    tr: Translator

    @property
    def made(self) -> str:
        """When, as the source's clocks have it."""
        return self.context.created.strftime("%Y-%m-%d %H:%M %Z").strip()

    def by_label(self) -> Mapping[str, Seen]:
        """Labels that any image was read for."""
        seen: dict[str, list[tuple[str, Finding]]] = {}
        for name, reading in zip(self.names, self.readings, strict=True):
            for finding in reading.findings:
                seen.setdefault(finding.label, []).append((name, finding))
        return {label: Seen(findings=tuple(found)) for label, found in seen.items()}

    def places(self, label: str) -> list[str]:
        """Name the images on which a label is present."""
        return [
            name for name, finding in self.by_label()[label].findings if finding.presence is Presence.PRESENT
        ]


@dataclass(frozen=True, kw_only=True)
class _Column:
    """One column: a finding per label, and for the strongest of many images, where it was."""

    title: str
    findings: Mapping[str, Finding]
    places: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """Where the columns are."""

    strip: Strip
    names: int
    cell: int
    #: the longest number in it
    widest: str
    tr: Translator

    def column(self, place: int) -> int:
        """First x of a column."""
        return self.strip.left + self.names + place * self.cell


def table(page: Page, y: int, content: Content, strip: Strip) -> int:
    """Write the table and what is needed to read it; return the y below.

    Present findings come first, by urgency and score; then undetermined, then absent ones, by score.
    """
    tr = content.tr
    columns = _columns(content)
    labels = _ordered(content)
    widest = 290 if strip.width // len(columns) > 400 else 200
    names = 44 + max(
        text_width(line, _TEXT, bold=True)
        for label in labels
        for line in wrap(wording.human_label(label, tr), _TEXT, widest, bold=True)
    )
    numbers = [_number(finding, tr) for column in columns for finding in column.findings.values()]
    grid = _Grid(
        strip=strip,
        names=names,
        cell=(strip.width - names) // len(columns),
        widest=max(numbers, key=len, default=""),
        tr=tr,
    )
    page.word((strip.left + 20, y + 12), tr("Finding"), _TEXT, anchor="lm", bold=True)
    for place, column in enumerate(columns):
        page.word((grid.column(place), y + 12), column.title, _TEXT, anchor="lm", bold=True)
    y += 27
    page.box((strip.left, y, strip.right, y + 1), LINE)
    y += 2
    for label in labels:
        y = _row(page, y, label, columns, grid)
    page.box((strip.left, y + 2, strip.right, y + 3), LINE)
    return page.text((strip.left, y + 8), _note(content), _SMALL, strip.width, fill=DIM)


def _columns(content: Content) -> list[_Column]:
    seen = content.by_label()
    if len(content.readings) > MOST_COLUMNS:
        strongest = {label: each.strongest() for label, each in seen.items()}
        places = {
            label: next(name for name, finding in each.findings if finding is strongest[label])
            for label, each in seen.items()
        }
        title = content.tr.plural(
            "strongest of {count} image", "strongest of {count} images", len(content.names)
        )
        return [_Column(title=title, findings=strongest, places=places)]
    return [
        _Column(title=name, findings={finding.label: finding for finding in reading.findings}, places={})
        for name, reading in zip(content.names, content.readings, strict=True)
    ]


def _ordered(content: Content) -> list[str]:
    """All labels of the model, and any other that an image was read for."""
    seen = content.by_label()
    unseen = [label for label in content.algorithm.labels if label not in seen]
    return [*sorted(seen, key=lambda label: page_order(seen[label].strongest())), *unseen]


def _note(content: Content) -> str:
    tr, algorithm = content.tr, content.algorithm
    site = wording.site_of(algorithm)
    if algorithm.calibration is None:
        bar = tr("Bar: score 0…1 (uncalibrated, not a probability). White mark: threshold.")
    elif wording.is_wholly_calibrated(algorithm):
        bar = tr("Bar: probability 0…1 (calibrated at {site}). White mark: threshold.", site=site)
    else:
        bar = tr(
            "Bar: with p, probability 0…1 (calibrated at {site}); without, score 0…1 (uncalibrated, not a "
            "probability). White mark: threshold.",
            site=site,
        )
    order = tr("Order: above threshold by urgency as listed in the software, others by score.")
    return f"{bar} {order} {tr(wording.NOT_EXCLUDED)}"


def _row(page: Page, y: int, label: str, columns: list[_Column], grid: _Grid) -> int:
    strip = grid.strip
    findings = [column.findings[label] for column in columns if label in column.findings]
    present = any(finding.presence is Presence.PRESENT for finding in findings)
    name = wording.human_label(label, grid.tr)
    room = grid.names - 36
    lines = len(wrap(name, _TEXT, room, bold=present))
    bottom = y + ROW + (lines - 1) * 20
    middle = (y + bottom) // 2
    if present:
        page.box((strip.left, y + 1, strip.right, bottom), PANEL)
        page.box((strip.left, y + 1, strip.left + 6, bottom), AMBER)
    top = middle - lines * 11
    page.text((strip.left + 20, top), name, _TEXT, room, bold=present, fill=INK if present else DIM)
    for place, column in enumerate(columns):
        if label in column.findings:
            at = (grid.column(place), middle)
            _bar(page, at, column.findings[label], column.places.get(label, ""), grid)
    return bottom


def _number(finding: Finding, tr: Translator) -> str:
    number = wording.score_number(finding, tr)
    return number if finding.probability is None else f"p {number}"


def _bar(page: Page, at: tuple[int, int], finding: Finding, place: str, grid: _Grid) -> None:
    """Draw the score as a bar with a mark at the threshold, the number and the word beside it."""
    x, middle = at
    room = grid.cell - 20
    say = partial(wording.presence_text, tr=grid.tr, short=room < _ROOMY)
    said = f"{_number(finding, grid.tr)}  {say(finding.presence)}" + (f" · {place}" if place else "")
    longest = max(text_width(f"{grid.widest}  {say(each)}", _SMALL, bold=True) for each in Presence)
    bar = room - longest - 10 - (150 if place else 0)
    fill, ink = {
        Presence.PRESENT: (AMBER, INK),
        Presence.ABSENT: (_BELOW, DIM),
        Presence.UNDETERMINED: (LINE, DIM),
    }[finding.presence]
    page.box((x, middle - 6, x + bar, middle + 6), _TRACK)
    page.box((x, middle - 6, x + max(1, round(bar * finding.stated)), middle + 6), fill)
    mark = x + round(bar * finding.stated_threshold)
    page.box((mark - 1, middle - 9, mark + 2, middle + 9), INK)
    bold = finding.presence is Presence.PRESENT
    page.word((x + bar + 10, middle), said, _SMALL, anchor="lm", bold=bold, fill=ink)
