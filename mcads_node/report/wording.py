"""The words of the captures, in one place: what a radiologist reads."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from mcads_node.finding import Algorithm, Finding, Heatmap, Presence
from mcads_node.instance import ModelGeometry, View
from mcads_node.result import ImageReading, ReportContext

UNVERIFIED = "AI result for research use — not verified"
NOT_NORMAL = "This is not a normal report: the model knows only the findings listed."
NOT_EXCLUDED = "What is below threshold, or not listed, is not excluded."
NOTHING_CLAIMED = "The input is not fit for the model: no presence is claimed."
ON_REQUEST = "not positive: shown on request"
ON_REQUEST_UNDETERMINED = "undetermined: shown on request"

#: how a method is called by those who know it
_METHODS = {"grad-cam": "Grad-CAM"}


def human_label(label: str) -> str:
    """Write a model's label as a radiologist would: ``Pleural_Thickening`` becomes ``Pleural thickening``."""
    words = [word if word.isupper() else word.lower() for word in label.replace("_", " ").split()]
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def method_name(method: str) -> str:
    """Name of an explanation method."""
    return _METHODS.get(method, method)


def score_text(finding: Finding, algorithm: Algorithm) -> str:
    """Score, threshold, and whether it is calibrated; an uncalibrated score is never called a probability."""
    kind = "calibrated" if algorithm.calibrated else "uncalibrated"
    return f"score {finding.score:.2f} (threshold {finding.threshold:.2f}), {kind}"


def model_text(algorithm: Algorithm) -> str:
    """Name and version of the model."""
    return f"{algorithm.name} {algorithm.version}"


def source_text(header: Dataset) -> str:
    """Which image of the study is meant, by its numbers: no identity of a patient."""
    parts = (("series", header.get("SeriesNumber")), ("image", header.get("InstanceNumber")))
    numbers = [f"{word} {value}" for word, value in parts if value is not None and str(value).strip()]
    return ", ".join(numbers) or "number unknown"


def field_text(geometry: ModelGeometry) -> str:
    """Say which part of the image the model saw; empty where it saw all of it."""
    parts = (("rows", geometry.top, geometry.rows), ("columns", geometry.left, geometry.columns))
    seen = [
        f"{word} {first + 1}–{first + geometry.side} of {all_of_them}"
        for word, first, all_of_them in parts
        if geometry.side < all_of_them
    ]
    return f"The model saw only {' and '.join(seen)}" if seen else ""


def heatmap_title(heatmap: Heatmap) -> str:
    """Name what the map is of, and what is claimed about it."""
    title = human_label(heatmap.finding.label)
    undetermined = heatmap.finding.presence is Presence.UNDETERMINED
    if heatmap.positive:
        return f"{title} — undetermined" if undetermined else title
    return f"{title} — {request_text(heatmap.finding)}"


def request_text(finding: Finding) -> str:
    """Say why there is a map of a finding that is not positive."""
    return ON_REQUEST_UNDETERMINED if finding.presence is Presence.UNDETERMINED else ON_REQUEST


def derivation_text(heatmap: Heatmap, algorithm: Algorithm) -> str:
    """Say how a heatmap came to be, for those who read attributes: at most 1024 characters."""
    parts = (
        algorithm.caution,
        f"{method_name(heatmap.method)} of {heatmap_title(heatmap)}",
        score_text(heatmap.finding, algorithm),
        field_text(heatmap.geometry),
        model_text(algorithm),
        UNVERIFIED,
    )
    return "; ".join(filter(None, parts))[:1024]


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


def headline(readings: Sequence[ImageReading]) -> str:
    """Say the result in one line, which must be read in a thumbnail too."""
    count = len(present_labels(readings))
    if count:
        return f"MCADS AI — {count} finding{'s' if count > 1 else ''} above threshold"
    if all(is_undetermined(reading) for reading in readings):
        return "MCADS AI — undetermined"
    return "MCADS AI — no finding above threshold"


def image_names(readings: Sequence[ImageReading]) -> list[str]:
    """Name each image by its view; images of one view are numbered."""
    views = [reading.view.value for reading in readings]
    names: list[str] = []
    for position, view in enumerate(views):
        name = "VIEW UNKNOWN" if view == View.UNKNOWN else view
        names.append(f"{name} {views[: position + 1].count(view)}" if views.count(view) > 1 else name)
    return names


def shown_finding(reading: ImageReading) -> Finding | None:
    """Which finding the thumbnail's heatmap is of: the strongest present one, or the one asked for."""
    if not reading.heatmaps:
        return None
    present = [finding for finding in reading.findings if finding.presence is Presence.PRESENT]
    return max(present or reading.findings, key=lambda finding: finding.score)


def revision_text(context: ReportContext) -> str:
    """Say which report of the study this is; empty for the first."""
    if context.revision == 1:
        return ""
    replaced = f", replaces report {context.predecessor[1]}" if context.predecessor else ""
    return f"Revised report {context.revision}{replaced}"
