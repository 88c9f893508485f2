"""What is said of triage: the level, the reason, and that both are a suggestion; in a rendition's language.

The level never stands alone. That of a study is its most urgent image's; an image without a level comes
before one of the last level (see `decisive`), and every image that the level does not speak for is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mcads_node.finding import Finding
from mcads_node.instance import InputCheck
from mcads_node.report import wording
from mcads_node.report.sentences import sentence
from mcads_node.report.translation import ENGLISH, N_, Translator
from mcads_node.result import ImageReading, ReportContext
from mcads_node.triage_level import LEVELS, Basis, Triage, decisive

SUGGESTION: Final = N_("AI suggestion by the site's rules, not verified; 1 is the most urgent.")
#: rules of the shipped file; of any other, the name is shown as it was written
SHIPPED_RULES: Final = (
    N_("pneumothorax, clearly above its threshold"),
    N_("pneumothorax"),
    N_("acute finding, clearly above its threshold"),
    N_("large heart with fluid"),
    N_("acute finding"),
    N_("finding that matters within days"),
    N_("several findings at once"),
)


@dataclass(frozen=True, kw_only=True)
class TriageWords:
    """What is said of a study's triage."""

    #: None: there is no level
    level: int | None
    #: the level in words
    title: str
    #: what it follows from, and which images it does not speak for
    reason: str
    #: what it is, and is not
    remark: str

    @property
    def text(self) -> str:
        """All of it in one line."""
        return f"{self.title}. {self.reason} {self.remark}"


def study_words(
    readings: Sequence[ImageReading],
    context: ReportContext,
    tr: Translator = ENGLISH,
    most: int | None = None,
) -> TriageWords | None:
    """Say how urgent a study is.

    Parameters
    ----------
    readings
        Its images, in the order in which they are shown.
    context
        What was not read.
    tr
        In which language.
    most
        So many findings are named, and of others the number is told; None: all are named.

    Returns
    -------
    TriageWords or None
        None where no rules of triage are configured.
    """
    found = decisive([reading.triage for reading in readings])
    if found is None:
        return None
    place, chosen = found
    reading, names = readings[place], wording.image_names(readings, tr)
    said = reason_text(chosen, (reading.findings, reading.checks), tr, most)
    others = [
        name
        for name, other in zip(names, readings, strict=True)
        if other is not reading and (other.triage is None or other.triage.level is None)
    ]
    parts = [
        f"{names[place]}: {said}" if len(readings) > 1 else said,
        tr("Without a level: {images}.", images=", ".join(others)) if others else "",
        _unread(context, tr),
    ]
    return TriageWords(
        level=chosen.level,
        title=title_text(chosen, tr),
        reason=" ".join(filter(None, parts)),
        remark=tr(SUGGESTION),
    )


def title_text(triage: Triage, tr: Translator = ENGLISH) -> str:
    """Name the level, as what it is: a suggestion."""
    if triage.level is None:
        return tr("No triage level suggested")
    return tr("Suggested triage level: {level} of {levels}", level=triage.level, levels=LEVELS)


def reason_text(
    triage: Triage,
    read: tuple[Sequence[Finding], Sequence[InputCheck]],
    tr: Translator = ENGLISH,
    most: int | None = None,
) -> str:
    """Say what the triage of an image follows from; `read` are its findings and input checks."""
    findings, checks = read
    reasons = " ".join(dict.fromkeys(sentence(check.reason, tr) for check in checks))
    match triage.basis:
        case Basis.RULE:
            listed = _listed(triage, findings, tr, most)
            return tr("Rule “{rule}”: {findings}.", rule=tr(triage.rule), findings=listed)
        case Basis.OTHER:
            listed = _listed(triage, findings, tr, most)
            return tr("Above threshold, and named by no rule: {findings}.", findings=listed)
        case Basis.NOTHING:
            return tr("No finding is above its threshold by this model, which excludes none.")
        case Basis.WARNED:
            said = tr("No finding is above its threshold by this model, but the input has a warning:")
        case Basis.UNDETERMINED:
            said = tr("Nothing is claimed of this image:")
    return f"{said} {reasons}".strip()


def _listed(triage: Triage, findings: Sequence[Finding], tr: Translator, most: int | None) -> str:
    by_label = {finding.label: finding for finding in findings}
    named = triage.labels[:most]
    texts = [_stated(by_label[label], tr) for label in named]
    more = len(triage.labels) - len(named)
    if more:
        texts.append(tr.plural("{count} more", "{count} more", more))
    return "; ".join(texts)


def _stated(finding: Finding, tr: Translator) -> str:
    """Name a finding with its number; what nobody calibrated is a score, and never a probability."""
    said = {
        "finding": wording.human_label(finding.label, tr),
        "number": wording.score_number(finding, tr),
        "threshold": wording.threshold_number(finding, tr),
    }
    if finding.probability is None:
        return tr("{finding}, score {number} (threshold {threshold})", **said)
    return tr("{finding}, probability {number} (threshold {threshold})", **said)


def _unread(context: ReportContext, tr: Translator) -> str:
    count = len(context.unread)
    return tr.plural("{count} image was not read.", "{count} images were not read.", count) if count else ""
