"""What the anatomy of an image adds to a report: a measurement group (TID 1501), the cardiothoracic ratio.

It is written without highdicom, whose groups are those of findings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydicom.dataset import Dataset

from mcads_node.finding import Algorithm
from mcads_node.report import codes, content_items, wording
from mcads_node.report.identity import tracking_uid
from mcads_node.report.translation import Translator
from mcads_node.result import ImageReading

#: names the measurement in its tracking UID
_LABEL = "cardiothoracic ratio"
#: how it is measured; stands in the report as it is here, as all parameters of algorithms do
_METHOD = (
    "cardiothoracic ratio: from the rightmost to the leftmost point of the heart, through the greatest width "
    "from lung border to lung border at one height"
)


def anatomy_groups(readings: Sequence[ImageReading], names: Sequence[str]) -> list[Dataset]:
    """Write a group for each image that was measured.

    Parameters
    ----------
    readings: Sequence[ImageReading]
        In the order of the report.
    names: Sequence[str]
        What the report calls their images.
    """
    return [
        _group(reading, name, reading.anatomy.algorithm, reading.anatomy.cardiothoracic_ratio)
        for reading, name in zip(readings, names, strict=True)
        if reading.anatomy is not None and reading.anatomy.cardiothoracic_ratio is not None
    ]


def anatomy_remarks(readings: Sequence[ImageReading], names: Sequence[str], tr: Translator) -> Iterator[str]:
    """Say of each image how far its ratio may be trusted, or why there is none."""
    for reading, name in zip(readings, names, strict=True):
        said = wording.anatomy_text(reading, tr)
        if said:
            yield f"{name}: {said}"


def _group(reading: ImageReading, name: str, algorithm: Algorithm, ratio: float) -> Dataset:
    uid = str(reading.header.SOPInstanceUID)
    image = (str(reading.header.SOPClassUID), uid)
    items = [
        content_items.text(codes.TRACKING_IDENTIFIER, f"Cardiothoracic ratio ({name})", "HAS OBS CONTEXT"),
        content_items.uid_reference(
            codes.TRACKING_UID, tracking_uid(uid, _LABEL, algorithm), "HAS OBS CONTEXT"
        ),
        content_items.coded(codes.FINDING_SITE, codes.HEART, "HAS CONCEPT MOD"),
        *_identification(algorithm),
        # a cell of the model's grid is half a hundredth of a thorax
        content_items.number(codes.CARDIOTHORACIC_RATIO, round(ratio, 3), codes.RATIO, "CONTAINS"),
        content_items.reference(image, name=codes.SOURCE_OF_MEASUREMENT),
    ]
    return content_items.container(codes.MEASUREMENT_GROUP, items, template="1501")


def _identification(algorithm: Algorithm) -> Iterator[Dataset]:
    """TID 4019 of the segmentation model, as the report has it of the classifier."""
    parameters = [f"weights SHA-256: {algorithm.weights_digest}", _METHOD]
    if algorithm.caution:
        parameters.append(f"caution: {algorithm.caution}")
    texts = [
        (codes.ALGORITHM_NAME, algorithm.name),
        (codes.ALGORITHM_VERSION, algorithm.version),
        *((codes.ALGORITHM_PARAMETERS, each) for each in parameters),
    ]
    for name, value in texts:
        yield content_items.text(name, value, "HAS CONCEPT MOD")
    yield content_items.coded(codes.ALGORITHM_FAMILY, codes.ARTIFICIAL_INTELLIGENCE, "HAS CONCEPT MOD")
