"""What the text kinds say: the study's result in sentences, once for the Basic Text SR and the PDF."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mcads_node.finding import Algorithm, Finding, Presence
from mcads_node.instance import Verdict
from mcads_node.report import wording
from mcads_node.report.document import Draft
from mcads_node.report.sentences import sentence
from mcads_node.report.triage_words import study_words
from mcads_node.report.urgency import page_order
from mcads_node.report.wording import Translator
from mcads_node.result import ImageReading

_WORST_FIRST: Final = (Verdict.UNDETERMINED, Verdict.WARN, Verdict.PASS)


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageNarrative:
    """What is said of one image."""

    reading: ImageReading
    #: view, and which of several
    name: str
    #: view with series and image number
    title: str
    #: a sentence per finding that is present, the most urgent first
    present: tuple[str, ...]
    #: all that is undetermined, in one paragraph; may be empty
    undetermined: str
    #: all that is below threshold, in one paragraph; may be empty
    absent: str
    #: what was measured, or why it was not; may be empty
    anatomy: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Narrative:
    """The result of a study, in sentences."""

    headline: str
    #: the model's own caution; may be empty
    caution: str
    #: that it is not verified
    unverified: str
    #: what the headline must not be taken for, how urgent the study is, and which report this replaces
    remarks: tuple[str, ...]
    #: what is wrong with the input, worst first, and what was not read
    warnings: tuple[str, ...]
    images: tuple[ImageNarrative, ...]
    #: how a score is to be read, and what is not excluded
    notes: tuple[str, ...]
    #: name, version, weights
    model: str


def narrative(draft: Draft) -> Narrative:
    """Put a study's result into the words of the rendition's language."""
    tr, readings = draft.tr, draft.readings
    names = wording.image_names(readings, tr)
    return Narrative(
        headline=f"{wording.BRAND} — {wording.headline(readings, tr)}",
        caution=tr(draft.algorithm.caution),
        unverified=tr(wording.UNVERIFIED),
        remarks=_remarks(draft),
        warnings=_warnings(draft, names),
        images=tuple(
            _image(reading, name, draft.algorithm, tr) for reading, name in zip(readings, names, strict=True)
        ),
        notes=(_score_note(draft.algorithm, tr), tr(wording.NOT_EXCLUDED)),
        model=_model(draft.algorithm, tr),
    )


def _remarks(draft: Draft) -> tuple[str, ...]:
    tr, readings = draft.tr, draft.readings
    said = []
    if not wording.present_labels(readings):
        undetermined = all(wording.is_undetermined(reading) for reading in readings)
        said.append(tr(wording.NOTHING_CLAIMED if undetermined else wording.NOT_NORMAL))
    triage = study_words(readings, draft.context, tr)
    said += [triage.text if triage else "", wording.revision_text(draft.context, tr)]
    return tuple(filter(None, said))


def _warnings(draft: Draft, names: list[str]) -> tuple[str, ...]:
    tr = draft.tr
    checks = [
        (check.verdict, name, sentence(check.reason, tr))
        for name, reading in zip(names, draft.readings, strict=True)
        for check in reading.checks
    ]
    checks.sort(key=lambda check: _WORST_FIRST.index(check[0]))
    said = [tr("Input of {image}: {reason}", image=name, reason=reason) for _, name, reason in checks]
    return (
        *said,
        *(tr("Not read: {reason}", reason=said) for said in wording.unread_texts(draft.context, tr)),
    )


def _image(reading: ImageReading, name: str, algorithm: Algorithm, tr: Translator) -> ImageNarrative:
    ordered = sorted(reading.findings, key=page_order)
    by_presence = {
        presence: [finding for finding in ordered if finding.presence is presence] for presence in Presence
    }
    undetermined = _listed(by_presence[Presence.UNDETERMINED], tr)
    absent = _listed(by_presence[Presence.ABSENT], tr)
    return ImageNarrative(
        reading=reading,
        name=name,
        title=f"{name} ({wording.source_text(reading.header, tr)})",
        present=tuple(
            f"{wording.human_label(finding.label, tr)}: {_score(finding, algorithm, tr)}"
            for finding in by_presence[Presence.PRESENT]
        ),
        undetermined=undetermined
        and tr("Undetermined, nothing is claimed: {findings}.", findings=undetermined),
        absent=absent and tr("Below threshold (not excluded): {findings}.", findings=absent),
        anatomy=wording.anatomy_text(reading, tr),
    )


def _score(finding: Finding, algorithm: Algorithm, tr: Translator) -> str:
    numbers = {
        "score": wording.score_number(finding, tr),
        "threshold": wording.threshold_number(finding, tr),
    }
    if finding.probability is None:
        return tr("above threshold, uncalibrated score {score}, threshold {threshold}", **numbers)
    return tr(
        "above threshold, probability {score} (calibrated at {site}), threshold {threshold}",
        site=wording.site_of(algorithm),
        **numbers,
    )


def _listed(findings: list[Finding], tr: Translator) -> str:
    """Name findings with their scores or probabilities; where thresholds differ, with the thresholds too."""
    texts = [
        " ".join(filter(None, (wording.human_label(each.label, tr), _kind(each, tr), number)))
        for each, number in ((finding, wording.score_number(finding, tr)) for finding in findings)
    ]
    thresholds = [wording.threshold_number(finding, tr) for finding in findings]
    if len(set(thresholds)) == 1:
        return ", ".join(texts) + tr(" (threshold of all: {threshold})", threshold=thresholds[0])
    return ", ".join(f"{text} [{threshold}]" for text, threshold in zip(texts, thresholds, strict=True))


def _kind(finding: Finding, tr: Translator) -> str:
    return "" if finding.probability is None else tr("probability")


def _score_note(algorithm: Algorithm, tr: Translator) -> str:
    uncalibrated = tr("Scores lie in 0…1 and are uncalibrated: they are not probabilities.")
    if algorithm.calibration is None:
        return uncalibrated
    site = wording.site_of(algorithm)
    calibrated = tr("Probabilities lie in 0…1 and were calibrated on images of {site}.", site=site)
    return calibrated if wording.is_wholly_calibrated(algorithm) else f"{calibrated} {uncalibrated}"


def _model(algorithm: Algorithm, tr: Translator) -> str:
    return tr(
        "Model {model}, weights SHA-256 {digest}",
        model=wording.model_text(algorithm),
        digest=algorithm.weights_digest,
    )
