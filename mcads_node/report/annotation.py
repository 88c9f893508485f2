"""What objects that mark regions of one image have in common: presentation states and segmentations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydicom.dataset import Dataset

from mcads_node.errors import ReportImpossible
from mcads_node.finding import Algorithm, Heatmap
from mcads_node.instance import Radiograph
from mcads_node.report import identity, source, wording
from mcads_node.report.making import Making, begin_object
from mcads_node.report.translation import N_
from mcads_node.report.urgency import page_order
from mcads_node.result import Rendition, ReportContext

#: what a marked region is, and what it is not
MEANING: Final = N_("Where the model looked ({method}), NOT the outline of a lesion")
#: the same in half of the 64 characters that LO has, since a caution comes before it
_MEANING_SHORT: Final = N_("{method} area, NOT a lesion outline")
#: Content Label (0070,0080): how viewers list an object
LABEL: Final = "MCADS AI"

_LARGEST_IS: Final = 2**31 - 1


def in_order(radiograph: Radiograph, heatmaps: Sequence[Heatmap]) -> tuple[Heatmap, ...]:
    """Sort heatmaps as a page sorts their findings.

    Raises
    ------
    ReportImpossible
        One of them is of another image.
    """
    for heatmap in heatmaps:
        geometry = heatmap.geometry
        if (geometry.rows, geometry.columns) != radiograph.pixels.shape:
            raise ReportImpossible(f"the heatmap is of a {geometry.rows} × {geometry.columns} image")
    return tuple(sorted(heatmaps, key=_key))


def _key(heatmap: Heatmap) -> tuple[object, ...]:
    return *page_order(heatmap.finding), heatmap.finding.label, heatmap.method


def making_of(
    header: Dataset,
    heatmaps: Sequence[Heatmap],
    algorithm: Algorithm,
    context: ReportContext,
    rendition: Rendition,
) -> Making:
    """Give the object its identity: of its image, the findings it marks, its maker and its rendition."""
    claims = (
        "/".join((each.finding.label, each.method, str(each.positive), each.finding.presence))
        for each in heatmaps
    )
    uid = identity.object_uid(
        rendition.kind,
        [header.SOPInstanceUID],
        algorithm,
        {each.finding.label: each.finding.threshold for each in heatmaps},
        # not by `told_apart`, whose UIDs these never were
        detail=";".join((*claims, rendition.variant, context.installation)),
    )
    return Making(rendition=rendition, sop_instance_uid=uid, algorithm=algorithm, context=context)


def annotation(header: Dataset, making: Making, sop_class_uid: str, modality: str) -> Dataset:
    """Begin an object: patient, study, series, equipment, times, and what viewers list it by.

    Parameters
    ----------
    header: pydicom.dataset.Dataset
        Of the source, from `referable_header`.
    making: Making
        From `making_of`.
    sop_class_uid: str
        Of the object.
    modality: str
        As the SOP class demands it.
    """
    made = begin_object(header, making, sop_class_uid, modality)
    source.copy_request_attributes(header, made)
    made.BodyPartExamined = "CHEST"
    made.InstanceNumber = instance_number(header)
    made.ContentLabel = LABEL
    made.ContentCreatorName = ""
    return made


def instance_number(header: Dataset) -> int:
    """Give the source's Instance Number, so that both stand at the same place of their series; at least 1."""
    value = header.get("InstanceNumber")
    return max(1, min(abs(int(value)), _LARGEST_IS)) if isinstance(value, int) else 1


def meaning(heatmap: Heatmap, making: Making) -> str:
    """Say what the region of a heatmap is, and what it is not."""
    return making.tr(MEANING, method=wording.method_name(heatmap.method))


def content_description(heatmap: Heatmap, making: Making) -> str:
    """Say the same in one line, after the model's caution."""
    said = making.tr(_MEANING_SHORT, method=wording.method_name(heatmap.method))
    return line(wording.short_caution(making.algorithm, making.tr), said)


def line(*words: str) -> str:
    """Join words to a text that LO holds: 64 characters, cut to as many bytes, which some readers count."""
    text = " ".join(word for word in words if word).replace("\\", "/")
    return text.encode()[:64].decode(errors="ignore").rstrip()
