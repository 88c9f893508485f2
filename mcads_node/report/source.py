"""Copying rules: what goes from the source's header into a result, and what the result says of its maker.

One table (`COPIED`) says what is copied. `complete_header` makes a header that can be copied from: decoded,
mended, without private attributes, with every type 2 attribute of the copied modules present. Odd input costs
an attribute, never a result.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.sr.coding import Code
from pydicom.uid import UID, ExplicitVRLittleEndian

from mcads_node.finding import Algorithm
from mcads_node.product import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    MANUFACTURER,
    MODEL_NAME,
)
from mcads_node.report.conditions import meet_conditions
from mcads_node.report.content_items import code_sequence
from mcads_node.report.encoding import encoded_file
from mcads_node.report.mend import mended_copy
from mcads_node.result import ReportContext

#: every object's Specific Character Set (0008,0005): UTF-8, whatever the source's
CHARACTER_SET: Final = "ISO_IR 192"

#: keywords copied into every object, by the module that PS3.3 has them in
COPIED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "Patient (C.7.1.1)": (
            "PatientName",
            "PatientID",
            "IssuerOfPatientID",
            "TypeOfPatientID",
            "IssuerOfPatientIDQualifiersSequence",
            "PatientBirthDate",
            "PatientBirthTime",
            "PatientSex",
            "ReferencedPatientSequence",
            "OtherPatientIDsSequence",
            "OtherPatientNames",
            "EthnicGroup",
            "PatientComments",
            "QualityControlSubject",
            "PatientSpeciesDescription",
            "PatientSpeciesCodeSequence",
            "PatientBreedDescription",
            "PatientBreedCodeSequence",
            "BreedRegistrationSequence",
            "ResponsiblePerson",
            "ResponsiblePersonRole",
            "ResponsibleOrganization",
            "PatientIdentityRemoved",
            "DeidentificationMethod",
            "DeidentificationMethodCodeSequence",
        ),
        "General Study (C.7.2.1)": (
            "StudyInstanceUID",
            "StudyDate",
            "StudyTime",
            "ReferringPhysicianName",
            "ReferringPhysicianIdentificationSequence",
            "ConsultingPhysicianName",
            "StudyID",
            "AccessionNumber",
            "IssuerOfAccessionNumberSequence",
            "StudyDescription",
            "PhysiciansOfRecord",
            "NameOfPhysiciansReadingStudy",
            "RequestingService",
            "ReferencedStudySequence",
            "ProcedureCodeSequence",
            "ReasonForPerformedProcedureCodeSequence",
        ),
        "Patient Study (C.7.2.2)": (
            "AdmittingDiagnosesDescription",
            "AdmittingDiagnosesCodeSequence",
            "PatientAge",
            "PatientSize",
            "PatientWeight",
            "MedicalAlerts",
            "Allergies",
            "SmokingStatus",
            "PregnancyStatus",
            "LastMenstrualDate",
            "PatientState",
            "Occupation",
            "AdditionalPatientHistory",
            "AdmissionID",
            "IssuerOfAdmissionIDSequence",
            "ServiceEpisodeID",
            "ServiceEpisodeDescription",
            "IssuerOfServiceEpisodeIDSequence",
            "PatientSexNeutered",
        ),
        "SOP Common (C.12.1)": ("TimezoneOffsetFromUTC",),
    }
)

#: type 2 attributes of the copied modules: present in every object, empty where the source does not say
TYPE_2: Final = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)

_PROCESSING_EQUIPMENT: Final = Code("109102", "DCM", "Processing Equipment")

#: from an item of Request Attributes Sequence (0040,0275) into one of Referenced Request Sequence (0040,A370)
_REQUEST_TYPE_2: Final = (
    "AccessionNumber",
    "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest",
    "RequestedProcedureID",
    "RequestedProcedureDescription",
    "RequestedProcedureCodeSequence",
    "ReferencedStudySequence",
)
_REQUEST_OPTIONAL: Final = (
    "OrderPlacerIdentifierSequence",
    "OrderFillerIdentifierSequence",
    "ReasonForTheRequestedProcedure",
    "ReasonForRequestedProcedureCodeSequence",
)


def complete_header(header: Dataset) -> Dataset:
    """Make a header that can be copied from, out of any header.

    Parameters
    ----------
    header: pydicom.dataset.Dataset
        The source's, as it was read; not changed.

    Returns
    -------
    pydicom.dataset.Dataset
        Text decoded by the source's own Specific Character Set and marked as ISO_IR 192; values that their VR
        does not allow mended where that is unambiguous, else left out; no private attributes, no pixels, no
        group lengths, no signatures; type 2 attributes of `TYPE_2` present; what depends on another attribute
        present or absent with it. An identifier too long for its VR
        is left out rather than cut: a cut identifier may be another patient's.
    """
    complete = mended_copy(header)
    complete.SpecificCharacterSet = CHARACTER_SET
    meet_conditions(complete)
    for keyword in TYPE_2:
        if keyword not in complete:
            setattr(complete, keyword, "")
    return complete


def copy_patient_and_study(source: Dataset, target: Dataset) -> None:
    """Copy Patient, General Study and Patient Study modules and Timezone Offset From UTC.

    Parameters
    ----------
    source: pydicom.dataset.Dataset
        From `complete_header`.
    target: pydicom.dataset.Dataset
        The object in the making.
    """
    target.SpecificCharacterSet = CHARACTER_SET
    for keywords in COPIED.values():
        for keyword in keywords:
            if keyword in source:
                target[keyword] = copy.deepcopy(source[keyword])


def copy_request_attributes(source: Dataset, target: Dataset) -> None:
    """Copy Request Attributes Sequence (0040,0275), which image objects have and SR documents do not."""
    if source.get("RequestAttributesSequence"):
        target["RequestAttributesSequence"] = copy.deepcopy(source["RequestAttributesSequence"])


def referenced_requests(source: Dataset) -> Sequence:
    """Return the items of Referenced Request Sequence (0040,A370), which SR documents have; may be empty.

    Parameters
    ----------
    source: pydicom.dataset.Dataset
        From `complete_header`. Without Request Attributes, one item is made where the header itself names the
        requested procedure.
    """
    items = list(source.get("RequestAttributesSequence") or ())
    named = source.get("RequestedProcedureID") or source.get("RequestedProcedureDescription")
    if named and not items:
        items = [source]
    return Sequence([_referenced_request(source, item) for item in items])


def _referenced_request(source: Dataset, request: Dataset) -> Dataset:
    item = Dataset()
    item.StudyInstanceUID = request.get("StudyInstanceUID") or source.StudyInstanceUID
    for keyword in _REQUEST_TYPE_2:
        if keyword in request:
            item[keyword] = copy.deepcopy(request[keyword])
        else:
            setattr(item, keyword, [] if keyword.endswith("Sequence") else "")
    # a number and who issued it come from one place, or they are another order
    told = request if item.AccessionNumber else source
    item.AccessionNumber = told.AccessionNumber
    if told.get("IssuerOfAccessionNumberSequence"):
        item["IssuerOfAccessionNumberSequence"] = copy.deepcopy(told["IssuerOfAccessionNumberSequence"])
    for keyword in _REQUEST_OPTIONAL:
        if keyword in request:
            item[keyword] = copy.deepcopy(request[keyword])
    return item


def stamp_equipment(target: Dataset, algorithm: Algorithm) -> None:
    """Write General Equipment and Contributing Equipment of the node (IHE AI Results 6.5.3.1).

    The values equal those in the SR's TID 1004 (device observer) and TID 4019 (algorithm identification).

    Parameters
    ----------
    target: pydicom.dataset.Dataset
        The object in the making.
    algorithm: Algorithm
        Its `device_uid` becomes the Device UID (0018,1002), its `version` the Software Versions (0018,1020).
    """
    target.Manufacturer = MANUFACTURER
    target.ManufacturerModelName = MODEL_NAME
    target.SoftwareVersions = algorithm.version
    equipment = Dataset()
    equipment.PurposeOfReferenceCodeSequence = code_sequence(_PROCESSING_EQUIPMENT)
    equipment.Manufacturer = MANUFACTURER
    equipment.ManufacturerModelName = MODEL_NAME
    equipment.SoftwareVersions = algorithm.version
    equipment.DeviceUID = algorithm.device_uid
    said = ("AI analysis by", algorithm.name, algorithm.caution)
    equipment.ContributionDescription = " ".join(filter(None, said))
    target.ContributingEquipmentSequence = [equipment]


def local_time(moment: datetime, header: Dataset) -> datetime:
    """Move a moment to the zone of the source's dates and times.

    That is its Timezone Offset From UTC (0008,0201). Where it has none, its times are local to the hospital,
    and so is this machine's clock.
    """
    offset = header.get("TimezoneOffsetFromUTC")
    return moment.astimezone(datetime.strptime(str(offset), "%z").tzinfo if offset else None)


def stamp_dates(target: Dataset, context: ReportContext) -> None:
    """Write Series, Content and Instance Creation Date and Time.

    Parameters
    ----------
    target: pydicom.dataset.Dataset
        The object in the making, after `copy_patient_and_study`. Where the source told no Timezone Offset
        From UTC (0008,0201), none is written: it would also claim a zone for the Study Time that was copied.
    context: ReportContext
        Two moments in UTC: the same context gives the same bytes.
    """
    for prefix, moment in (
        ("Series", context.series_started),
        ("Content", context.created),
        ("InstanceCreation", context.created),
    ):
        there = local_time(moment, target)
        setattr(target, f"{prefix}Date", there.strftime("%Y%m%d"))
        setattr(target, f"{prefix}Time", there.strftime("%H%M%S"))


def finish(dataset: Dataset) -> bytes:
    """Encode an object as a Part 10 file in Explicit VR Little Endian.

    Parameters
    ----------
    dataset: pydicom.dataset.Dataset
        With SOP Class UID and SOP Instance UID; not changed.

    Returns
    -------
    bytes
        Equal for equal data sets.
    """
    whole = copy.copy(dataset)
    whole.SpecificCharacterSet = CHARACTER_SET
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return encoded_file(meta, whole)
