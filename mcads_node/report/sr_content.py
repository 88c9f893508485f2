"""The content tree of a report: TID 1500 with a measurement group (TID 1501) per finding and image.

The templates are highdicom's (see ``sr_prototypes``); what it leaves out (SEPARATE containers, an Image
Library of images that lack attributes, comments) is added here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from pydicom.dataset import Dataset

from mcads_node import __version__
from mcads_node.errors import ReportImpossible
from mcads_node.finding import Algorithm, Finding
from mcads_node.instance import InputCheck, Verdict
from mcads_node.report import codes, content_items, sr_prototypes
from mcads_node.report.encoding import Fixed
from mcads_node.report.identity import tracking_uid
from mcads_node.report.image_library import image_library
from mcads_node.report.sentences import sentence
from mcads_node.report.sr_anatomy import anatomy_groups, anatomy_remarks
from mcads_node.report.sr_prototypes import Identification, Number, Tracked
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
    root, names = Dataset(), [_name_of(reading) for reading in readings]
    try:
        frame, before, measurements = sr_prototypes.frame(algorithm, tr.language)
        groups = [*_groups(readings, algorithm, context, tr), *anatomy_groups(readings, names)]
    except (ValueError, TypeError) as error:
        raise ReportImpossible(f"the findings cannot be written as TID 1500: {error}") from error
    measured = Dataset()
    measured.update(measurements)
    measured.ContentSequence = groups
    root.update(frame)
    # TID 1500 has the Image Library before the Imaging Measurements; highdicom's is not for CR
    remarks = anatomy_remarks(readings, names, tr)
    root.ContentSequence = [
        *before,
        image_library(readings),
        measured,
        _comments(algorithm, context, tr, remarks),
    ]
    return root


def _groups(
    readings: Sequence[ImageReading], algorithm: Algorithm, context: ReportContext, tr: Translator
) -> Iterator[Dataset]:
    identification = _identification(readings, algorithm)
    identified = sr_prototypes.identified(identification)
    for triage in triage_groups(readings, algorithm, context, identified, tr):
        yield sr_prototypes.separate(triage[0])
    for reading in readings:
        source = sr_prototypes.source_image(reading.header.SOPClassUID, reading.header.SOPInstanceUID)
        source_image = Fixed.of(source)
        quality = sr_prototypes.quality_group(worst_verdict(reading.checks), identification)
        group = quality.filled(_tracked(reading, "Input quality", "input quality", algorithm, source_image))
        group.ContentSequence.extend(_check_comments(reading, tr))
        yield group
        for finding in reading.findings:
            score = _score(finding)
            prototype = sr_prototypes.finding_group(
                finding.label,
                finding.presence,
                (score.name, score.unit),
                _threshold(finding),
                identification,
            )
            words = codes.finding_code(finding.label).code.meaning
            tracked = _tracked(reading, words, finding.label, algorithm, source_image)
            yield prototype.filled(replace(tracked, score=score.value))


def worst_verdict(checks: Sequence[InputCheck]) -> Verdict:
    """Return how the checks of an image ended together."""
    verdicts = {check.verdict for check in checks}
    for verdict in (Verdict.UNDETERMINED, Verdict.WARN):
        if verdict in verdicts:
            return verdict
    return Verdict.PASS


def _tracked(
    reading: ImageReading, words: str, label: str, algorithm: Algorithm, source_image: Dataset
) -> Tracked:
    return Tracked(
        uid=tracking_uid(str(reading.header.SOPInstanceUID), label, algorithm),
        identifier=f"{words} ({_name_of(reading)})",
        source_image=source_image,
    )


def _name_of(reading: ImageReading) -> str:
    """Name an image for a person: its view and Instance Number (0020,0013)."""
    number = reading.header.get("InstanceNumber")
    return f"{reading.view.value} image" if number is None else f"{reading.view.value} image {number}"


def _score(finding: Finding) -> Number:
    """Write the probability where the site calibrated the label; else the score, under another concept."""
    if finding.probability is not None:
        return Number(name=codes.PROBABILITY, value=_rounded(finding.probability), unit=codes.NO_UNITS)
    value = _rounded(100 * finding.score)
    return Number(name=codes.CERTAINTY_OF_FINDING, value=value, unit=codes.PERCENT)


def _threshold(finding: Finding) -> Number:
    """Write the threshold on the scale of what is compared with it."""
    if finding.probability_threshold is not None:
        value, unit = finding.probability_threshold, codes.NO_UNITS
    else:
        value, unit = 100 * finding.threshold, codes.PERCENT
    return Number(name=codes.THRESHOLD, value=_rounded(value), unit=unit)


def _rounded(value: float) -> float:
    """Drop what float32 arithmetic cannot know; also keeps the text within a DS of 16 characters."""
    return round(float(value), 5)


def _identification(readings: Sequence[ImageReading], algorithm: Algorithm) -> Identification:
    parameters = [
        f"weights SHA-256: {algorithm.weights_digest}",
        *_calibration_in_words(algorithm),
        f"thresholds: {_thresholds_in_words(readings)}",
        f"preprocessing: mcads-node {__version__}",
    ]
    if algorithm.caution:
        parameters.append(f"caution: {algorithm.caution}")
    return Identification(name=algorithm.name, version=algorithm.version, parameters=tuple(parameters))


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


def _check_comments(reading: ImageReading, tr: Translator) -> list[Dataset]:
    """Say in words what every check found, since the coded value of their group is that of the worst."""
    return [
        content_items.text(
            codes.COMMENT,
            f"{verdict_text(check.verdict, tr)} ({check.name}): {sentence(check.reason, tr)}",
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
