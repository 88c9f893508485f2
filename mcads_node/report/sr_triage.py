"""The triage of a study in its report: a measurement group (TID 1501) of its own, of all images."""

from __future__ import annotations

from collections.abc import Sequence

from highdicom import sr

from mcads_node.finding import Algorithm, Presence
from mcads_node.report import codes
from mcads_node.report.evidence import triage_rules_of
from mcads_node.report.identity import tracking_uid
from mcads_node.report.translation import Translator
from mcads_node.report.triage_words import study_words
from mcads_node.result import ImageReading, ReportContext


def triage_groups(
    readings: Sequence[ImageReading],
    algorithm: Algorithm,
    context: ReportContext,
    identification: sr.AlgorithmIdentification,
    tr: Translator,
) -> list[sr.MeasurementsAndQualitativeEvaluations]:
    """Write the level as a NUM, or that there is none as a CODE, and the reason as comments.

    Parameters
    ----------
    readings
        In the order of the report.
    algorithm
        Who read them.
    context
        What was not read.
    identification
        The algorithm's, as in every group.
    tr
        Language of the comments.

    Returns
    -------
    list
        One group; none where no rules of triage are configured.
    """
    words = study_words(readings, context, tr)
    if words is None:
        return []
    name, undetermined = codes.TRIAGE_INDEX, codes.PRESENCES[Presence.UNDETERMINED]
    level = words.level
    study = str(readings[0].header.StudyInstanceUID)
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=tracking_uid(study, "triage", algorithm), identifier="Triage (study)"
        ),
        algorithm_id=identification,
        measurements=[sr.Measurement(name=name, value=level, unit=codes.NO_UNITS)] if level else None,
        qualitative_evaluations=None if level else [sr.QualitativeEvaluation(name=name, value=undetermined)],
        source_images=[
            sr.SourceImageForMeasurementGroup(
                referenced_sop_class_uid=reading.header.SOPClassUID,
                referenced_sop_instance_uid=reading.header.SOPInstanceUID,
            )
            for reading in readings
        ],
    )
    # with the model's own caution: whoever reads nothing but the level reads that
    said = ". ".join(filter(None, (tr(algorithm.caution), words.text)))
    group[0].ContentSequence.extend(
        sr.TextContentItem(
            name=codes.COMMENT, value=text, relationship_type=sr.RelationshipTypeValues.CONTAINS
        )
        for text in (said, f"SHA-256 of the rules: {triage_rules_of(readings).removeprefix('triage ')}")
    )
    return [group]
