"""Headers, readings and algorithms that the tests of the reports share."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)

from mcads_node.config import load_triage
from mcads_node.finding import Algorithm, CalibrationMark, Finding, presence_of
from mcads_node.instance import InputCheck, Verdict, View
from mcads_node.report.codes import finding_codes
from mcads_node.result import ImageReading, ReportContext
from mcads_node.shipped import shipped_folder
from mcads_node.triage import triage

LABELS = tuple(finding_codes())

ALGORITHM = Algorithm(
    name="densenet121-res224-all",
    version="0.1.0+1",
    weights_digest="0123456789abcdef" * 4,
    device_uid="2.25.331764932814752980341287512340987",
    labels=LABELS,
)

#: the same with a site's calibration of every label
CALIBRATED = replace(
    ALGORITHM,
    calibration=CalibrationMark(site="North Clinic", method="platt", digest="89abcdef" * 8, labels=LABELS),
)

#: what the demonstration model makes every object say
CAUTION = "DEMONSTRATION MODEL — NOT FOR CLINICAL USE"

CONTEXT = ReportContext(
    series_started=datetime(2024, 5, 6, 21, 58, 1, tzinfo=UTC),
    created=datetime(2024, 5, 6, 22, 3, 4, tzinfo=UTC),
)

UNFIT = InputCheck(name="polarity", verdict=Verdict.UNDETERMINED, reason="The image looks inverted.")
DOUBTFUL = InputCheck(name="view", verdict=Verdict.WARN, reason="The view is not known.")


def bare(instance: int = 1, *, modality: str = "DX") -> Dataset:
    """Make a header with nothing that may be absent."""
    header = Dataset()
    is_cr = modality == "CR"
    header.SOPClassUID = ComputedRadiographyImageStorage if is_cr else DigitalXRayImageStorageForPresentation
    header.SOPInstanceUID = f"1.2.826.0.1.3680043.10.1.{instance}"
    header.StudyInstanceUID = "1.2.826.0.1.3680043.10.2"
    header.SeriesInstanceUID = "1.2.826.0.1.3680043.10.3"
    header.Modality = modality
    return header


def full(instance: int = 1, *, modality: str = "DX") -> Dataset:
    """Make a header as a tidy modality writes it."""
    header = bare(instance, modality=modality)
    header.SpecificCharacterSet = "ISO_IR 192"
    header.PatientName = "Žukauskaitė^Rūta"
    header.PatientID = "4711"
    header.IssuerOfPatientID = "HOSPITAL"
    header.PatientBirthDate = "19610203"
    header.PatientSex = "F"
    header.PatientAge = "063Y"
    header.PatientWeight = "71.5"
    header.StudyDate = "20240506"
    header.StudyTime = "215500"
    header.StudyID = "S1"
    header.StudyDescription = "Krūtinės ląsta"
    header.AccessionNumber = "A2024-17"
    header.IssuerOfAccessionNumberSequence = [issuer()]
    header.ReferringPhysicianName = "Petraitis^Jonas"
    header.TimezoneOffsetFromUTC = "+0300"
    header.InstanceNumber = instance
    header.PixelSpacing = ["0.143", "0.143"]
    header.ImagerPixelSpacing = ["0.143", "0.143"]
    header.PatientOrientation = ["L", "F"]
    header.RequestAttributesSequence = [request()]
    other = Dataset()
    other.PatientID = "LT-99"
    other.TypeOfPatientID = "TEXT"
    header.OtherPatientIDsSequence = [other]
    return header


def issuer() -> Dataset:
    item = Dataset()
    item.LocalNamespaceEntityID = "RIS"
    return item


def request() -> Dataset:
    item = Dataset()
    item.RequestedProcedureID = "RP1"
    item.RequestedProcedureDescription = "Chest radiograph"
    item.ScheduledProcedureStepID = "SPS1"
    return item


def as_received(header: Dataset) -> Dataset:
    """Write a header and read it back: bytes in its own character set, elements not yet decoded."""
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, header, implicit_vr=False, little_endian=True)
    buffer.seek(0)
    read = pydicom.dcmread(buffer, force=True)
    assert read.original_encoding == (False, True), ExplicitVRLittleEndian
    return read


def reading(
    header: Dataset,
    *,
    view: View = View.PA,
    checks: tuple[InputCheck, ...] = (),
    labels: Sequence[str] = LABELS,
    threshold: float = 0.5,
) -> ImageReading:
    """Make a reading with scores spread over 0…1."""
    scores = [(0.07 + 0.31 * place) % 1 for place in range(len(labels))]
    findings = tuple(
        Finding(label=label, score=score, threshold=threshold, presence=presence_of(score, threshold, checks))
        for label, score in zip(labels, scores, strict=True)
    )
    return ImageReading(header=header, view=view, findings=findings, checks=checks, thumbnail=b"")


def with_triage(image: ImageReading) -> ImageReading:
    """Hold an image against the rules that are shipped."""
    rules = load_triage(shipped_folder("config") / "triage.yaml")
    return replace(image, triage=triage(image.findings, image.checks, rules))


def calibrated(image: ImageReading, labels: Collection[str] = LABELS) -> ImageReading:
    """Give the findings of some labels a probability: the square of the score."""
    findings = tuple(
        replace(each, probability=each.score**2, probability_threshold=each.threshold**2)
        if each.label in labels
        else each
        for each in image.findings
    )
    return replace(image, findings=findings)
