"""Admit: whether the header lets this be an image the node should analyse at all.

Declined is only what carries positive evidence against it; an attribute that is absent or oddly spelled
declines nothing (BodyPartExamined is free spelling in practice: CHEST, THORAX, TORAX, empty).
"""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
    XRayRadiofluoroscopicImageStorage,
)

from mcads_node import product
from mcads_node.instance import Declined, is_valid_uid
from mcads_node.read.body_part import BODY_PART_SOURCES, CHEST_WORDS, OTHER_PARTS, words_in

#: SOP classes that may hold a chest radiograph for presentation
ANALYSED_SOP_CLASSES = frozenset(
    {
        ComputedRadiographyImageStorage,
        DigitalXRayImageStorageForPresentation,
        SecondaryCaptureImageStorage,
        XRayRadiofluoroscopicImageStorage,
    }
)


def admit(header: Dataset) -> Declined | None:
    """Decide by the header alone whether an image may be analysed.

    Parameters
    ----------
    header
        Data set of the image; pixels are not looked at.

    Returns
    -------
    Declined or None
        None admits the image.
    """
    for check in (_own_output, _uids, _kind_of_object, _pixel_description, _body_part):
        declined = check(header)
        if declined is not None:
            return declined
    return None


def _text(header: Dataset, keyword: str) -> str:
    value = header.get(keyword)
    return "" if value is None else str(value).strip()


def _own_output(header: Dataset) -> Declined | None:
    if product.own_output(header):
        return Declined(reason="it is a result of this product coming back (Manufacturer (0008,0070))")
    return None


def _uids(header: Dataset) -> Declined | None:
    for keyword, tag in (
        ("SOPClassUID", "(0008,0016)"),
        ("SOPInstanceUID", "(0008,0018)"),
        ("StudyInstanceUID", "(0020,000D)"),
        ("SeriesInstanceUID", "(0020,000E)"),
    ):
        value = _text(header, keyword)
        if not value:
            return Declined(reason=f"{keyword} {tag} is absent: a result could not refer to the image")
        if not is_valid_uid(value):
            return Declined(
                reason=f"{keyword} {tag} is {value[:80]!r}, which is not a UID (PS3.5 section 9.1): "
                "a result could not refer to the image"
            )
    return None


def _kind_of_object(header: Dataset) -> Declined | None:
    sop_class = header.SOPClassUID
    intent = _text(header, "PresentationIntentType").upper()
    if sop_class == DigitalXRayImageStorageForProcessing or intent == "FOR PROCESSING":
        return Declined(reason="it is FOR PROCESSING; the model reads images FOR PRESENTATION")
    if sop_class not in ANALYSED_SOP_CLASSES:
        return Declined(
            reason=f"SOP class {sop_class.name} is not a radiograph (expected CR, DX for presentation, "
            "secondary capture or RF)"
        )
    return None


def _pixel_description(header: Dataset) -> Declined | None:
    if "Rows" not in header or "Columns" not in header:
        return Declined(reason="it has no pixels: Rows (0028,0010) and Columns (0028,0011) are absent")
    frames = _text(header, "NumberOfFrames")
    if frames not in {"", "0", "1"}:
        return Declined(reason=f"it has {frames[:12]} frames (0028,0008); a radiograph has one")
    samples = _text(header, "SamplesPerPixel")
    if samples not in {"", "1"}:
        return Declined(reason=f"it is a colour image ({samples[:12]} samples per pixel (0028,0002))")
    return None


def _body_part(header: Dataset) -> Declined | None:
    for keyword in BODY_PART_SOURCES:
        words = words_in(header, keyword)
        if words & CHEST_WORDS:
            return None
        other = sorted(words & OTHER_PARTS)
        if other:
            return Declined(reason=f"{keyword} says {other[0]}; the model reads the chest")
        if words and keyword == "BodyPartExamined":
            return None  # a spelling not known here is no evidence, and what is said elsewhere is weaker
    return None
