"""What reports have in common, made by highdicom's templates once and kept: frames and measurement groups.

Of a group (TID 1501), only who is tracked, the score and the source image differ from study to study; the
other items are the same for a label that is present or absent under the same model and thresholds. highdicom
makes the whole group once for each of these, and what differs is put in its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from highdicom import sr
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.tag import BaseTag
from pydicom.valuerep import DSfloat

from mcads_node.finding import Algorithm, Presence
from mcads_node.instance import Verdict
from mcads_node.product import MANUFACTURER, MODEL_NAME
from mcads_node.report import codes
from mcads_node.report.encoding import Fixed

#: what is in a prototype where a group's own items belong
_SOMETHING: Final = "-"
_SOME_UID: Final = "2.25.1"
#: more than the labels of several models, present, absent and undetermined
_KEPT: Final = 512


@dataclass(frozen=True, kw_only=True)
class Identification:
    """What TID 4019 says of an algorithm. Without manufacturer: PixelMed warns of it, IHE leaves it empty."""

    name: str
    version: str
    parameters: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Number:
    """The name, the value and the unit of a NUM."""

    name: Code
    value: float
    unit: Code


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """What is peculiar to one group."""

    #: Tracking Identifier and Tracking Unique Identifier (TID 1501)
    identifier: str
    uid: str
    source_image: Dataset
    score: float | None = None


@lru_cache(maxsize=_KEPT)
def identified(identification: Identification) -> sr.AlgorithmIdentification:
    """Write TID 4019; the items are not to be changed."""
    return sr.AlgorithmIdentification(
        name=identification.name,
        version=identification.version,
        parameters=list(identification.parameters),
        family=codes.ARTIFICIAL_INTELLIGENCE,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """A measurement group without what is peculiar to one."""

    #: the container itself, without content
    container: Dataset
    #: in their order; at `score` the measurement whose value is put in, last the source image
    children: tuple[Fixed, ...]
    score: int | None

    def filled(self, tracked: Tracked) -> Dataset:
        """Give the group of something tracked."""
        identifier, uid, *others = self.children
        items: list[Dataset] = [
            _with(identifier, TextValue=tracked.identifier),
            _with(uid, UID=tracked.uid),
            *others[:-1],
            tracked.source_image,
        ]
        if self.score is not None and tracked.score is not None:
            items[self.score] = _with_value(self.children[self.score], tracked.score)
        return _with(self.container, ContentSequence=items)

    @classmethod
    def of(cls, made: sr.MeasurementsAndQualitativeEvaluations) -> Group:
        """Take a group of highdicom's apart."""
        children = tuple(Fixed.of(child) for child in made[0].ContentSequence)
        numbers = (place for place, child in enumerate(children) if child.ValueType == "NUM")
        return cls(container=_empty(made[0]), children=children, score=next(numbers, None))


@lru_cache(maxsize=_KEPT)
def finding_group(
    label: str,
    presence: Presence,
    score: tuple[Code, Code],
    threshold: Number,
    identification: Identification,
) -> Group:
    """Make the group of a label on an image; `score` is the name and the unit of what is put in."""
    coded = codes.finding_code(label)
    name, unit = score
    made = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=_SOME_UID, identifier=_SOMETHING),
        finding_type=coded.code,
        finding_sites=[sr.FindingSite(anatomic_location=coded.site)] if coded.site else None,
        algorithm_id=identified(identification),
        measurements=[
            sr.Measurement(name=name, value=0.0, unit=unit),
            sr.Measurement(name=threshold.name, value=threshold.value, unit=threshold.unit),
        ],
        qualitative_evaluations=[
            sr.QualitativeEvaluation(name=codes.PRESENCE, value=codes.PRESENCES[presence])
        ],
        source_images=[source_image(_SOME_UID, _SOME_UID)],
    )
    return Group.of(made)


@lru_cache(maxsize=_KEPT)
def quality_group(verdict: Verdict, identification: Identification) -> Group:
    """Make the group that says how fit an image is as input."""
    quality = sr.QualitativeEvaluation(name=codes.QUALITY_ASSESSMENT, value=codes.QUALITIES[verdict])
    made = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=_SOME_UID, identifier=_SOMETHING),
        finding_type=codes.IMAGE_QUALITY,
        algorithm_id=identified(identification),
        qualitative_evaluations=[quality],
        source_images=[source_image(_SOME_UID, _SOME_UID)],
    )
    return Group.of(made)


def source_image(sop_class_uid: str, sop_instance_uid: str) -> sr.SourceImageForMeasurementGroup:
    """Refer to the image that a group speaks of."""
    return sr.SourceImageForMeasurementGroup(
        referenced_sop_class_uid=sop_class_uid, referenced_sop_instance_uid=sop_instance_uid
    )


@lru_cache(maxsize=_KEPT)
def frame(algorithm: Algorithm, language: str) -> tuple[Dataset, tuple[Dataset, ...], Dataset]:
    """Make a report around no measurements.

    Returns
    -------
    tuple
        The root without content, what stands before the Imaging Measurements, and these without content; not
        to be changed.
    """
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=algorithm.device_uid,
        name=algorithm.name,
        manufacturer_name=MANUFACTURER,
        model_name=MODEL_NAME,
    )
    context = sr.ObservationContext(
        observer_device_context=sr.ObserverContext(
            observer_type=sr.CodedConcept.from_code(codes.DEVICE), observer_identifying_attributes=device
        )
    )
    some = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=_SOME_UID, identifier=_SOMETHING),
        finding_type=codes.IMAGE_QUALITY,
    )
    report = sr.MeasurementReport(
        observation_context=context,
        procedure_reported=codes.IMAGING_PROCEDURE,
        imaging_measurements=[some],
        language_of_content_item_and_descendants=sr.LanguageOfContentItemAndDescendants(
            sr.CodedConcept.from_code(codes.language(language))
        ),
    )
    *before, measurements = report[0].ContentSequence
    return _empty(report[0]), tuple(Fixed.of(item) for item in before), _empty(measurements)


def separate(container: Dataset) -> Dataset:
    """Copy a container as SEPARATE: highdicom's CONTINUOUS makes text views drop the concept names."""
    return _with(container, ContinuityOfContent="SEPARATE")


def _empty(container: Dataset) -> Dataset:
    copied = separate(container)
    del copied.ContentSequence
    return copied


def _with(item: Dataset, **values: object) -> Dataset:
    """Copy an item with other values of some attributes."""
    copied = Dataset()
    copied.update(item)
    for keyword, value in values.items():
        # a new element: assigned to, the one that both have would change in both
        tag = BaseTag(tag_for_keyword(keyword) or 0)
        copied[tag] = DataElement(tag, dictionary_VR(tag), value)
    return copied


def _with_value(item: Dataset, value: float) -> Dataset:
    measured = _with(
        item.MeasuredValueSequence[0],
        NumericValue=DSfloat(value, auto_format=True),
        FloatingPointValue=value,
    )
    return _with(item, MeasuredValueSequence=[measured])
