"""Reading our objects as their receivers do, to see that they say what was found."""

from __future__ import annotations

import io
from typing import Any

from highdicom.sr import MeasurementReport, srread
from PIL import Image
from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.sr.coding import Code

from mcads_node.errors import ReportImpossible
from mcads_node.finding import Finding
from mcads_node.report import codes


def findings_in(data: bytes) -> dict[str, tuple[Finding, ...]]:
    """Read the findings back from a TID 1500 report of the node's.

    Parameters
    ----------
    data
        Part 10 file.

    Returns
    -------
    dict
        Findings by SOP Instance UID of their image, in the order of the report; scores to five decimals.
        Where the report tells a probability, it does not tell the score: the probability stands for it.

    Raises
    ------
    ReportImpossible
        The bytes are not such a report.
    """
    try:
        content = srread(io.BytesIO(data)).content
        if not isinstance(content, MeasurementReport):
            raise ReportImpossible("its content is not TID 1500")
        groups = content.get_image_measurement_groups()
        found: dict[str, list[Finding]] = {}
        for group in groups:
            finding = _finding(group)
            if finding is not None:
                image = group.source_images[0].referenced_sop_instance_uid
                found.setdefault(str(image), []).append(finding)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ReportImpossible(f"the report cannot be read back: {error}") from error
    return {image: tuple(findings) for image, findings in found.items()}


def picture_in(data: bytes) -> bytes:
    """Give the pixels of one of our secondary captures (Part 10 file) as a PNG.

    Raises
    ------
    ReportImpossible
        The bytes are no such capture.
    """
    picture = io.BytesIO()
    try:
        Image.fromarray(dcmread(io.BytesIO(data)).pixel_array).save(picture, "PNG")
    except (AttributeError, InvalidDicomError, TypeError, ValueError) as error:
        raise ReportImpossible(f"the capture cannot be read back: {error}") from error
    return picture.getvalue()


def _finding(group: Any) -> Finding | None:
    """Read one measurement group; None where it speaks of the input's quality."""
    presences = group.get_qualitative_evaluations(name=codes.PRESENCE)
    if not presences:
        return None
    code = group.finding_type
    label = next(
        each.label
        for each in codes.finding_codes().values()
        if (each.code.value, each.code.scheme_designator) == (code.value, code.scheme_designator)
    )
    presence = next(
        presence for presence, code in codes.PRESENCES.items() if code.value == presences[0].value.value
    )
    score = _fraction(group, codes.PROBABILITY, codes.CERTAINTY_OF_FINDING)
    threshold = _fraction(group, codes.THRESHOLD)
    calibrated = bool(group.get_measurements(name=codes.PROBABILITY))
    return Finding(
        label=label,
        score=score,
        threshold=threshold,
        presence=presence,
        probability=score if calibrated else None,
        probability_threshold=threshold if calibrated else None,
    )


def _fraction(group: Any, *names: Code) -> float:
    measurement = next(found for name in names for found in group.get_measurements(name=name))
    scale = 100.0 if measurement.unit.value == codes.PERCENT.value else 1.0
    return float(measurement.value) / scale
