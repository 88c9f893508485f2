"""The content tree of a report: TID 1500 with a measurement group (TID 1501) per finding and image.

The templates are highdicom's; what it leaves out (SEPARATE containers, an Image Library of images that lack
attributes, comments) is added here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from highdicom import sr
from pydicom.dataset import Dataset

from mcads_node import __version__
from mcads_node.errors import ReportImpossible
from mcads_node.finding import Algorithm, Finding
from mcads_node.instance import InputCheck, Verdict
from mcads_node.product import MANUFACTURER, MODEL_NAME
from mcads_node.report import codes, content_items
from mcads_node.report.identity import tracking_uid
from mcads_node.report.image_library import image_library
from mcads_node.report.sentences import sentence
from mcads_node.report.sr_anatomy import anatomy_groups, anatomy_remarks
from mcads_node.report.sr_triage import triage_groups
from mcads_node.report.wording import UNVERIFIED, Translator, unread_texts, verdict_text
from mcads_node.result import ImageReading, ReportContext


def content_tree(
    readings: Sequence[ImageReading], algorithm: Algorithm, context: ReportContext, tr: Translator
) -> Dataset:
    """Build the root content item.

    Parameters
    ----------
    readings: Sequence[ImageReading]
        In the order of the report; headers from `complete_header`.
    algorithm: Algorithm
        Who read them.
    context: ReportContext
        Why images were not read.
    tr: Translator
        Language of the comments; codes and the names of parameters stay as they are.

    Returns
    -------
    pydicom.dataset.Dataset
        CONTAINER (126000, DCM, "Imaging Measurement Report"); every container in it SEPARATE.

    Raises
    ------
    ReportImpossible
        A label has no code, or a text or UID cannot be written.
    """
    try:
        groups = list(_groups(readings, algorithm, context, tr))
        report = sr.MeasurementReport(
            observation_context=_observation_context(algorithm),
            procedure_reported=codes.IMAGING_PROCEDURE,
            imaging_measurements=groups,
            language_of_content_item_and_descendants=sr.LanguageOfContentItemAndDescendants(
                sr.CodedConcept.from_code(codes.language(tr.language))
            ),
        )
    except (ValueError, TypeError) as error:
        raise ReportImpossible(f"the findings cannot be written as TID 1500: {error}") from error
    # plain from here on: highdicom takes no item of another make, and its Image Library is not for CR
    root = Dataset()
    root.update(report[0])
    root.ContentSequence = _with_library(report[0].ContentSequence, readings)
    remarks = anatomy_remarks(readings, [_name_of(reading) for reading in readings], tr)
    root.ContentSequence.append(_comments(algorithm, context, tr, remarks))
    _separate(root)
    return root


def _with_library(items: Iterable[Dataset], readings: Sequence[ImageReading]) -> list[Dataset]:
    """Put the Image Library where TID 1500 has it: before the Imaging Measurements; to these, the anatomy."""
    children = list(items)
    place = next(place for place, item in enumerate(children) if item.ValueType == "CONTAINER")
    groups = anatomy_groups(readings, [_name_of(reading) for reading in readings])
    measurements = Dataset()
    measurements.update(children[place])
    measurements.ContentSequence = [*children[place].ContentSequence, *groups]
    return [*children[:place], image_library(readings), measurements, *children[place + 1 :]]


def _groups(
    readings: Sequence[ImageReading], algorithm: Algorithm, context: ReportContext, tr: Translator
) -> Iterator[sr.MeasurementsAndQualitativeEvaluations]:
    # one object in every group: the items are equal, and most of the time of a report is the making of items
    identification = _identification(readings, algorithm)
    yield from triage_groups(readings, algorithm, context, identification, tr)
    for reading in readings:
        source_image = sr.SourceImageForMeasurementGroup(
            referenced_sop_class_uid=reading.header.SOPClassUID,
            referenced_sop_instance_uid=reading.header.SOPInstanceUID,
        )
        quality = _quality_group(reading, algorithm, identification, source_image)
        quality[0].ContentSequence.extend(_check_comments(reading, tr))
        yield quality
        for finding in reading.findings:
            yield _finding_group(reading, finding, algorithm, identification, source_image)


def _finding_group(
    reading: ImageReading,
    finding: Finding,
    algorithm: Algorithm,
    identification: sr.AlgorithmIdentification,
    source_image: sr.SourceImageForMeasurementGroup,
) -> sr.MeasurementsAndQualitativeEvaluations:
    coded = codes.finding_code(finding.label)
    presence = codes.PRESENCES[finding.presence]
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(reading, coded.code.meaning, finding.label, algorithm),
        finding_type=coded.code,
        finding_sites=[sr.FindingSite(anatomic_location=coded.site)] if coded.site else None,
        algorithm_id=identification,
        measurements=[_score(finding), _threshold(finding)],
        qualitative_evaluations=[sr.QualitativeEvaluation(name=codes.PRESENCE, value=presence)],
        source_images=[source_image],
    )


def _quality_group(
    reading: ImageReading,
    algorithm: Algorithm,
    identification: sr.AlgorithmIdentification,
    source_image: sr.SourceImageForMeasurementGroup,
) -> sr.MeasurementsAndQualitativeEvaluations:
    """Say how fit the input is; where it is not, every presence of the image is Undetermined."""
    quality = codes.QUALITIES[worst_verdict(reading.checks)]
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(reading, "Input quality", "input quality", algorithm),
        finding_type=codes.IMAGE_QUALITY,
        algorithm_id=identification,
        qualitative_evaluations=[sr.QualitativeEvaluation(name=codes.QUALITY_ASSESSMENT, value=quality)],
        source_images=[source_image],
    )


def worst_verdict(checks: Sequence[InputCheck]) -> Verdict:
    """Return how the checks of an image ended together."""
    verdicts = {check.verdict for check in checks}
    for verdict in (Verdict.UNDETERMINED, Verdict.WARN):
        if verdict in verdicts:
            return verdict
    return Verdict.PASS


def _tracking(reading: ImageReading, words: str, label: str, algorithm: Algorithm) -> sr.TrackingIdentifier:
    return sr.TrackingIdentifier(
        uid=tracking_uid(str(reading.header.SOPInstanceUID), label, algorithm),
        identifier=f"{words} ({_name_of(reading)})",
    )


def _name_of(reading: ImageReading) -> str:
    """Name an image for a person: its view and Instance Number (0020,0013)."""
    number = reading.header.get("InstanceNumber")
    return f"{reading.view.value} image" if number is None else f"{reading.view.value} image {number}"


def _score(finding: Finding) -> sr.Measurement:
    """Write the probability where the site calibrated the label; else the score, under another concept."""
    if finding.probability is not None:
        return sr.Measurement(
            name=codes.PROBABILITY, value=_rounded(finding.probability), unit=codes.NO_UNITS
        )
    value = _rounded(100 * finding.score)
    return sr.Measurement(name=codes.CERTAINTY_OF_FINDING, value=value, unit=codes.PERCENT)


def _threshold(finding: Finding) -> sr.Measurement:
    """Write the threshold on the scale of what is compared with it."""
    if finding.probability_threshold is not None:
        value, unit = finding.probability_threshold, codes.NO_UNITS
    else:
        value, unit = 100 * finding.threshold, codes.PERCENT
    return sr.Measurement(name=codes.THRESHOLD, value=_rounded(value), unit=unit)


def _rounded(value: float) -> float:
    """Drop what float32 arithmetic cannot know; also keeps the text within a DS of 16 characters."""
    return round(float(value), 5)


def _identification(readings: Sequence[ImageReading], algorithm: Algorithm) -> sr.AlgorithmIdentification:
    """TID 4019. Without manufacturer: PixelMed warns of it, and IHE AI Results leaves it empty."""
    parameters = [
        f"weights SHA-256: {algorithm.weights_digest}",
        *_calibration_in_words(algorithm),
        f"thresholds: {_thresholds_in_words(readings)}",
        f"preprocessing: mcads-node {__version__}",
    ]
    if algorithm.caution:
        parameters.append(f"caution: {algorithm.caution}")
    return sr.AlgorithmIdentification(
        name=algorithm.name,
        version=algorithm.version,
        parameters=parameters,
        family=codes.ARTIFICIAL_INTELLIGENCE,
    )


def _calibration_in_words(algorithm: Algorithm) -> list[str]:
    mark = algorithm.calibration
    if mark is None:
        return ["scores: uncalibrated, not a probability"]
    others = [label for label in algorithm.labels if label not in mark.labels]
    said = f"probabilities calibrated at {mark.site} ({mark.method})"
    if others:
        said += f"; uncalibrated scores, not a probability: {', '.join(others)}"
    return [f"scores: {said}", f"calibration SHA-256: {mark.digest}", "thresholds are of scores as they were"]


def _thresholds_in_words(readings: Sequence[ImageReading]) -> str:
    distinct = {finding.threshold for reading in readings for finding in reading.findings}
    if len(distinct) == 1:
        return f"{distinct.pop():.5g} of 1 for every label"
    by_label = {
        f"{found.label} {found.threshold:.5g}": None for image in readings for found in image.findings
    }
    return ", ".join(by_label)


def _observation_context(algorithm: Algorithm) -> sr.ObservationContext:
    """TID 1004; equal to the item of Contributing Equipment Sequence that `stamp_equipment` writes."""
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=algorithm.device_uid,
        name=algorithm.name,
        manufacturer_name=MANUFACTURER,
        model_name=MODEL_NAME,
    )
    return sr.ObservationContext(
        observer_device_context=sr.ObserverContext(
            observer_type=sr.CodedConcept.from_code(codes.DEVICE), observer_identifying_attributes=device
        )
    )


def _check_comments(reading: ImageReading, tr: Translator) -> list[sr.TextContentItem]:
    """Say in words what every check found, since the coded value of their group is that of the worst."""
    return [
        sr.TextContentItem(
            name=codes.COMMENT,
            value=f"{verdict_text(check.verdict, tr)} ({check.name}): {sentence(check.reason, tr)}",
            relationship_type=sr.RelationshipTypeValues.CONTAINS,
        )
        for check in reading.checks
        if check.verdict is not Verdict.PASS
    ]


def _comments(
    algorithm: Algorithm, context: ReportContext, tr: Translator, remarks: Iterable[str]
) -> Dataset:
    """Write everything that a reader must know besides the findings (TID 1500, rows 12 and 14)."""
    cautions = (tr(algorithm.caution), tr(UNVERIFIED))
    texts = [". ".join(filter(None, cautions))]
    texts += [tr("Not read: {reason}", reason=said) for said in unread_texts(context, tr)]
    texts += remarks
    comments = [content_items.text(codes.COMMENT, text) for text in texts]
    return content_items.container(codes.QUALITATIVE_EVALUATIONS, comments)


def _separate(item: Dataset) -> None:
    """Mark every container SEPARATE: highdicom's CONTINUOUS makes text views drop the concept names."""
    if item.ValueType == "CONTAINER":
        item.ContinuityOfContent = "SEPARATE"
        for child in item.get("ContentSequence", ()):
            _separate(child)
