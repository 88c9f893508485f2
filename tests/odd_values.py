"""Values that are valid each, but not as they stand; and values as bytes."""

from __future__ import annotations

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from tests.headers import header
from tests.report_samples import issuer

_CODE_VALUES = {"CodeValue": "399208008", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Plain chest X-ray"}
_CODE = header(**_CODE_VALUES)

#: without others that are not there, with others that may not be, or too many
CONDITIONS: dict[str, dict[str, object]] = {
    "identity removed, but not how": {"PatientIdentityRemoved": "YES"},
    "no such pregnancy": {"PregnancyStatus": 999},
    "a physician without identification": {
        "ReferringPhysicianIdentificationSequence": [header(InstitutionName="X")]
    },
    "a physician without institution": {
        "ReferringPhysicianIdentificationSequence": [header(PersonIdentificationCodeSequence=[_CODE])]
    },
    "an issuer of no known type": {
        "IssuerOfAccessionNumberSequence": [header(UniversalEntityID="1.2.3")],
        "IssuerOfPatientIDQualifiersSequence": [header(UniversalEntityID="1.2", UniversalEntityIDType="OID")],
        "AdmissionID": "7",
        "IssuerOfAdmissionIDSequence": [header(UniversalEntityIDType="ISO")],
    },
    "two issuers": {"IssuerOfAccessionNumberSequence": [issuer(), issuer()]},
    "a code of an extended context group": {
        "ProcedureCodeSequence": [header(**_CODE_VALUES, ContextGroupExtensionFlag="Y")],
        "RequestAttributesSequence": [
            header(
                RequestedProcedureID="RP",
                ScheduledProcedureStepID="S",
                ScheduledProtocolCodeSequence=[header(**_CODE_VALUES, ContextGroupExtensionFlag="Y")],
            )
        ],
    },
    "an animal": {"PatientSpeciesDescription": "Canine"},
    "an animal without responsible person": {
        "PatientSpeciesDescription": "Canine",
        "ResponsiblePersonRole": "OWNER",
        "BreedRegistrationSequence": [header(BreedRegistrationNumber="1")],
    },
    "a responsible person without role": {"ResponsiblePerson": "Jonaitis^Petras"},
    "more names than an element can hold": {
        "OtherPatientNames": [f"Vardenis^Jonas {n}" for n in range(4000)]
    },
    "an item with a character set": {
        "RequestAttributesSequence": [
            header(
                SpecificCharacterSet="ISO_IR 100",
                RequestedProcedureID="RP",
                RequestedProcedureDescription="Krūtinė",
                ScheduledProcedureStepID="S",
            )
        ]
    },
    "another ID without type": {
        "OtherPatientIDsSequence": [header(PatientID="LT-99", IssuerOfPatientID="GOV")]
    },
    "a vendor's attribute in an item": {
        "OtherPatientIDsSequence": [header(PatientID="LT-99", TypeOfPatientID="TEXT", StationName="X")]
    },
}


def received_bytes(source: Dataset, vrs: dict[str, str] | None = None, **values: bytes) -> Dataset:
    """Put values into a header as they came from the network; `vrs` where they are not the dictionary's."""
    for keyword, value in values.items():
        tag = Tag(keyword)
        vr = (vrs or {}).get(keyword, dictionary_VR(tag))
        source[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)
    return source
