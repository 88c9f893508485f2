"""The words of the captures, in one place: what a radiologist reads, in the language of a rendition."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

from pydicom.dataset import Dataset

from mcads_node.finding import COMBINED, GRAD_CAM, PLI, Algorithm, Finding, Heatmap, Presence
from mcads_node.instance import ModelGeometry, Verdict, View
from mcads_node.report.sentences import sentence
from mcads_node.report.translation import ENGLISH, N_, Translator, languages, translator
from mcads_node.result import ImageReading, ReportContext

__all__ = ["ENGLISH", "Translator", "languages", "translator"]

BRAND: Final = "MCADS AI"
UNVERIFIED: Final = N_("AI result for research use — not verified")
NOT_NORMAL: Final = N_("This is not a normal report: the model knows only the findings listed.")
NOT_EXCLUDED: Final = N_("What is below threshold, or not listed, is not excluded.")
NOTHING_CLAIMED: Final = N_("The input is not fit for the model: no presence is claimed.")
ON_REQUEST: Final = N_("not positive: shown on request")
ON_REQUEST_UNDETERMINED: Final = N_("undetermined: shown on request")
EMPTY_MAP: Final = N_("The map is empty: nothing in the image speaks for this finding.")
_EMPTY_COMBINED: Final = N_("The map is empty: nothing in the image speaks for these findings.")
_ALL_FINDINGS: Final = N_("All findings above threshold")

#: what the manifests of the shipped models say; of any other model, its caution is shown as it was written
CAUTIONS: Final = (N_("DEMONSTRATION MODEL — NOT FOR CLINICAL USE"),)
#: how a method is called by those who know it
_METHODS: Final = {
    GRAD_CAM: "Grad-CAM",
    COMBINED: N_("Grad-CAM, summed by score"),
    PLI: N_("PLI (guided backpropagation, SmoothGrad)"),
}
_VIEWS: Final = {
    View.LATERAL: N_("LATERAL"),
    View.OTHER: N_("OTHER"),
    View.UNKNOWN: N_("VIEW UNKNOWN"),
}
_PRESENCES: Final = {
    Presence.PRESENT: N_("above threshold"),
    Presence.ABSENT: N_("below threshold"),
    Presence.UNDETERMINED: N_("undetermined"),
}
_PRESENCES_SHORT: Final = {
    Presence.PRESENT: N_("above"),
    Presence.ABSENT: N_("below"),
    Presence.UNDETERMINED: N_("undet."),
}


def human_label(label: str, tr: Translator = ENGLISH) -> str:
    """Write a model's label as a radiologist would: ``Pleural_Thickening`` becomes ``Pleural thickening``."""
    words = [word if word.isupper() else word.lower() for word in label.replace("_", " ").split()]
    text = " ".join(words)
    return tr(text[:1].upper() + text[1:])


def method_name(method: str, tr: Translator = ENGLISH) -> str:
    """Name of an explanation method."""
    return tr(_METHODS.get(method, method))


def presence_text(presence: Presence, tr: Translator = ENGLISH, *, short: bool = False) -> str:
    """Say where a score lies."""
    return tr((_PRESENCES_SHORT if short else _PRESENCES)[presence])


def verdict_text(verdict: Verdict, tr: Translator = ENGLISH) -> str:
    """Say how bad it is what a check found."""
    return tr("Undetermined") if verdict is Verdict.UNDETERMINED else tr("Warning")


def short_caution(algorithm: Algorithm, tr: Translator = ENGLISH) -> str:
    """First clause of the model's caution, up to a dash: for LO, where 64 characters must hold more."""
    return tr(algorithm.caution).partition(" — ")[0]


def threshold_number(finding: Finding, tr: Translator = ENGLISH) -> str:
    """Write a threshold as it is, on the scale of `score_number`, with up to four digits."""
    exact = f"{finding.stated_threshold:.4f}".rstrip("0")
    return tr.number(finding.stated_threshold, max(2, len(exact) - len("0.")))


def score_number(finding: Finding, tr: Translator = ENGLISH) -> str:
    """Write the probability, or the score where there is none, on its own side of the threshold as written.

    With two digits; a probability whose threshold is small, with three or four.
    """
    threshold = float(threshold_number(finding))
    below = finding.score < finding.threshold
    fewest = 2 if finding.probability is None or threshold >= 0.1 else 3 if threshold >= 0.01 else 4
    for digits in range(fewest, 5):
        unit = 10**digits
        shown = round(finding.stated, digits)
        if below and shown >= threshold:
            shown = math.floor(finding.stated * unit) / unit
        elif not below and shown < threshold:
            shown = math.ceil(finding.stated * unit) / unit
        if below == (shown < threshold):
            break
    return tr.number(shown, digits)


