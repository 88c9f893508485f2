"""Identity of results: UIDs that follow from what went in, series numbers and descriptions.

Every UID is derived (PS3.5 annex B.2: the 2.25 arc over a UUID), none is drawn at random: a study that is
sent again, or a worker that dies and is started again, cannot make a second report with another identity.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from pydicom.dataset import Dataset

from mcads_node.finding import COMBINED, PLI, Algorithm
from mcads_node.result import ObjectKind, Rendition, ReportContext

__all__ = [
    "ANATOMY",
    "SERIES_NUMBER",
    "beside",
    "derive_uid",
    "object_uid",
    "revision_number",
    "series_description",
    "series_uid",
    "stamp_series",
    "told_apart",
    "tracking_uid",
]

#: name space of all UIDs of the node; changing it makes every result a new one
_NAMESPACE: Final = uuid.UUID("8fe3a477-0e6f-4d4f-9728-7051a3e71849")

#: Series Number (0020,0011) by kind; a high block, clear of what modalities count up from 1
SERIES_NUMBER: Final[Mapping[ObjectKind, int]] = MappingProxyType(
    {
        ObjectKind.SR: 9901,
        ObjectKind.SUMMARY: 9902,
        ObjectKind.HEATMAP: 9903,
        ObjectKind.BASIC_TEXT_SR: 9904,
        ObjectKind.GSPS: 9905,
        ObjectKind.KOS: 9906,
        ObjectKind.PDF: 9907,
        ObjectKind.SEG: 9908,
    }
)

#: method of a segmentation of structures, which is no explanation
ANATOMY: Final = "anatomy"
#: Series Number and word of the description, by the method of objects that have a series of their own; 9909
#: is that of rejection notes
_OF_METHOD: Final[Mapping[str, tuple[int, str]]] = MappingProxyType(
    {COMBINED: (9910, "combined maps"), PLI: (9911, "pixel maps"), ANATOMY: (9912, "anatomy")}
)

#: bytes of LO: it has 64 characters, and some readers count bytes
_LO: Final = 64

_SERIES_WORD: Final[Mapping[ObjectKind, str]] = MappingProxyType(
    {
        ObjectKind.SR: "report",
        ObjectKind.SUMMARY: "summary",
        ObjectKind.HEATMAP: "heatmaps",
        ObjectKind.BASIC_TEXT_SR: "text report",
        ObjectKind.GSPS: "contours",
        ObjectKind.KOS: "positive images",
        ObjectKind.PDF: "PDF",
        ObjectKind.SEG: "segmentation",
    }
)


def derive_uid(*parts: str) -> str:
    """Derive a UID from texts.

    Parameters
    ----------
    *parts: str
        What the UID follows from. Each is written with its length before it, so that ``("ab", "c")`` and
        ``("a", "bc")`` are different.

    Returns
    -------
    str
        A valid UID of the 2.25 arc, at most 44 characters; equal for equal parts, on any machine.
    """
    joined = "".join(f"{len(part)}:{part}," for part in parts)
    return f"2.25.{uuid.uuid5(_NAMESPACE, joined).int}"


def series_uid(study_uid: str, kind: ObjectKind, algorithm: Algorithm, detail: str = "") -> str:
    """Return the Series Instance UID: one per study, kind of object, model version, and what else differs."""
    return derive_uid("series", study_uid, kind.value, *_version_parts(algorithm), *filter(None, [detail]))


def told_apart(rendition: Rendition, context: ReportContext, *details: str) -> str:
    """Join what tells an object from its siblings: its own details, its rendition, and who makes it."""
    return "/".join(filter(None, (*details, rendition.variant, context.installation)))


def beside(algorithms: Iterable[Algorithm]) -> str:
    """Name the models that speak in an object besides the one that reads; empty: there are none.

    Their Device UIDs stand for name, version and weights.
    """
    return "+".join(sorted({algorithm.device_uid for algorithm in algorithms}))


def object_uid(
    kind: ObjectKind,
    source_uids: Sequence[str],
    algorithm: Algorithm,
    thresholds: Mapping[str, float],
    detail: str = "",
    revision: int = 1,
) -> str:
    """Return the SOP Instance UID of a result.

    Parameters
    ----------
    kind: ObjectKind
        SR, summary page or heatmap.
    source_uids: Sequence[str]
        SOP Instance UIDs of all images it speaks of, in any order.
    algorithm: Algorithm
        In exactly this version.
    thresholds: Mapping[str, float]
        Threshold by label, 0…1; another threshold is another result.
    detail: str
        What else tells this object from its siblings, such as the label of a heatmap; from `told_apart`.
    revision: int
        1 for a study's first report.
    """
    return derive_uid(
        "object",
        kind.value,
        detail,
        str(revision),
        *_version_parts(algorithm),
        str(len(source_uids)),
        *sorted(source_uids),
        *(f"{label}={float(thresholds[label])!r}" for label in sorted(thresholds)),
    )


def tracking_uid(source_uid: str, label: str, algorithm: Algorithm) -> str:
    """Return the Tracking Unique Identifier (112040, DCM) of a label on an image, equal in every revision."""
    return derive_uid("tracking", source_uid, label, *_version_parts(algorithm))


def series_description(kind: ObjectKind, algorithm: Algorithm, own: str = "", method: str = "") -> str:
    """Return the Series Description (0008,103E), with the model's caution where it cannot be cut off.

    Parameters
    ----------
    kind: ObjectKind
        Of the objects in the series.
    algorithm: Algorithm
        Its caution and its name are told.
    own: str
        What a site calls the series; empty: the node's own words.
    method: str
        Of explanation; one whose heatmaps have a series of their own is told.
    """
    _, told = _OF_METHOD.get(method, (0, ""))
    if own:
        return _cut(" ".join(filter(None, (algorithm.caution, own, told))))
    word, caution = told or _SERIES_WORD[kind], algorithm.caution
    # the caution is never cut: for a long one the name goes, then the brand, and at last it stands first
    orders = (
        ("MCADS AI", word, caution, f"({algorithm.name})"),
        ("MCADS AI", word, caution),
        ("AI", word, caution),
        (caution, word),
    )
    texts = [" ".join(filter(None, order)) for order in orders]
    return next((text for text in texts if text == _cut(text)), _cut(texts[-1]))


def _cut(text: str) -> str:
    return text.encode()[:_LO].decode(errors="ignore").rstrip()


def revision_number(context: ReportContext) -> int:
    """Return the Instance Number (0020,0013) of what is made anew with each revision; IS holds no more."""
    return min(context.revision, 2**31 - 1)


def stamp_series(
    made: Dataset, rendition: Rendition, algorithm: Algorithm, context: ReportContext, method: str = ""
) -> None:
    """Write UID, number and description of the series that an object of a rendition belongs to.

    Parameters
    ----------
    made: pydicom.dataset.Dataset
        Has its Study Instance UID and its dates already. Images of one study may tell their times in
        different zones; a series has one Series Time, so each zone has a series of its own.
    rendition: Rendition
        Kind, and what a destination wants of its series.
    algorithm: Algorithm
        In exactly this version.
    context: ReportContext
        Which installation of the node makes it; another one has other times.
    method: str
        Of explanation: maps of another kind than Grad-CAM of one finding have a series for each method.
    """
    kind, number = rendition.kind, rendition.series_number
    own_number, _ = _OF_METHOD.get(method, (SERIES_NUMBER[kind], ""))
    apart = method if method in _OF_METHOD else ""
    zone = str(made.get("TimezoneOffsetFromUTC") or "")
    told = "/".join(filter(None, (rendition.variant, zone, context.installation, apart)))
    made.SeriesInstanceUID = series_uid(str(made.StudyInstanceUID), kind, algorithm, told)
    made.SeriesNumber = own_number if number is None else number
    made.SeriesDescription = series_description(kind, algorithm, rendition.series_description, method)


def _version_parts(algorithm: Algorithm) -> tuple[str, ...]:
    """Everything of an algorithm that changes what an object says."""
    mark = algorithm.calibration
    calibration = "uncalibrated" if mark is None else f"calibrated {mark.digest}"
    return (
        algorithm.name,
        algorithm.version,
        algorithm.weights_digest,
        algorithm.device_uid,
        algorithm.caution,
        calibration,
    )