def unread_texts(context: ReportContext, tr: Translator = ENGLISH) -> list[str]:
    """Say why images were not read: each reason once, with the number of images where it is more than one."""
    counts = Counter(sentence(reason, tr) for reason in context.unread)
    return [
        said if count == 1 else f"{said} ({tr.plural('{count} image', '{count} images', count)})"
        for said, count in counts.items()
    ]


def score_text(finding: Finding, algorithm: Algorithm, tr: Translator = ENGLISH) -> str:
    """Score and threshold, or probability and who calibrated it; a score is never called a probability."""
    said = {"score": score_number(finding, tr), "threshold": threshold_number(finding, tr)}
    if finding.probability is None:
        return tr("score {score} (threshold {threshold}), uncalibrated", **said)
    site = site_of(algorithm)
    return tr("probability {score} (threshold {threshold}), calibrated at {site}", site=site, **said)


def scores_text(heatmap: Heatmap, algorithm: Algorithm, tr: Translator = ENGLISH) -> str:
    """Score and threshold of what a map is of; of a combined one, of each finding by its name."""
    if not heatmap.combined:
        return score_text(heatmap.finding, algorithm, tr)
    each = (f"{human_label(of.label, tr)}: {score_text(of, algorithm, tr)}" for of in heatmap.combined)
    return "; ".join(each)


def site_of(algorithm: Algorithm) -> str:
    """Who calibrated the algorithm; empty: nobody did."""
    return algorithm.calibration.site if algorithm.calibration else ""


def is_wholly_calibrated(algorithm: Algorithm) -> bool:
    """Whether every label of the model has a probability."""
    mark = algorithm.calibration
    return mark is not None and set(algorithm.labels) <= set(mark.labels)


def model_text(algorithm: Algorithm) -> str:
    """Name and version of the model."""
    return f"{algorithm.name} {algorithm.version}"


def source_text(header: Dataset, tr: Translator = ENGLISH) -> str:
    """Which image of the study is meant, by its numbers: no identity of a patient."""
    series, image = header.get("SeriesNumber"), header.get("InstanceNumber")
    parts = []
    if series is not None and str(series).strip():
        parts.append(tr("series {number}", number=series))
    if image is not None and str(image).strip():
        parts.append(tr("image {number}", number=image))
    return ", ".join(parts) or tr("number unknown")


def field_text(geometry: ModelGeometry, tr: Translator = ENGLISH) -> str:
    """Say which part of the image the model saw; empty where it saw all of it."""
    rows = {"first": geometry.top + 1, "last": geometry.top + geometry.side, "all": geometry.rows}
    columns = {"first": geometry.left + 1, "last": geometry.left + geometry.side, "all": geometry.columns}
    # one of the two, or both: a crop of a non-square image is cut in one direction only
    parts = []
    if geometry.side < geometry.rows:
        parts.append(tr("The model saw only rows {first}–{last} of {all}", **rows))
    if geometry.side < geometry.columns:
        parts.append(tr("The model saw only columns {first}–{last} of {all}", **columns))
    return "; ".join(parts)


def heatmap_title(heatmap: Heatmap, tr: Translator = ENGLISH) -> str:
    """Name what the map is of, and what is claimed about it."""
    if heatmap.combined:
        return tr(_ALL_FINDINGS)
    title = human_label(heatmap.finding.label, tr)
    if not heatmap.positive:
        return f"{title} — {request_text(heatmap.finding, tr)}"
    undetermined = heatmap.finding.presence is Presence.UNDETERMINED
    return f"{title} — {presence_text(Presence.UNDETERMINED, tr)}" if undetermined else title


def empty_text(heatmap: Heatmap, tr: Translator = ENGLISH) -> str:
    """Say why there is nothing to be seen in a map."""
    return tr(_EMPTY_COMBINED if heatmap.combined else EMPTY_MAP)


def request_text(finding: Finding, tr: Translator = ENGLISH) -> str:
    """Say why there is a map of a finding that is not positive."""
    return tr(ON_REQUEST_UNDETERMINED if finding.presence is Presence.UNDETERMINED else ON_REQUEST)


def derivation_text(heatmap: Heatmap, algorithm: Algorithm, tr: Translator = ENGLISH) -> str:
    """Say how a heatmap came to be, for those who read attributes: at most 1024 characters."""
    # names alone: with their scores, all findings of a model would not leave room for the rest
    names = ", ".join(human_label(finding.label, tr) for finding in heatmap.combined)
    parts = (
        tr(algorithm.caution),
        f"{method_name(heatmap.method, tr)}: {heatmap_title(heatmap, tr)}",
        names or score_text(heatmap.finding, algorithm, tr),
        field_text(heatmap.geometry, tr),
        model_text(algorithm),
        tr(UNVERIFIED),
    )
    return "; ".join(filter(None, parts))[:1024]


def summary_derivation_text(readings: Sequence[ImageReading], tr: Translator = ENGLISH) -> str:
    """Say what a summary page is and says, for those who read attributes."""
    parts = (tr("Summary page"), f"{BRAND} — {headline(readings, tr)}", tr(UNVERIFIED))
    return "; ".join(parts)[:1024]


def present_labels(readings: Sequence[ImageReading]) -> set[str]:
    """Labels that are present on any image."""
    return {
        finding.label
        for reading in readings
        for finding in reading.findings
        if finding.presence is Presence.PRESENT
    }


def is_undetermined(reading: ImageReading) -> bool:
    """Whether nothing is claimed of an image."""
    return all(finding.presence is Presence.UNDETERMINED for finding in reading.findings)


def headline(readings: Sequence[ImageReading], tr: Translator = ENGLISH) -> str:
    """Say the result in one line, which must be read in a thumbnail too."""
    count = len(present_labels(readings))
    if count:
        return tr.plural("{count} finding above threshold", "{count} findings above threshold", count)
    if all(is_undetermined(reading) for reading in readings):
        return tr("Undetermined")
    return tr("No finding above threshold")


def image_names(readings: Sequence[ImageReading], tr: Translator = ENGLISH) -> list[str]:
    """Name each image by its view; images of one view are numbered."""
    views = [reading.view for reading in readings]
    names: list[str] = []
    for position, view in enumerate(views):
        name = tr(_VIEWS.get(view, view.value))
        names.append(f"{name} {views[: position + 1].count(view)}" if views.count(view) > 1 else name)
    return names


def shown_finding(reading: ImageReading) -> Finding | None:
    """Which finding the heatmap in the thumbnail is of; None where it is of none, or of all."""
    return next((finding for finding in reading.findings if finding.label == reading.shown), None)


def shown_text(reading: ImageReading, tr: Translator = ENGLISH) -> str:
    """Say which image a thumbnail is of, and which heatmap is drawn in it."""
    finding = shown_finding(reading)
    if reading.shown == COMBINED:
        shown = tr("heatmap: {finding}", finding=tr(_ALL_FINDINGS))
    elif finding is None:
        shown = tr("no heatmap")
    else:
        shown = tr("heatmap: {finding}", finding=human_label(finding.label, tr))
        if finding.presence is not Presence.PRESENT:
            shown += f" ({request_text(finding, tr)})"
    return f"{source_text(reading.header, tr)} · {shown}"


def shows_heatmap(reading: ImageReading) -> bool:
    """Whether a heatmap is drawn in the thumbnail."""
    return reading.shown == COMBINED or shown_finding(reading) is not None


def anatomy_text(reading: ImageReading, tr: Translator = ENGLISH) -> str:
    """Say what automatic masks tell of one image, or why nothing; empty where no model was asked.

    It is a measurement and no finding: nothing is said of what it means.
    """
    anatomy = reading.anatomy
    if anatomy is None:
        return ""
    if anatomy.cardiothoracic_ratio is None:
        reasons = " ".join(sentence(reason, tr) for reason in anatomy.refusals)
        return tr("No cardiothoracic ratio: {reason}", reason=reasons)
    ratio = tr("Cardiothoracic ratio {ratio}", ratio=tr.number(anatomy.cardiothoracic_ratio))
    about = [tr("from automatic masks of {model}, not verified", model=anatomy.algorithm.name)]
    if reading.view is View.AP:
        about.append(tr("the AP view magnifies the heart"))
    if anatomy.algorithm.caution:
        about.append(tr(anatomy.algorithm.caution))
    return f"{ratio} ({'; '.join(about)})"


def revision_text(context: ReportContext, tr: Translator = ENGLISH) -> str:
    """Say which report of the study this is; empty for the first."""
    if context.revision == 1:
        return ""
    if context.predecessor is None:
        return tr("Revised report {number}", number=context.revision)
    replaced = context.predecessor[1]
    return tr(
        "Revised report {number}, replaces report {replaced}", number=context.revision, replaced=replaced
    )
